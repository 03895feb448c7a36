package lockside;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * A sidecar, how to authenticate there, and how long it may be silent.
 *
 * @param tokenFile holds a credential; null: none is sent
 * @param timeout in nanoseconds
 */
record Sidecar(Address address, Path tokenFile, long timeout) {
    private static final Path HOST_NAME = Path.of("/proc/sys/kernel/hostname");

    /** The credential is read for each request, because files are rotated. */
    Map<String, String> headers() throws IOException {
        if (tokenFile == null) {
            return Map.of();
        }
        String token = Files.readString(tokenFile).strip();
        if (token.isEmpty() || !token.chars().allMatch(c -> c >= ' ' && c < 127)) {
            throw new IOException("`" + tokenFile + "` holds no token on one line");
        }
        return Map.of("Authorization", "Bearer " + token);
    }

    /** HOST/PID. */
    static String defaultOwner() {
        String host = hostName().codePoints()
                .filter(c -> !Character.isISOControl(c) && !Character.isWhitespace(c))
                .limit(200)
                .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                .toString();
        return host + "/" + ProcessHandle.current().pid();
    }

    /** The kernel is asked where it can be, because the JDK asks name servers. */
    private static String hostName() {
        try {
            return Files.readString(HOST_NAME);
        } catch (IOException notLinux) {
            try {
                return InetAddress.getLocalHost().getHostName();
            } catch (IOException unknown) {
                return "localhost";
            }
        }
    }
}
