package lockside;

import java.lang.System.Logger.Level;
import java.net.ProtocolException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.ThreadLocalRandom;

/** The course of a watch over all its connections, without any input or output: what is told, and when to connect again. */
final class Course {
    private static final System.Logger LOG = System.getLogger("lockside");
    private static final long SECOND = 1_000_000_000;
    private static final long SHORTEST_PAUSE = SECOND / 10;
    private static final long LONGEST_PAUSE = 5 * SECOND;

    private final String name;
    private final String path;
    private final Deque<LockEvent> events = new ArrayDeque<>();
    private EventParser parser = new EventParser();
    private long pause = SECOND;
    private int failures;
    /** Whether anything was told since the beginning or the last gap. */
    private boolean hasTold;

    private Course(String name, String path) {
        this.name = name;
        this.path = path;
    }

    static Course ofKey(String key) {
        return new Course(key, "/v1/locks/" + Order.segment(LockRequest.checked(key)) + "/events");
    }

    static Course ofPrefix(String prefix) {
        return new Course(prefix, "/v1/events?prefix=" + (prefix.isEmpty() ? "" : Order.segment(LockRequest.checked(prefix))));
    }

    /** The key or the prefix, for messages. */
    String name() {
        return name;
    }

    String path() {
        return path;
    }

    /** What is told next; null: nothing yet. */
    LockEvent next() {
        return events.poll();
    }

    /** A stream begins. */
    void begin() {
        parser = new EventParser();
    }

    /** What of the stream has come. */
    void take(byte[] content) throws ProtocolException {
        for (EventParser.Raw raw : parser.feed(content)) {
            LockEvent event;
            try {
                event = LockEvent.of(raw.name(), raw.data());
            } catch (IllegalArgumentException notJson) {
                throw new ProtocolException("what came is no event: " + notJson.getMessage());
            }
            if (event != null) {
                failures = 0;
                tell(event);
            }
        }
        pause = parser.retry() < 0 ? pause : parser.retry();
    }

    /** The stream ended, or did not begin. Throws the error if connecting again does not help; how long to wait, in nanoseconds. */
    long broken(LocksideException error) {
        if (!mayPass(error)) {
            throw error;
        }
        if (failures == 0) {
            LOG.log(Level.WARNING, "{0}: {1}; connecting again", path, error.getMessage());
        }
        tell(LockEvent.of(LockEvent.Type.GAP));
        long span = Math.min(pause << failures, Math.max(LONGEST_PAUSE, pause));
        if (error.retryAfter() != null) {
            span = Math.max(span, Clock.nanos(error.retryAfter()));
        }
        span = Math.max(span, SHORTEST_PAUSE);
        failures = Math.min(failures + 1, 10);
        return span + ThreadLocalRandom.current().nextLong(span / 4);
    }

    private void tell(LockEvent event) {
        boolean isGap = event.type() == LockEvent.Type.GAP;
        // One gap before each run of states, also if both the sidecar and this client noticed it.
        if (hasTold || !isGap) {
            events.add(event);
        }
        hasTold = !isGap;
    }

    private static boolean mayPass(LocksideException error) {
        int status = error.status();
        return status == 0 ? error instanceof UnavailableException : status == 429 || status >= 500;
    }
}
