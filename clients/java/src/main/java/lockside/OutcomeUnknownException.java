package lockside;

/** No answer, also to repetitions. A lock that was granted so is rolled back by the sidecar: try again later. */
public final class OutcomeUnknownException extends LocksideException {
    private static final long serialVersionUID = 1;

    OutcomeUnknownException(String message, Throwable cause, Problem problem) {
        super(message, cause, problem);
    }

    /**
     * Made by the client, and by tests of what handles it.
     *
     * @param key of the lock
     * @param message what happened
     */
    public OutcomeUnknownException(String key, String message) {
        this(message, null, Problem.of(key, null, Outcome.UNKNOWN));
    }
}
