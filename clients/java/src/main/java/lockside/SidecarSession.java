package lockside;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.ProtocolException;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;

import lockside.Attempt.Grant;
import lockside.Attempt.Released;

/**
 * One lock, or one bundle, at a sidecar, and a thread for it, which does all that is done at sockets: it reads what the sidecar
 * says, takes the hold up again where its connection breaks, tells when it is lost, by the clock of this process, so also if the
 * sidecar is silent, and releases. An application's threads may be interrupted, and that would close their channels.
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
    /** Between two tries to take a hold up again. */
    private static final long PAUSE = 100 * MILLISECOND;
    /** The longest that a release is asked for. */
    private static final long RELEASE = 3 * SECOND;

    private final Order order;
    private final Listener listener;
    private final Attempt attempt;
    private final Thread thread;
    private final long releaseWithin;
    private final Validity validity;
    /** How long the socket is waited for at once; so much of the validity may be given away. */
    private final long step;
    /** Counted down when the caller releases it, or no longer waits for it. */
    private final CountDownLatch unwanted = new CountDownLatch(1);
    /** Completed when the session has ended, with what a release came to. */
    private final CompletableFuture<Released> end = new CompletableFuture<>();

    private volatile State state = State.ACQUIRING;
    private volatile List<Lease> leases = List.of();
    private volatile Loss loss;
    private volatile Exchange exchange;
    private volatile boolean isReleaseAsked;

    SidecarSession(Sidecar sidecar, Order order, Listener listener) {
        this.order = order;
        this.listener = listener;
        attempt = new Attempt(sidecar, order);
        releaseWithin = Math.min(RELEASE, sidecar.timeout());
        validity = new Validity(order);
        step = Math.min(Math.max(order.ttl() / 10, 20 * MILLISECOND), SECOND);
        thread = new Thread(null, this::run, "lockside " + order.key(), 0, false);
        thread.setDaemon(true);
    }

    @Override
    public void start() {
        thread.start();
    }

    @Override
    public List<Lease> leases() {
        return leases;
    }

    @Override
    public String lostKey() {
        Loss why = loss;
        return why == null ? null : why.key();
    }

    @Override
    public String reason() {
        Loss why = loss;
        return why != null ? why.reason() : state == State.RELEASING || state == State.OVER ? "released" : null;
    }

    @Override
    public boolean isHeld() {
        return state == State.HELD;
    }

    @Override
    public void check() {
        if (state == State.HELD && Clock.now() >= validity.deadline()) {
            lose(validity.reason(exchange != null), null);
        }
        if (state != State.HELD) {
            throw new Loss(reason(), lostKey()).exception(order);
        }
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
            if (leases.isEmpty()) {
                throw new IllegalStateException("the lock `" + order.key() + "` was not acquired");
            }
            isReleaseAsked = true;
            state = state == State.HELD ? State.RELEASING : state;
        }
        // A hold that is just being taken up again would be a new lease after the release.
        attempt.giveUp();
        unwanted.countDown();
        Exchange heard = exchange;
        if (heard != null) {
            heard.wake();
        }
        Released released = end.join();
        if (loss != null) {
            throw loss.exception(order);
        }
        return released.isConfirmed();
    }

    private void run() {
        Released released = Released.NOT;
        try {
            if (acquire()) {
                while (state == State.HELD) {
                    keep();
                }
                released = leave();
            }
        } catch (RuntimeException | Error failure) {
            LOG.log(Level.ERROR, "lockside cannot keep the lock `" + order.key() + "`", failure);
            lose("sidecar", null);
            pause(validity.end() - Clock.now());
        } finally {
            state = State.OVER;
            closeExchange();
            end.complete(released);
        }
    }

    private void closeExchange() {
        Exchange left = exchange;
        exchange = null;
        if (left != null) {
            left.close();
        }
    }

    /** Whether it was granted, and is wanted. */
    private boolean acquire() {
        try {
            Grant grant = attempt.acquire(this::pause);
            if (!take(grant, State.ACQUIRING)) {
                attempt.giveBack(grant, releaseWithin);
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
        Clock.await(unwanted, nanos);
    }

    /** Hears or does one thing. */
    private void keep() {
        long left = validity.deadline() - Clock.now();
        if (left <= 0) {
            lose(validity.reason(exchange != null), null);
            return;
        }
        if (exchange == null || validity.isLeaving()) {
            takeUpAgain();
        }
        Exchange heard = exchange;
        if (heard == null) {
            pause(Math.min(PAUSE, left));
            return;
        }
        try {
            Exchange.Line line = heard.line(Clock.now() + Math.min(validity.isLeaving() ? PAUSE : step, left));
            if (line != null) {
                hear(line);
            }
        } catch (IOException broken) {
            exchange = null;
            heard.close();
        }
    }

    private void hear(Exchange.Line line) throws ProtocolException {
        validity.hear(line);
        String kind = line.kind();
        if (kind.equals("lost") || kind.equals("released")) {
            String key = line.event().get("key") instanceof String text ? text : null;
            lose(kind.equals("lost") ? line.text("reason") : kind, key);
        }
    }

    /** Whether it is still wanted, and held now. */
    private synchronized boolean take(Grant grant, State expected) {
        if (state != expected) {
            return false;
        }
        leases = grant.leases();
        exchange = grant.exchange();
        validity.granted(grant.validUntil());
        state = State.HELD;
        return true;
    }

    private void takeUpAgain() {
        Exchange old = exchange;
        Repetition repetition = Repetition.of(attempt, order, leases, validity.deadline(), old != null);
        Grant grant = repetition.grant();
        if (repetition.loss() != null) {
            boolean wasHeld = lose(repetition.loss().reason(), repetition.loss().key());
            if (grant != null) {
                attempt.giveBack(grant, releaseWithin);
            } else if (wasHeld) {
                // No sidecar releases the others at once.
                attempt.releaseWithout(repetition.loss().key(), leases, releaseWithin);
            }
        } else if (grant != null && take(grant, State.HELD)) {
            if (old != null) {
                old.close();
            }
        } else if (grant != null) {
            // It is being released.
            grant.exchange().close();
        }
    }

    /**
     * Releases it where that is asked for, also within its delay. After a loss it keeps the connection while the lease may last, since
     * the work is yet to stop, and no longer: a sidecar that can renew again would keep the key for a holder that has gone.
     */
    private Released leave() {
        if (state == State.OVER) {
            pause(validity.end() - Clock.now());
            closeExchange();
            pause(order.terms().delay());
        }
        if (!isReleaseAsked) {
            return Released.NOT;
        }
        Released released = attempt.release(leases, releaseWithin, true);
        // Nothing else loses it any more.
        if (loss == null && !released.lost().isEmpty()) {
            loss = new Loss("expired", released.lost().size() < leases.size() ? released.lost().get(0) : null);
        }
        return released;
    }

    /** Whether it was held. */
    private boolean lose(String reason, String key) {
        synchronized (this) {
            if (state != State.HELD) {
                return false;
            }
            loss = new Loss(reason, key);
            state = State.OVER;
        }
        loss.tell(listener, order);
        return true;
    }
}
