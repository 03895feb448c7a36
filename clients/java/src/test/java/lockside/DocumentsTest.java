package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;

import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Every sample in the documents and every example runs, against a real sidecar. */
class DocumentsTest extends SidecarTest {
    private static final Path PACKAGE = Path.of("").toAbsolutePath();
    private static final Path ROOT = PACKAGE.getParent().getParent();
    private static final Path PAGE = ROOT.resolve("docs/clients/java.md");
    private static final Path SOURCES = PACKAGE.resolve("src/main/java/lockside");
    private static final Pattern SAMPLE = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);

    @TempDir
    Path folder;

    @TestFactory
    Stream<DynamicTest> everySampleRuns() throws IOException {
        List<DynamicTest> tests = new ArrayList<>();
        for (Path page : List.of(PAGE, PACKAGE.resolve("README.md"))) {
            List<String> samples = SAMPLE.matcher(Files.readString(page)).results().map(found -> found.group(1)).toList();
            assertFalse(samples.isEmpty(), page.toString());
            for (String sample : samples) {
                String name = "Sample" + tests.size();
                tests.add(DynamicTest.dynamicTest(page.getFileName() + ": " + name, () -> run(name, sample)));
            }
        }
        return tests.stream();
    }

    /** A sample is the body of a method, with its imports before it. */
    private void run(String name, String sample) throws Exception {
        List<String> imports = sample.lines().filter(line -> line.startsWith("import ")).toList();
        List<String> body = sample.lines().filter(line -> !line.startsWith("import ")).toList();
        String text = String.join("\n", imports) + "\npublic class " + name
                + " { public static void main(String[] arguments) throws Exception {\n" + String.join("\n", body) + "\n} }\n";
        Path source = Files.writeString(folder.resolve(name + ".java"), text);
        call("javac", "-Xlint:all,-try", "-Werror", "-cp", "target/classes", "-d", folder.toString(), source.toString());
        try (var loader = new URLClassLoader(new URL[] {folder.toUri().toURL()}, getClass().getClassLoader())) {
            loader.setDefaultAssertionStatus(true);
            loader.loadClass(name).getMethod("main", String[].class).invoke(null, (Object) new String[0]);
        }
    }

    @TestFactory
    Stream<DynamicTest> everyExampleRuns() throws IOException {
        List<Path> examples = files(PACKAGE.resolve("examples"));
        assertFalse(examples.isEmpty());
        return examples.stream().map(path -> DynamicTest.dynamicTest(path.getFileName() + " runs", () -> {
            Path java = Path.of(System.getProperty("java.home"), "bin", "java");
            Path output = folder.resolve("output");
            Process process = new ProcessBuilder(java.toString(), "-cp", "target/classes", path.toString())
                    .redirectErrorStream(true)
                    .redirectOutput(output.toFile())
                    .start();
            boolean hasEnded = process.waitFor(60, TimeUnit.SECONDS);
            process.destroyForcibly().waitFor();
            assertTrue(hasEnded && process.exitValue() == 0, Files.readString(output));
        }));
    }

    @Test
    void everyPublicNameHasAJavadoc() throws IOException {
        String[] options = {"-quiet", "-Xdoclint:all", "-Werror", "-d", folder.resolve("api").toString()};
        call("javadoc", Stream.concat(Stream.of(options), files(SOURCES).stream().map(Path::toString)).toArray(String[]::new));
        assertTrue(Files.exists(folder.resolve("api/lockside/HeldLock.html")));
    }

    private static void call(String tool, String... options) {
        var output = new StringWriter();
        var printer = new PrintWriter(output);
        int code = ToolProvider.findFirst(tool).orElseThrow().run(printer, printer, options);
        assertEquals(0, code, output.toString());
    }

    @Test
    void thePageNamesEveryPublicTypeAndMethod() throws IOException {
        String page = Files.readString(PAGE);
        List<String> missing = new ArrayList<>();
        for (Path source : files(SOURCES)) {
            String text = Files.readString(source);
            Matcher type = Pattern.compile("(?m)^public .*?(?:class|interface|enum|record) (\\w+)").matcher(text);
            if (!type.find()) {
                continue;
            }
            Stream<String> methods = Pattern.compile("(?m)^    public [^=(\\n]*?(\\w+)\\(").matcher(text).results()
                    .map(found -> found.group(1));
            Stream.concat(Stream.of(type.group(1)), methods)
                    .filter(name -> !name.equals("toString") && !Pattern.compile("\\b" + name + "\\b").matcher(page).find())
                    .forEach(name -> missing.add(source.getFileName() + ": " + name));
        }
        assertEquals(List.of(), missing);
    }

    @Test
    void noFileIsAbove300Lines() throws IOException {
        Map<String, Long> longer = new TreeMap<>();
        try (Stream<Path> all = Stream.concat(Files.walk(PACKAGE.resolve("src")), Files.walk(PACKAGE.resolve("examples")))) {
            for (Path path : all.filter(path -> path.toString().endsWith(".java")).toList()) {
                try (Stream<String> lines = Files.lines(path)) {
                    longer.put(path.getFileName().toString(), lines.count());
                }
            }
        }
        assertTrue(longer.size() > 20);
        longer.values().removeIf(lines -> lines <= 300);
        assertEquals(Map.of(), longer);
    }

    @Test
    void theVersionIsThatOfLocksideAndThereAreNoDependencies() throws IOException {
        MatchResult cargo = first("(?m)^version = \"(.*)\"", Files.readString(ROOT.resolve("Cargo.toml")));
        String project = Files.readString(PACKAGE.resolve("pom.xml"));
        assertEquals(cargo.group(1), first("<version>(.*?)</version>", project).group(1));
        assertEquals(cargo.group(1), first("<version>(.*?)</version>", Files.readString(PAGE)).group(1));
        Matcher dependency = Pattern.compile("<dependency>.*?</dependency>", Pattern.DOTALL).matcher(project);
        assertTrue(dependency.results().allMatch(found -> found.group().contains("<scope>test</scope>")));
    }

    private static MatchResult first(String pattern, String text) {
        return Pattern.compile(pattern).matcher(text).results().findFirst().orElseThrow();
    }

    private static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.filter(path -> path.toString().endsWith(".java")).sorted().toList();
        }
    }
}
