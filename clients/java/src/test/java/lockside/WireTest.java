package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.net.ProtocolException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

import org.junit.jupiter.api.Test;

/** Addresses, JSON, HTTP bodies and the clock. */
class WireTest {
    @Test
    void theFormsThatTheCommandLineTakesAreTaken() {
        assertEquals("http://127.0.0.1:7420", Address.parse(null).toString());
        assertEquals("http://127.0.0.1:7420", Address.parse("").toString());
        assertEquals(80, Address.parse("http://localhost").port());
        assertEquals(443, Address.parse("https://localhost").port());
        assertEquals("https://[::1]:7443", Address.parse("https://[::1]:7443/").toString());
        assertEquals("[::1]", Address.parse("http://[::1]:7420/").host());
        assertEquals("lock_side", Address.parse("http://lock_side:1").host());
        assertEquals("unix:/x", Address.parse("unix:///x").toString());
        assertEquals("unix:/x", Address.parse("unix:/x").toString());
    }

    @Test
    void whatIsNoAddressIsRefusedAndNotRepeated() {
        for (String url : List.of("ftp://x", "http://user:secret@x", "unix:secret", "http://x/secret", "http://x?secret",
                "127.0.0.1:7420", "http://x:99999", "http://x:0", "http://")) {
            var error = assertThrows(IllegalArgumentException.class, () -> Lockside.builder().url(url).build(), url);
            assertFalse(error.getMessage().contains("secret"), url);
            assertNull(error.getCause());
        }
    }

    @Test
    void filesOfTlsBesideAUrlWithoutItAreAMistake() {
        Path file = Path.of("/x");
        for (String url : List.of("", "http://127.0.0.1:7420", "unix:/x")) {
            for (Lockside.Builder made : List.of(Lockside.builder().caFile(file),
                    Lockside.builder().certificate(file, null), Lockside.builder().certificate(null, file))) {
                var error = assertThrows(IllegalArgumentException.class, () -> made.url(url).build(), url);
                assertTrue(error.getMessage().contains("https://"), error.getMessage());
            }
        }
    }

    @Test
    void jsonComesBackAsItWasWritten() {
        List<Object> list = new ArrayList<>(Arrays.asList(1L, -2.5, true, null, "ü\"\\\n\t\u0001😀", List.of(), Map.of()));
        Map<String, Object> value = Map.of("list", list, "", Map.of("n", Long.MAX_VALUE));
        assertEquals(value, Json.read(Json.write(value)));
        assertEquals(1e30, Json.read("1000000000000000000000000000000"));
        assertEquals("ß/", Json.read(" \"\\u00df\\/\" "));
    }

    @Test
    void whatIsNoJsonIsRefused() {
        for (String text : List.of("", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "tru", "1 2", "\"\\x\"", "\"\\u12\"", "'a'", "-", "nul",
                "[".repeat(100_000))) {
            assertThrows(IllegalArgumentException.class, () -> Json.read(text), text.substring(0, Math.min(9, text.length())));
        }
        List<Object> endless = new ArrayList<>();
        endless.add(endless);
        assertThrows(IllegalArgumentException.class, () -> Json.write(endless));
        assertThrows(IllegalArgumentException.class, () -> Json.write(Float.POSITIVE_INFINITY));
    }

    @Test
    void aBodyIsTheSameHoweverItIsCut() throws Exception {
        byte[] raw = "5;x=y\r\n{\"a\":\r\n3\r\n1}\n\r\n0\r\n\r\n".getBytes(StandardCharsets.US_ASCII);
        for (int size = 1; size <= raw.length; size++) {
            Body body = new Body(Map.of("transfer-encoding", "chunked"));
            var content = new ByteArrayOutputStream();
            for (int from = 0; from < raw.length; from += size) {
                body.feed(raw, from, Math.min(from + size, raw.length), content);
            }
            assertEquals("{\"a\":1}\n", Body.text(content), "in parts of " + size);
            assertTrue(body.isComplete());
        }
        Body known = new Body(Map.of("content-length", "3"));
        var content = new ByteArrayOutputStream();
        known.feed(raw, 0, 2, content);
        assertFalse(known.isComplete());
        known.feed(raw, 2, raw.length, content);
        assertTrue(known.isComplete());
        assertEquals(3, content.size());
    }

    @Test
    void aBodyOfNoLengthIsRefused() throws Exception {
        assertThrows(ProtocolException.class, () -> new Body(Map.of("content-length", "-1")));
        Body body = new Body(Map.of("transfer-encoding", "chunked"));
        byte[] raw = "ffffffffffffffff\r\n".getBytes(StandardCharsets.US_ASCII);
        assertThrows(ProtocolException.class, () -> body.feed(raw, 0, raw.length, new ByteArrayOutputStream()));
    }

    @Test
    void theClockNeverStepsBack() {
        long before = Clock.now();
        for (int i = 0; i < 100_000; i++) {
            long now = Clock.now();
            assertTrue(now >= before);
            before = now;
        }
        assertEquals(Clock.FOREVER, Clock.ofMillis(Long.MAX_VALUE));
        assertEquals(1, Clock.toMillis(1));
    }
}
