package lockside;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** A lock of the fake from acquire to release. */
final class FakeSession implements Session {
    private final FakeLockside fake;
    private final Order order;
    private final Listener listener;
    private volatile Lease lease;
    private volatile String reason;
    private volatile boolean isReleased;

    FakeSession(FakeLockside fake, Order order, Listener listener) {
        this.fake = fake;
        this.order = order;
        this.listener = listener;
    }

    Order order() {
        return order;
    }

    @Override
    public void start() {
        LocksideException failure = fake.failure();
        if (failure != null) {
            listener.failed(failure);
        } else if (fake.enter(this)) {
            listener.granted();
        } else if (order.patience() == 0) {
            listener.failed(held("held"));
        } else {
            if (order.onWait() != null) {
                order.onWait().accept(fake.waiters(order.key()), fake.holder(order.key()));
            }
            if (order.patience() < Clock.FOREVER) {
                CompletableFuture.delayedExecutor(order.patience(), TimeUnit.NANOSECONDS).execute(() -> giveUp(held("wait-timeout")));
            }
        }
    }

    /** Called by the fake, which keeps others out meanwhile. */
    void grant(long token) {
        lease = new Lease(order.key(), token, order.owner(), order.sharing().mode(), order.sharing().limit(), Clock.FOREVER);
    }

    Holder view() {
        Object meta = order.meta() == null ? null : Json.read(order.meta().json());
        String state = order.sharing().isShared() ? FakeKeys.state(List.of(this)) : null;
        return new Holder(order.owner(), "system", lease.token(), null, null, null, meta, lease.mode(), lease.limit(), state);
    }

    /** What a watcher is told when it ends, or its rest does. */
    LockEvent end() {
        boolean isRelease = "released".equals(reason) && !isResting();
        LockEvent.Type type = isRelease ? LockEvent.Type.RELEASED : LockEvent.Type.EXPIRED;
        type = "forced".equals(reason) ? LockEvent.Type.FORCED : type;
        return new LockEvent(type, order.key(), lease.token(), null, null, null);
    }

    LockHeldException held(String code) {
        return fake.refusal(new Problem(order.key(), code, Outcome.NOT_APPLIED, 409, null, null));
    }

    private void giveUp(Throwable error) {
        if (fake.leave(this)) {
            listener.failed(error);
            tell(fake.serve(order.key()));
        }
    }

    @Override
    public List<Lease> leases() {
        Lease granted = lease;
        return granted == null ? List.of() : List.of(granted);
    }

    @Override
    public String lostKey() {
        return null;
    }

    @Override
    public String reason() {
        return reason;
    }

    @Override
    public boolean isHeld() {
        return lease != null && reason == null;
    }

    @Override
    public void check() {
        if (!isHeld()) {
            throw new LockLostException(order.key(), reason == null ? "released" : reason);
        }
    }

    @Override
    public boolean release() {
        synchronized (this) {
            if (isReleased) {
                return true;
            }
            if (reason != null) {
                throw new LockLostException(order.key(), reason);
            }
            isReleased = true;
            reason = "released";
        }
        if (isResting()) {
            fake.rest(this);
        } else {
            handOver();
        }
        return true;
    }

    boolean isResting() {
        return isReleased && order.terms().leaveARest();
    }

    /** Releases it, or ends its rest. */
    void free() {
        if (isResting()) {
            handOver();
        } else {
            release();
        }
    }

    void lose(String why) {
        synchronized (this) {
            if (!isHeld()) {
                return;
            }
            reason = why;
        }
        // The loss is told before another one has the key.
        listener.lost(why);
        handOver();
    }

    private void handOver() {
        tell(fake.end(this));
    }

    private static void tell(List<FakeSession> heirs) {
        heirs.forEach(heir -> heir.listener.granted());
    }

    @Override
    public void abandon() {
        giveUp(new Attempt.GivenUp());
        if (isHeld()) {
            release();
        }
    }
}
