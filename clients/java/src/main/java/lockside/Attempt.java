package lockside;

import java.io.IOException;
import java.net.SocketTimeoutException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.LongConsumer;

/** The attempt to acquire a key: one Idempotency-Key and one owner, sent as often as it takes to know the outcome. */
final class Attempt {
    /** The leases, which end together, and the connection that holds them. */
    record Grant(List<Lease> leases, Exchange exchange) {
        long validUntil() {
            return leases.stream().mapToLong(Lease::validUntil).min().orElse(0);
        }
    }

    /**
     * What a release came to.
     *
     * @param lost the keys whose leases had ended before
     */
    record Released(boolean isConfirmed, List<String> lost) {
        static final Released NOT = new Released(false, List.of());
    }

    /** The caller no longer wants the lock. */
    static final class GivenUp extends Exception {
        private static final long serialVersionUID = 1;
    }

    private static final long MILLISECOND = 1_000_000;
    private static final long SECOND = 1000 * MILLISECOND;
    /** How long one request waits; a longer wait is made of several. */
    private static final long LONGEST_WAIT = 600 * SECOND;
    private static final long PAUSE = 100 * MILLISECOND;

    private final Sidecar sidecar;
    private final Order order;
    private final String name = UUID.randomUUID().toString();
    private final Claim claim;
    private volatile Exchange sending;
    private volatile boolean isGivenUp;
    /** Whether a sending was broken off: the sidecar rolls back what it told of. */
    private volatile boolean isBrokenOff;

    Attempt(Sidecar sidecar, Order order) {
        this.sidecar = sidecar;
        this.order = order;
        claim = Claim.of(order);
    }

    Claim claim() {
        return claim;
    }

    /** From another thread: breaks off what is being sent, for good. */
    void giveUp() {
        isGivenUp = true;
        Exchange broken = sending;
        if (broken != null) {
            isBrokenOff = true;
            broken.shut();
        }
    }

    /** Sends the attempt until it is granted, refused, or its time has passed. `sleep` takes nanoseconds. */
    Grant acquire(LongConsumer sleep) throws GivenUp {
        long start = Clock.now();
        long patience = start + order.patience();
        // An unknown outcome is asked for again for a while, also where nothing was to be waited for.
        long asking = Math.max(patience, start + sidecar.timeout());
        long longest = LONGEST_WAIT;
        OutcomeUnknownException unknown = null;
        while (true) {
            long wait = Math.min(Math.max(patience - Clock.now(), 0), longest);
            long pause = PAUSE;
            long until = patience;
            LocksideException error;
            try {
                return send(wait, sidecar.timeout(), Clock.FOREVER);
            } catch (LockHeldException held) {
                error = held;
                unknown = null;
                pause = "wait-timeout".equals(held.code()) ? 0 : pauseOf(held, SECOND);
            } catch (OutcomeUnknownException failure) {
                unknown = unknown == null ? failure : unknown;
                error = unknown;
                until = asking;
            } catch (UnavailableException failure) {
                error = unknown == null ? failure : unknown;
                until = unknown == null ? patience : asking;
                pause = pauseOf(failure, PAUSE);
            } catch (RefusedException refused) {
                if (!refused.getMessage().startsWith("`" + order.key() + "`: waitMs") || wait <= SECOND) {
                    throw refused;
                }
                // The sidecar's --max-wait is shorter.
                error = refused;
                longest = wait / 2;
                pause = 0;
            }
            checkWanted();
            if (until - Clock.now() < 20 * MILLISECOND) {
                throw error;
            }
            sleep.accept(Math.min(pause, until - Clock.now()));
            checkWanted();
        }
    }

    private static long pauseOf(LocksideException error, long otherwise) {
        return error.retryAfter() == null ? otherwise : Clock.nanos(error.retryAfter());
    }

    private void checkWanted() throws GivenUp {
        if (isGivenUp) {
            throw new GivenUp();
        }
    }

    /**
     * Sends it once.
     *
     * @param silence how long the sidecar may say nothing
     * @param until when it must have granted it
     */
    Grant send(long wait, long silence, long until) throws GivenUp {
        Exchange exchange = new Exchange(sidecar.address());
        sending = exchange;
        Grant grant = null;
        try {
            checkWanted();
            grant = send(exchange, wait, silence, until);
            return grant;
        } finally {
            sending = null;
            if (grant == null) {
                exchange.close();
            }
        }
    }

    private Grant send(Exchange exchange, long wait, long silence, long until) {
        Map<String, String> headers = new HashMap<>();
        try {
            headers.putAll(sidecar.headers());
        } catch (IOException error) {
            String message = "`" + order.key() + "`: cannot read the token file: " + error.getMessage();
            throw new RefusedException(message, error, Problem.of(order.key(), null, Outcome.NOT_APPLIED));
        }
        headers.put("Content-Type", "application/json");
        headers.put("Idempotency-Key", name);
        Map<String, Object> body = new LinkedHashMap<>();
        body.put("ttlMs", Clock.toMillis(order.ttl()));
        body.put("owner", order.owner());
        claim.addTo(body);
        if (wait > 0) {
            body.put("waitMs", Clock.toMillis(wait));
            body.put("progress", true);
        }
        if (order.meta() != null) {
            body.put("meta", order.meta());
        }
        try {
            exchange.open(soon(silence, until));
        } catch (IOException error) {
            String message = "cannot connect to lockside at " + sidecar.address() + ": " + error.getMessage() + "; is it running?";
            throw new UnavailableException(message, error, Problem.of(order.key(), null, Outcome.NOT_APPLIED));
        }
        try {
            exchange.send("POST", claim.path() + "/hold", headers, body, soon(silence, until));
            Exchange.Head head = exchange.head(soon(silence, until));
            if (head.status() != 200) {
                String text = exchange.rest(soon(silence, until));
                throw Problem.error(order.key(), head.status(), json(text), head.headers().get("retry-after"));
            }
            return listen(exchange, silence, until);
        } catch (IOException error) {
            String message = "`" + order.key() + "`: no answer from lockside at " + sidecar.address() + ": " + error.getMessage();
            throw new OutcomeUnknownException(message, error, Problem.of(order.key(), null, Outcome.UNKNOWN));
        }
    }

    private Grant listen(Exchange exchange, long silence, long until) throws IOException {
        long quiet = soon(silence, until);
        while (true) {
            Exchange.Line line = exchange.line(quiet);
            if (line == null) {
                if (Clock.now() >= quiet) {
                    throw new SocketTimeoutException("no answer in time");
                }
                continue;
            }
            quiet = soon(silence, until);
            switch (line.kind()) {
                case "acquired" -> {
                    Grant grant = new Grant(granted(line, silence), exchange);
                    if (Clock.now() < grant.validUntil()) {
                        return grant;
                    }
                    release(grant.leases(), silence, false);
                    String message = "`" + order.key() + "` was granted too late to be of use";
                    throw new UnavailableException(message, null, Problem.of(order.key(), "too-late", Outcome.NOT_APPLIED));
                }
                case "refused" -> {
                    int status = line.event().get("status") instanceof Number number ? number.intValue() : 503;
                    throw Problem.error(order.key(), status, line.event(), null);
                }
                case "waiting" -> claim.waits(line.event());
                default -> {
                    // A newer sidecar may say more.
                }
            }
        }
    }

    private static long soon(long silence, long until) {
        return Math.min(Clock.now() + silence, until);
    }

    /** The leases, which are of the keys that were asked for. Closing the connection releases what else it may hold. */
    private List<Lease> granted(Exchange.Line line, long silence) {
        List<Lease> leases = List.of();
        try {
            leases = claim.leases(line);
        } catch (IOException noLease) {
            // It grants nothing that is known.
        }
        if (sorted(Claim.keysOf(leases)).equals(sorted(claim.keys()))) {
            return leases;
        }
        if (!leases.isEmpty()) {
            release(leases, silence, false);
        }
        String message = "`" + order.key() + "`: the answer grants other keys than were asked for; does the URL name lockside's API?";
        throw new RefusedException(message, null, Problem.of(order.key(), null, Outcome.NOT_APPLIED));
    }

    private static List<String> sorted(List<String> keys) {
        return keys.stream().sorted().toList();
    }

    /** Releases leases by their tokens, and leaves the rest that the terms say if it rests. */
    Released release(List<Lease> leases, long within, boolean rests) {
        return new Release(sidecar, claim.release(leases, rests), Claim.keysOf(leases)).send(within, isBrokenOff);
    }

    /** Releases what was granted, and is not wanted. */
    void giveBack(Grant grant, long within) {
        release(grant.leases(), within, false);
        grant.exchange().close();
    }

    /** Releases those that are left of a bundle that lost this key. */
    void releaseWithout(String lost, List<Lease> leases, long within) {
        List<Lease> others = leases.stream().filter(lease -> !lease.key().equals(lost)).toList();
        if (lost != null && !others.isEmpty()) {
            release(others, within, false);
        }
    }

    private static Object json(String text) {
        try {
            return Json.read(text);
        } catch (IllegalArgumentException notJson) {
            return null;
        }
    }
}
