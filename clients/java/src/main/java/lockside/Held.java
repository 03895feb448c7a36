package lockside;

import java.lang.System.Logger.Level;
import java.lang.ref.Cleaner;
import java.util.concurrent.CompletableFuture;

/**
 * What is held until it is released: a lock, or a bundle of them. Its methods may be called by any thread.
 *
 * <p>The garbage collector releases nothing: what was forgotten while it is held stays held until the process ends, and the logger
 * {@code lockside} warns.
 */
public abstract sealed class Held implements AutoCloseable permits HeldLock, HeldBundle {
    private static final Cleaner CLEANER = Cleaner.create();

    private final Session session;
    private final CompletableFuture<String> lost;
    private final Cleaner.Cleanable forgotten;

    Held(Session session, CompletableFuture<String> lost, String kind, String name) {
        this.session = session;
        this.lost = lost;
        forgotten = CLEANER.register(this, new Forgotten(session, kind, name));
    }

    /** Does not refer to what is held, which would else never be forgotten. */
    private record Forgotten(Session session, String kind, String name) implements Runnable {
        private static final System.Logger LOG = System.getLogger("lockside");

        @Override
        public void run() {
            if (session.isHeld()) {
                String text = "the " + kind + " `{0}` was forgotten while it is held; it stays held until the process ends: use try (...)";
                LOG.log(Level.WARNING, text, name);
            }
        }
    }

    /**
     * The name of the owner, as others see it.
     *
     * @return the owner
     */
    public String owner() {
        return session.leases().get(0).owner();
    }

    /**
     * Checks that it is held. This sends nothing: call it as often as you like.
     *
     * @throws LockLostException if it is not held any more
     */
    public void check() {
        session.check();
    }

    /**
     * Whether it is held now. This sends nothing.
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
     * Why it is not held any more.
     *
     * @return the reason, as in {@link LockLostException#reason}; null while it is held
     */
    public String reason() {
        return session.reason();
    }

    /**
     * Completed with the reason when it is lost, before its lease ends: stop the work. Never completed for what was released. What
     * depends on it runs in a thread of its own.
     *
     * @return the future, which is the same at each call
     */
    public CompletableFuture<String> lost() {
        return lost;
    }

    /**
     * Releases it: another acquire right after this gets it. An interrupt does not break it off. It may be repeated.
     *
     * @return whether it is known to be free. False: the sidecar could not be asked, and it ends with its connection, or
     *     with the lease at the latest
     * @throws LockLostException if it was lost before
     */
    public boolean release() {
        try {
            return session.release();
        } finally {
            forgotten.clean();
        }
    }

    /**
     * Releases it, as {@link #release} does.
     *
     * @throws LockLostException if it was lost before. Where the work failed as well, its exception comes first, and has this
     *     one among its suppressed exceptions
     */
    @Override
    public void close() {
        release();
    }
}
