package lockside;

import java.lang.System.Logger.Level;
import java.lang.ref.Cleaner;
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
public final class HeldLock implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();

    private final Session session;
    private final Supplier<Watch> watch;
    private final Lease lease;
    private final CompletableFuture<String> lost;
    private final Cleaner.Cleanable forgotten;

    HeldLock(Session session, Supplier<Watch> watch, CompletableFuture<String> lost) {
        this.session = session;
        this.watch = watch;
        this.lost = lost;
        lease = session.lease();
        forgotten = CLEANER.register(this, new Forgotten(session, lease.key()));
    }

    /** Does not refer to the lock, which would else never be forgotten. */
    private record Forgotten(Session session, String key) implements Runnable {
        private static final System.Logger LOG = System.getLogger("lockside");

        @Override
        public void run() {
            if (session.isHeld()) {
                String text = "the lock `{0}` was forgotten while it is held; it stays held until the process ends: use try (...)";
                LOG.log(Level.WARNING, text, key);
            }
        }
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
     * The fencing token: hand it to what the lock protects, which refuses a lower one than the highest it has seen.
     *
     * @return the token
     */
    public long token() {
        return lease.token();
    }

    /**
     * The name of the owner, as others see it.
     *
     * @return the owner
     */
    public String owner() {
        return lease.owner();
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
     * Checks that the lock is held. This sends nothing: call it as often as you like.
     *
     * @throws LockLostException if the lock is not held any more
     */
    public void check() {
        session.check();
    }

    /**
     * Whether the lock is held now. This sends nothing.
     *
     * @return whether it is held
     */
    public boolean isHeld() {
        try {
            session.check();
            return true;
        } catch (LockLostException notHeld) {
            return false;
        }
    }

    /**
     * Why the lock is not held any more.
     *
     * @return the reason, as in {@link LockLostException#reason}; null while the lock is held
     */
    public String reason() {
        return session.reason();
    }

    /**
     * Completed with the reason when the lock is lost, before its lease ends: stop the work. Never completed for a lock that was
     * released. What depends on it runs in a thread of its own.
     *
     * @return the future, which is the same at each call
     */
    public CompletableFuture<String> lost() {
        return lost;
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

    /**
     * Releases the lock: another acquire right after this gets it. An interrupt does not break it off. It may be repeated.
     *
     * @return whether the lock is known to be free. False: the sidecar could not be asked, and the lock ends with its connection, or
     *     with the lease at the latest
     * @throws LockLostException if the lock was lost before
     */
    public boolean release() {
        try {
            return session.release();
        } finally {
            forgotten.clean();
        }
    }

    /**
     * Releases the lock, as {@link #release} does.
     *
     * @throws LockLostException if the lock was lost before. Where the work failed as well, its exception comes first, and has this
     *     one among its suppressed exceptions
     */
    @Override
    public void close() {
        release();
    }
}
