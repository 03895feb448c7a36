package lockside;

import java.util.function.BiConsumer;

/**
 * What is asked for. Spans are in nanoseconds.
 *
 * @param wait FOREVER: as long as it takes
 * @param meta JSON, or null
 * @param onWait is told the position in the queue and the holder; or null
 */
record Order(String key, long ttl, long wait, String owner, Object meta, BiConsumer<Integer, Holder> onWait) {}
