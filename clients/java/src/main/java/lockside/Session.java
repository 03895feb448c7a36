package lockside;

import java.util.List;

/** One lock, or one bundle, from acquire to release, the sidecar's or the fake's. */
interface Session {
    /** Hears what becomes of a lock. */
    interface Listener {
        void granted();

        void failed(Throwable error);

        void lost(String reason);
    }

    /** Makes the session of an order. */
    interface Opener {
        Session open(Order order, Listener listener);
    }

    /** Begins to acquire, and returns. The listener hears the rest. */
    void start();

    /** What was granted, in the order in which it was asked for; empty before. */
    List<Lease> leases();

    /** Which of several keys was lost first; null: that is not known, or all were, or none. */
    String lostKey();

    /** Why the lock is not held any more; null: it is. */
    String reason();

    /** Whether it may be held, for all that has been heard. */
    boolean isHeld();

    /** Throws LockLostException unless the lock is held. */
    void check();

    /** Releases the lock. False: it is not confirmed. Throws LockLostException if it was lost. */
    boolean release();

    /** The caller no longer waits for it. */
    void abandon();
}
