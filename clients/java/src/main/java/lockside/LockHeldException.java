package lockside;

/** Another owner holds the lock, and it was not free in time: skip the work, or try again. */
public final class LockHeldException extends LocksideException {
    private static final long serialVersionUID = 1;

    /** Null after a deserialization. */
    private final transient Holder holder;
    /** How many wait, where that is known. */
    private final Integer waiters;
    /** How it is taken, where that is known. */
    private final String state;
    /** How many share it; null: none do. */
    private final Integer sharedBy;

    LockHeldException(String message, Problem problem, Holder holder, Integer waiters, String state, Integer sharedBy) {
        super(isKnown(holder) ? sentence(problem.key(), holder, state, sharedBy) : message, null, problem);
        this.holder = holder;
        this.waiters = waiters;
        this.state = state;
        this.sharedBy = sharedBy;
    }

    /**
     * Made by the client, and by tests of what handles it.
     *
     * @param key of the lock
     * @param holder of the key, or null
     */
    public LockHeldException(String key, Holder holder) {
        this("`" + key + "` is held by another owner", Problem.of(key, "held", Outcome.NOT_APPLIED), holder, null, "held", null);
    }

    /**
     * Made by tests of what handles it.
     *
     * @param key of the lock
     * @param holder of the key, or null
     * @param state {@code held} or {@code resting}
     */
    public LockHeldException(String key, Holder holder, String state) {
        this("`" + key + "` is " + state, Problem.of(key, "held", Outcome.NOT_APPLIED), holder, null, state, null);
    }

    private static String sentence(String key, Holder holder, String state, Integer sharedBy) {
        if (sharedBy != null && sharedBy > 0) {
            return "`" + key + "` is shared by " + holder.owner() + (sharedBy > 1 ? " and " + (sharedBy - 1) + " more" : "");
        }
        String how = "resting".equals(state) ? "` was released by " + holder.owner() + " and rests" : "` is held by " + holder.owner();
        return "`" + key + how;
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

    /**
     * How the key is taken: {@code held}, or {@code resting} where the holder has released it and its terms keep it taken, see
     * {@link LockRequest#minHold} and {@link LockRequest#rest}.
     *
     * @return the state, or null where it is not known
     */
    public String state() {
        return state;
    }

    /**
     * Whether others share the key. Then {@link #holder} is one of them.
     *
     * @return {@code shared}, or null where they do not
     */
    public String mode() {
        return sharedBy == null ? null : "shared";
    }

    /**
     * How many share the key.
     *
     * @return the number, or null where the key is not shared
     */
    public Integer sharedBy() {
        return sharedBy;
    }
}
