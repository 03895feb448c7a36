package lockside;

/** The lock is not held any more: stop the work. */
public final class LockLostException extends LocksideException {
    private static final long serialVersionUID = 1;

    /** Why. */
    private final String reason;

    /**
     * Made by the client, and by tests of what handles it.
     *
     * @param key of the lock
     * @param reason why it was lost
     */
    public LockLostException(String key, String reason) {
        super("the lock `" + key + "` was lost: " + reason, null, Problem.of(key, "lost", Outcome.APPLIED));
        this.reason = reason;
    }

    /**
     * Why the lock was lost: {@code forced}, {@code redis}, {@code sidecar}, {@code draining}, {@code expired}, {@code superseded},
     * {@code max-hold}, {@code unauthorized} or {@code released}.
     *
     * @return the reason
     */
    public String reason() {
        return reason;
    }
}
