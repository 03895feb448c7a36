package lockside;

/** The request is not valid, or not allowed: repeating it does not help. */
public final class RefusedException extends LocksideException {
    private static final long serialVersionUID = 1;

    RefusedException(String message, Throwable cause, Problem problem) {
        super(message, cause, problem);
    }

    /**
     * Made by the client, and by tests of what handles it.
     *
     * @param key of the lock
     * @param message what happened
     */
    public RefusedException(String key, String message) {
        this(message, null, Problem.of(key, null, Outcome.NOT_APPLIED));
    }
}
