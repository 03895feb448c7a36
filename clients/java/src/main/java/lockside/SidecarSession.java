package lockside;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.ProtocolException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import lockside.Attempt.Grant;
import lockside.Attempt.Released;

/**
 * One lock at a sidecar, and a thread for it, which does all that is done at sockets: it reads what the sidecar says, takes the hold
 * up again where its connection breaks, tells when the lock is lost, by the clock of this process, so also if the sidecar is
 * silent, and releases. An application's threads may be interrupted, and that would close their channels.
 */
final class SidecarSession implements Session {
    private enum State {
        ACQUIRING,
        HELD,
        RELEASING,
        OVER
    }

    private static final System.Logger LOG = System.getLogger("lockside");
    private static final long MILLISECOND = 1_000_000;
    private static final long SECOND = 1000 * MILLISECOND;
    /** A sidecar writes at least every two seconds. */
    private static final long SILENT = 2500 * MILLISECOND;
    /** Between two tries to take a hold up again. */
    private static final long PAUSE = 100 * MILLISECOND;
    /** The longest that a release is asked for. */
    private static final long RELEASE = 3 * SECOND;

    private final Order order;
    private final Listener listener;
    private final Attempt attempt;
    private final Thread thread;
    private final long releaseWithin;
    private final long margin;
    /** How long the socket is waited for at once; so much of the validity may be given away. */
    private final long step;
    /** Counted down when the caller releases it, or no longer waits for it. */
    private final CountDownLatch unwanted = new CountDownLatch(1);
    /** Completed when the session has ended, with what a release came to. */
    private final CompletableFuture<Released> end = new CompletableFuture<>();

    private volatile State state = State.ACQUIRING;
    private volatile Lease lease;
    private volatile String reason;
    private volatile Exchange exchange;
    private boolean isReleaseAsked;
    private long validUntil;
    /** When a sidecar that is being stopped releases it. */
    private long leaveBy = Clock.FOREVER;
    private long heardAt;
    private long renewedAt;

    SidecarSession(Sidecar sidecar, Order order, Listener listener) {
        this.order = order;
        this.listener = listener;
        attempt = new Attempt(sidecar, order);
        releaseWithin = Math.min(RELEASE, sidecar.timeout());
        margin = Math.min(Math.max(order.ttl() / 20, 5 * MILLISECOND), SECOND);
        step = Math.min(Math.max(order.ttl() / 10, 20 * MILLISECOND), SECOND);
        thread = new Thread(null, this::run, "lockside " + order.key(), 0, false);
        thread.setDaemon(true);
    }

    @Override
    public void start() {
        thread.start();
    }

    @Override
    public Lease lease() {
        return lease;
    }

    @Override
    public String reason() {
        String why = reason;
        return why == null && (state == State.RELEASING || state == State.OVER) ? "released" : why;
    }

    @Override
    public boolean isHeld() {
        return state == State.HELD;
    }

    /** When the work must have stopped. */
    private synchronized long deadline() {
        return Math.min(validUntil, leaveBy) - margin;
    }

    @Override
    public void check() {
        if (state == State.HELD && Clock.now() >= deadline()) {
            lose(why());
        }
        if (state != State.HELD) {
            throw lost();
        }
    }

    private LockLostException lost() {
        return new LockLostException(order.key(), reason());
    }

    @Override
    public void abandon() {
        State was;
        synchronized (this) {
            was = state;
            state = was == State.ACQUIRING ? State.OVER : was;
        }
        if (was == State.HELD) {
            try {
                release();
            } catch (LockLostException alreadyLost) {
                // As it should be.
            }
            return;
        }
        attempt.giveUp();
        unwanted.countDown();
        try {
            // What may have been granted meanwhile is released before this returns.
            thread.join(RELEASE / MILLISECOND);
        } catch (InterruptedException again) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public boolean release() {
        synchronized (this) {
            if (lease == null) {
                throw new IllegalStateException("the lock `" + order.key() + "` was not acquired");
            }
            state = state == State.HELD ? State.RELEASING : state;
            isReleaseAsked = true;
        }
        // A hold that is just being taken up again would be a new lease after the release.
        attempt.giveUp();
        unwanted.countDown();
        Exchange heard = exchange;
        if (heard != null) {
            heard.wake();
        }
        Released released = end.join();
        if (reason != null) {
            throw lost();
        }
        return released == Released.YES;
    }

    private void run() {
        Released released = Released.NOT_CONFIRMED;
        try {
            if (acquire()) {
                while (state == State.HELD) {
                    keep();
                }
                released = leave();
            }
        } catch (RuntimeException | Error failure) {
            LOG.log(Level.ERROR, "lockside cannot keep the lock `" + order.key() + "`", failure);
            lose("sidecar");
        } finally {
            state = State.OVER;
            closeExchange();
            end.complete(released);
        }
    }

    /** Whether it was granted, and is wanted. */
    private boolean acquire() {
        try {
            Grant grant = attempt.acquire(this::pause);
            synchronized (this) {
                if (state == State.ACQUIRING) {
                    lease = grant.lease();
                    take(grant);
                    state = State.HELD;
                }
            }
            if (lease == null) {
                giveBack(grant);
                throw new Attempt.GivenUp();
            }
            listener.granted();
            return true;
        } catch (RuntimeException | Error | Attempt.GivenUp failure) {
            state = State.OVER;
            listener.failed(failure);
            return false;
        }
    }

    private void pause(long nanos) {
        try {
            unwanted.await(Math.max(nanos, 0), TimeUnit.NANOSECONDS);
        } catch (InterruptedException ignored) {
            // This thread is the client's own.
        }
    }

    /** Hears or does one thing. */
    private void keep() {
        long deadline = deadline();
        long left = deadline - Clock.now();
        if (left <= 0) {
            lose(why());
            return;
        }
        if (exchange == null || isLeaving()) {
            takeUpAgain();
        }
        Exchange heard = exchange;
        if (heard == null) {
            pause(Math.min(PAUSE, left));
            return;
        }
        try {
            Exchange.Line line = heard.line(Clock.now() + Math.min(isLeaving() ? PAUSE : step, left));
            if (line != null) {
                hear(line);
            }
        } catch (IOException broken) {
            exchange = null;
            heard.close();
        }
    }

    private synchronized boolean isLeaving() {
        return leaveBy < Clock.FOREVER;
    }

    private void hear(Exchange.Line line) throws ProtocolException {
        long now = Clock.now();
        switch (line.kind()) {
            case "renewed" -> {
                long until = line.since() + line.nanos("validForMs");
                synchronized (this) {
                    validUntil = until;
                    renewedAt = now;
                    heardAt = now;
                }
            }
            case "ping" -> {
                long left = line.nanos("validForMs");
                synchronized (this) {
                    heardAt = now;
                    // Its owner shortened it by its token.
                    if (now + left < validUntil) {
                        validUntil = line.since() + left;
                    }
                }
            }
            case "draining" -> {
                long grace = line.nanos("graceMs");
                synchronized (this) {
                    heardAt = now;
                    leaveBy = line.since() + grace - Math.min(grace / 10, SECOND);
                }
            }
            case "lost" -> lose(line.text("reason"));
            case "released" -> lose("released");
            default -> {
                // A newer sidecar may say more.
            }
        }
    }

    private synchronized void take(Grant grant) {
        exchange = grant.exchange();
        validUntil = grant.lease().validUntil();
        leaveBy = Clock.FOREVER;
        heardAt = Clock.now();
        renewedAt = heardAt;
    }

    /**
     * Repeats the hold under its Idempotency-Key, at the same or at the next sidecar. An answer is waited for as long as there is
     * time: a repetition that was told of the lease and is then broken off would release it.
     */
    private void takeUpAgain() {
        long deadline = deadline();
        Grant grant;
        try {
            grant = attempt.send(0, Math.max(deadline - Clock.now(), 0), deadline);
        } catch (LockHeldException held) {
            Long token = held.holder() == null ? null : held.holder().token();
            if (token == null || token != lease.token()) {
                lose("superseded");
            }
            return;
        } catch (RefusedException refused) {
            if ((refused.status() == 401 || refused.status() == 403) && exchange == null) {
                lose("unauthorized");
            }
            return;
        } catch (LocksideException | Attempt.GivenUp again) {
            return;
        }
        Exchange old = exchange;
        boolean isSame = grant.lease().token() == lease.token();
        boolean isTaken;
        synchronized (this) {
            isTaken = isSame && state == State.HELD;
            if (isTaken) {
                take(grant);
            }
        }
        if (!isSame) {
            lose("expired");
            giveBack(grant);
        } else if (!isTaken) {
            // It is being released.
            grant.exchange().close();
        } else if (old != null) {
            old.close();
        }
    }

    private void giveBack(Grant grant) {
        attempt.release(grant.lease().token(), releaseWithin);
        grant.exchange().close();
    }

    /**
     * Releases it where that is asked for. After a loss it keeps the connection while the lease may last, since the work is yet to
     * stop, and no longer: a sidecar that can renew again would keep the key for a holder that has gone.
     */
    private Released leave() {
        if (state == State.OVER) {
            long until;
            synchronized (this) {
                until = Math.min(validUntil, leaveBy);
            }
            pause(until - Clock.now());
        }
        synchronized (this) {
            if (!isReleaseAsked) {
                return Released.NOT_CONFIRMED;
            }
        }
        Released released = attempt.release(lease.token(), releaseWithin);
        synchronized (this) {
            if (reason == null && released == Released.ENDED_BEFORE) {
                reason = "expired";
            }
        }
        return released;
    }

    private void closeExchange() {
        Exchange left = exchange;
        exchange = null;
        if (left != null) {
            left.close();
        }
    }

    /** What kept the lease from being renewed. */
    private synchronized String why() {
        if (leaveBy < validUntil) {
            return "draining";
        }
        if (exchange == null || Clock.now() - heardAt > SILENT) {
            return "sidecar";
        }
        return heardAt > renewedAt ? "redis" : "expired";
    }

    private void lose(String why) {
        synchronized (this) {
            if (state != State.HELD) {
                return;
            }
            reason = why;
            state = State.OVER;
        }
        // In a thread of its own, because what the application does there may take its time, or release the lock.
        Thread teller = new Thread(null, () -> listener.lost(why), "lockside lost " + order.key(), 0, false);
        teller.setDaemon(true);
        teller.start();
    }
}
