package lockside;

import java.util.List;
import java.util.stream.Collectors;

/**
 * The keys of a bundle, in the order in which they were asked for.
 *
 * @param onWait is told the key that it waits for, the position in its queue and its holder; or null
 */
record Legs(List<Leg> keys, BundleRequest.OnWait onWait) {
    /** One key of several. */
    record Leg(String key, Sharing sharing) {}

    /** What a bundle is called in messages. */
    String name() {
        return keys.stream().map(Leg::key).collect(Collectors.joining(", "));
    }
}
