package lockside;

import java.time.Duration;

/** What a lock may fail with. Its classes say what to do; {@link #outcome} says whether it was done. */
public abstract sealed class LocksideException extends RuntimeException
        permits LockHeldException, UnavailableException, OutcomeUnknownException, RefusedException, LockLostException {

    private static final long serialVersionUID = 1;

    /** What the error carries beside its message. */
    private final Problem problem;

    LocksideException(String message, Throwable cause, Problem problem) {
        super(message, cause);
        this.problem = problem;
    }

    Problem problem() {
        return problem;
    }

    /**
     * The key of the lock, or the name of the election.
     *
     * @return the key or the name
     */
    public String key() {
        return problem.key();
    }

    /**
     * The sidecar's code for the error, such as {@code redis-unavailable}.
     *
     * @return the code, or null where the sidecar said none
     */
    public String code() {
        return problem.code();
    }

    /**
     * Whether what was asked for was done.
     *
     * @return the outcome
     */
    public Outcome outcome() {
        return problem.outcome();
    }

    /**
     * The HTTP status of the answer.
     *
     * @return the status, or 0 where there was no answer
     */
    public int status() {
        return problem.status();
    }

    /**
     * The request's name in the log of the sidecar.
     *
     * @return the name, or null where the sidecar said none
     */
    public String requestId() {
        return problem.requestId();
    }

    /**
     * How long the sidecar asks to wait before the next try.
     *
     * @return the pause, or null where the sidecar said none
     */
    public Duration retryAfter() {
        return problem.retryAfter();
    }
}
