package lockside;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;

import org.junit.jupiter.api.BeforeAll;

/** What a test does at the sidecar as another caller. The sidecar is that of clients/conformance/with_sidecar.py. */
class SidecarTest {
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    /** A key of this test alone. */
    final String key = "test-" + UUID.randomUUID();
    final Lockside client = Lockside.create();

    @BeforeAll
    static void hasASidecar() {
        if (System.getenv("LOCKSIDE_URL") == null) {
            fail("no sidecar: run these tests by make test-client-java, or clients/conformance/with_sidecar.py");
        }
    }

    private Map<?, ?> ask(String method, String query, String body) throws IOException, InterruptedException {
        return ask(key, method, query, body);
    }

    private static Map<?, ?> ask(String key, String method, String query, String body) throws IOException, InterruptedException {
        String path = "/v1/locks/" + URLEncoder.encode(key, StandardCharsets.UTF_8);
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("LOCKSIDE_URL") + path + query))
                .method(method, HttpRequest.BodyPublishers.ofString(body))
                .build();
        HttpResponse<String> answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
        assertTrue(answer.statusCode() < 300, answer.body());
        return answer.body().isEmpty() ? Map.of() : (Map<?, ?>) Json.read(answer.body());
    }

    Map<?, ?> state() throws IOException, InterruptedException {
        return ask("GET", "", "");
    }

    boolean isFree() throws IOException, InterruptedException {
        return state().get("state").equals("free");
    }

    Holder holder() throws IOException, InterruptedException {
        return Holder.of(state().get("holder"));
    }

    /** The holder of a key that is not of this test alone. */
    static Holder holder(String key) throws IOException, InterruptedException {
        return Holder.of(ask(key, "GET", "", "").get("holder"));
    }

    void force() throws IOException, InterruptedException {
        ask("DELETE", "?force=true", "");
    }

    void free(long token) throws IOException, InterruptedException {
        ask("DELETE", "?token=" + token, "");
    }

    /** Another caller takes the key. */
    long take(long ttlMs) throws IOException, InterruptedException {
        return (Long) ask("POST", "", "{\"owner\": \"importer-7\", \"ttlMs\": " + ttlMs + "}").get("token");
    }

    static void eventually(String what, Callable<Boolean> look) throws Exception {
        for (long end = System.nanoTime() + 10_000_000_000L; !look.call(); Thread.sleep(20)) {
            if (System.nanoTime() - end > 0) {
                fail("not in time: " + what);
            }
        }
    }
}
