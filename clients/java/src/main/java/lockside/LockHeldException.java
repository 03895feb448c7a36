package lockside;

/** Another owner holds the lock, and it was not free in time: skip the work, or try again. */
public final class LockHeldException extends LocksideException {
    private static final long serialVersionUID = 1;

    /** Null after a deserialization. */
    private final transient Holder holder;
    /** How many wait, where that is known. */
    private final Integer waiters;

    LockHeldException(String message, Problem problem, Holder holder, Integer waiters) {
        super(isKnown(holder) ? "`" + problem.key() + "` is held by " + holder.owner() : message, null, problem);
        this.holder = holder;
        this.waiters = waiters;
    }

    /**
     * Made by the client, and by tests of what handles it.
     *
     * @param key of the lock
     * @param holder of the key, or null
     */
    public LockHeldException(String key, Holder holder) {
        this("`" + key + "` is held by another owner", Problem.of(key, "held", Outcome.NOT_APPLIED), holder, null);
    }

    private static boolean isKnown(Holder holder) {
        return holder != null && holder.owner() != null;
    }

    /**
     * The holder of the key, when the sidecar looked.
     *
     * @return the holder, or null where it is not known
     */
    public Holder holder() {
        return holder;
    }

    /**
     * How many wait for the key.
     *
     * @return the number, or null where it is not known
     */
    public Integer waiters() {
        return waiters;
    }
}
