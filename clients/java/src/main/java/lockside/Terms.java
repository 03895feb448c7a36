package lockside;

import java.util.Map;

/**
 * When the key of a lock gets free, which may be later than its end, and for how long it can be renewed. Spans are in nanoseconds.
 *
 * @param delay after an end without a release
 * @param minHold from the grant on
 * @param maxHold from the grant on; FOREVER: the caller sets no cap
 * @param rest after the release
 */
record Terms(long delay, long minHold, long maxHold, long rest) {
    static final Terms NONE = new Terms(0, 0, Clock.FOREVER, 0);

    private static final long MILLISECOND = 1_000_000;

    Terms withDelay(long span) {
        return new Terms(span, minHold, maxHold, rest);
    }

    Terms withMinHold(long span) {
        return new Terms(delay, span, maxHold, rest);
    }

    Terms withMaxHold(long span) {
        return new Terms(delay, minHold, span, rest);
    }

    Terms withRest(long span) {
        return new Terms(delay, minHold, maxHold, span);
    }

    /** What an acquire says of them. */
    void addTo(Map<String, Object> body) {
        add(body, "delayMs", delay);
        add(body, "minHoldMs", minHold);
        add(body, "maxHoldMs", maxHold < Clock.FOREVER ? maxHold : 0);
    }

    private static void add(Map<String, Object> body, String name, long span) {
        if (span > 0) {
            body.put(name, Clock.toMillis(span));
        }
    }

    /** What a release says of them, behind its token. */
    String query() {
        return rest > 0 ? "&restMs=" + Clock.toMillis(rest) : "";
    }

    /** Whether the key may stay taken when the lease has ended. */
    boolean outlast() {
        return delay > 0 || minHold > 0;
    }

    /** Whether the key may stay taken when the lock was released. */
    boolean leaveARest() {
        return minHold > 0 || rest > 0;
    }

    /**
     * A validity that ends later than this is the last one. A validity is somewhat shorter than what the sidecar promised, and not by
     * the same time each.
     *
     * @param first the end of the first validity
     */
    long cap(long first, long ttl) {
        return maxHold < Clock.FOREVER ? first - ttl + maxHold - ttl / 4 - 100 * MILLISECOND : Clock.FOREVER;
    }
}
