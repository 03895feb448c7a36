package lockside;

import java.util.function.Consumer;

/**
 * Runs work under locks that are all asked for in one way.
 *
 * <pre>{@code
 * var template = new LockTemplate(client, request -> request.ttl(Duration.ofSeconds(10)).waitFor(Duration.ofMinutes(1)));
 * int pages = template.execute("night-report", lock -> write(lock.token()));
 * }</pre>
 */
public final class LockTemplate {
    /**
     * What is done under a lock, with a result.
     *
     * @param <T> the result
     * @param <E> what it may throw
     */
    @FunctionalInterface
    public interface Work<T, E extends Exception> {
        /**
         * Does the work.
         *
         * @param lock that is held
         * @return the result
         * @throws E if it fails
         */
        T apply(HeldLock lock) throws E;
    }

    /**
     * What is done under a lock, without a result.
     *
     * @param <E> what it may throw
     */
    @FunctionalInterface
    public interface Action<E extends Exception> {
        /**
         * Does the work.
         *
         * @param lock that is held
         * @throws E if it fails
         */
        void run(HeldLock lock) throws E;
    }

    private final Lockside client;
    private final Consumer<LockRequest> terms;

    /**
     * Locks as they are by default.
     *
     * @param client has the locks
     */
    public LockTemplate(Lockside client) {
        this(client, request -> {});
    }

    /**
     * Locks on these terms.
     *
     * @param client has the locks
     * @param terms says of each request how to acquire: ttl, wait, owner
     */
    public LockTemplate(Lockside client, Consumer<LockRequest> terms) {
        this.client = client;
        this.terms = terms;
    }

    /**
     * Runs work under a lock.
     *
     * @param <T> the result
     * @param <E> what the work may throw
     * @param key of the lock
     * @param work to do
     * @return what the work returned
     * @throws E if the work fails
     * @throws InterruptedException if the thread is interrupted before the lock is acquired
     * @throws LocksideException if the lock was not acquired, or was lost before the work ended
     */
    public <T, E extends Exception> T execute(String key, Work<T, E> work) throws E, InterruptedException {
        try (HeldLock lock = request(key).acquire()) {
            return work.apply(lock);
        }
    }

    /**
     * Runs work under a lock.
     *
     * @param <E> what the work may throw
     * @param key of the lock
     * @param work to do
     * @throws E if the work fails
     * @throws InterruptedException if the thread is interrupted before the lock is acquired
     * @throws LocksideException if the lock was not acquired, or was lost before the work ended
     */
    public <E extends Exception> void executeWithoutResult(String key, Action<E> work) throws E, InterruptedException {
        try (HeldLock lock = request(key).acquire()) {
            work.run(lock);
        }
    }

    /**
     * Runs work under a lock, or does without where another owner holds it.
     *
     * @param <E> what the work may throw
     * @param key of the lock
     * @param work to do
     * @return whether it was done
     * @throws E if the work fails
     * @throws InterruptedException if the thread is interrupted before the lock is acquired
     * @throws LocksideException if there was no answer, or the lock was lost before the work ended
     */
    public <E extends Exception> boolean executeIfFree(String key, Action<E> work) throws E, InterruptedException {
        HeldLock acquired = request(key).tryAcquire().orElse(null);
        if (acquired == null) {
            return false;
        }
        try (acquired) {
            work.run(acquired);
        }
        return true;
    }

    private LockRequest request(String key) {
        LockRequest request = client.lock(key);
        terms.accept(request);
        return request;
    }
}
