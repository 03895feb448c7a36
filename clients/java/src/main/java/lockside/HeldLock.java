package lockside;

import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * A lock that lockside keeps renewed until it is released. Its methods may be called by any thread.
 *
 * <pre>{@code
 * try (var lock = client.lock("night-report").acquire()) {
 *     lock.check();
 * }
 * }</pre>
 *
 * <p>The garbage collector releases nothing: a lock that was forgotten while it is held stays held until the process ends, and the
 * logger {@code lockside} warns.
 */
public final class HeldLock extends Held {
    private final Supplier<Watch> watch;
    private final Lease lease;

    HeldLock(Session session, Supplier<Watch> watch, CompletableFuture<String> lost) {
        super(session, lost, "lock", session.leases().get(0).key());
        this.watch = watch;
        lease = session.leases().get(0);
    }

    /**
     * The key of the lock.
     *
     * @return the key
     */
    public String key() {
        return lease.key();
    }

    /**
     * The fencing token: pass it to the protected resource, which must reject any token lower than the highest of an exclusive lock
     * that it has seen.
     *
     * @return the token
     */
    public long token() {
        return lease.token();
    }

    /**
     * How the lock is held. The storage does not keep the token of a shared lock.
     *
     * @return {@code exclusive}, or {@code shared} where others may have the key as well
     */
    public String mode() {
        return lease.mode();
    }

    /**
     * How many may share the key, as this lock was asked for.
     *
     * @return the limit; null: none was named
     */
    public Integer limit() {
        return lease.limit();
    }

    /**
     * Watches the key of the lock, also while others hold it.
     *
     * @return what happens, to be closed
     * @see Lockside#watch
     */
    public Watch watch() {
        return watch.get();
    }
}
