package lockside;

/** The sidecar or its Redis cannot do it now, and it was not done: try again later. */
public final class UnavailableException extends LocksideException {
    private static final long serialVersionUID = 1;

    UnavailableException(String message, Throwable cause, Problem problem) {
        super(message, cause, problem);
    }

    /**
     * Made by the client, and by tests of what handles it.
     *
     * @param key of the lock
     * @param message what happened
     */
    public UnavailableException(String key, String message) {
        this(message, null, Problem.of(key, null, Outcome.NOT_APPLIED));
    }
}
