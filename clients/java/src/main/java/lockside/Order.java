package lockside;

import java.nio.charset.StandardCharsets;
import java.util.function.BiConsumer;

/**
 * What is asked for. Spans are in nanoseconds.
 *
 * @param patience how long it may wait; FOREVER: as long as it takes
 * @param meta null: none
 * @param onWait is told the position in the queue and the holder; or null
 */
record Order(
        String key,
        long ttl,
        long patience,
        String owner,
        Json.Text meta,
        Terms terms,
        Sharing sharing,
        BiConsumer<Integer, Holder> onWait) {

    private static final String UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    /** The path of the lock. A key is one segment of it, whatever characters it has. */
    String path() {
        return "/v1/locks/" + segment(key);
    }

    /** A name as one segment of a path. */
    static String segment(String name) {
        StringBuilder segment = new StringBuilder();
        for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
            boolean isPlain = b > 0 && UNRESERVED.indexOf(b) >= 0;
            segment.append(isPlain ? String.valueOf((char) b) : String.format("%%%02X", b));
        }
        return segment.toString();
    }
}
