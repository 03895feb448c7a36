package lockside;

import java.nio.charset.StandardCharsets;
import java.util.function.BiConsumer;

/**
 * What is asked for. Spans are in nanoseconds.
 *
 * @param key all keys of a bundle, for messages
 * @param patience how long it may wait; FOREVER: as long as it takes
 * @param meta null: none
 * @param onWait is told the position in the queue and the holder; or null
 * @param legs of a bundle; null: this is about one key
 */
record Order(
        String key,
        long ttl,
        long patience,
        String owner,
        Json.Text meta,
        Terms terms,
        Sharing sharing,
        BiConsumer<Integer, Holder> onWait,
        Legs legs) {

    private static final String UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    /** Of one key. */
    Order(
            String key, long ttl, long patience, String owner, Json.Text meta, Terms terms, Sharing sharing,
            BiConsumer<Integer, Holder> onWait) {
        this(key, ttl, patience, owner, meta, terms, sharing, onWait, null);
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
