package lockside;

import java.util.function.BiConsumer;

/**
 * What is asked for. Spans are in nanoseconds.
 *
 * @param patience how long it may wait; FOREVER: as long as it takes
 * @param meta null: none
 * @param onWait is told the position in the queue and the holder; or null
 */
record Order(String key, long ttl, long patience, String owner, Json.Text meta, BiConsumer<Integer, Holder> onWait) {}
