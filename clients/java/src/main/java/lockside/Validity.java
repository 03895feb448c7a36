package lockside;

import java.net.ProtocolException;

/** How long a lock is certainly held, by what the sidecar said and by the clock of this process. For several threads. */
final class Validity {
    private static final long MILLISECOND = 1_000_000;
    private static final long SECOND = 1000 * MILLISECOND;
    /** A sidecar writes at least every two seconds. */
    private static final long SILENT = 2500 * MILLISECOND;

    private final long ttl;
    private final Terms terms;
    private final long margin;
    private long until;
    /** When a sidecar that is being stopped releases it. */
    private long leaveBy = Clock.FOREVER;
    private long heardAt;
    private long renewedAt;

    /** A validity that ends later is the last one. Known from the first grant on. */
    private long cap;

    /** Of a lock that is to be acquired. */
    Validity(Order order) {
        ttl = order.ttl();
        terms = order.terms();
        margin = Math.min(Math.max(ttl / 20, 5 * MILLISECOND), SECOND);
    }

    /** When the work must have stopped. */
    synchronized long deadline() {
        return end() - margin;
    }

    /** When it may no longer be held. */
    synchronized long end() {
        return Math.min(until, leaveBy);
    }

    /** Whether the sidecar is being stopped. */
    synchronized boolean isLeaving() {
        return leaveBy < Clock.FOREVER;
    }

    /** It was granted, at first or at another sidecar. */
    synchronized void granted(long validUntil) {
        until = validUntil;
        leaveBy = Clock.FOREVER;
        heardAt = Clock.now();
        renewedAt = heardAt;
        cap = cap == 0 ? terms.cap(until, ttl) : cap;
    }

    /** The sidecar said something. */
    synchronized void hear(Exchange.Line line) throws ProtocolException {
        long now = Clock.now();
        switch (line.kind()) {
            case "renewed" -> {
                until = line.since() + line.nanos("validForMs");
                renewedAt = now;
            }
            case "ping" -> {
                long left = line.nanos("validForMs");
                // Its owner shortened it by its token.
                if (now + left < until) {
                    until = line.since() + left;
                }
            }
            case "draining" -> {
                long grace = line.nanos("graceMs");
                leaveBy = line.since() + grace - Math.min(grace / 10, SECOND);
            }
            default -> {
                // Says nothing of the time.
            }
        }
        heardAt = now;
    }

    /** Why the deadline was reached. */
    synchronized String reason(boolean isConnected) {
        if (leaveBy < until) {
            return "draining";
        }
        if (until >= cap) {
            return "max-hold";
        }
        if (!isConnected || Clock.now() - heardAt > SILENT) {
            return "sidecar";
        }
        return heardAt > renewedAt ? "redis" : "expired";
    }
}
