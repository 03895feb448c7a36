package lockside;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A lockside in memory, for the tests of an application: the same locks, without a sidecar. Keys are granted first come, first
 * served, shared or not; fencing tokens rise; nothing expires. A lock with a minimum or a rest leaves its key resting when it is released, until
 * {@link #free}.
 *
 * <pre>{@code
 * var locks = new FakeLockside();
 * locks.hold("volume/7", "importer-7");
 * assertThrows(LockHeldException.class, () -> new Editor(locks).edit(7));
 * }</pre>
 */
public final class FakeLockside implements Lockside {
    private final FakeKeys keys = new FakeKeys();
    private final Deque<LocksideException> failures = new ArrayDeque<>();
    private final Map<String, Leader> leaders = new HashMap<>();
    /** Whether this pod still leads, of each election's leader. */
    private final Map<String, AtomicBoolean> leads = new HashMap<>();

    /** Makes one in which every key is free. */
    public FakeLockside() {}

    @Override
    public LockRequest lock(String key) {
        return new LockRequest((order, listener) -> new FakeSession(this, order, listener), () -> watch(key), key, null);
    }

    @Override
    public BundleRequest bundle(String... keys) {
        return new BundleRequest((order, listener) -> new FakeBundleSession(this, order, listener), keys, null);
    }

    @Override
    public synchronized Watch watch(String key) {
        return keys.watches().ofKey(key);
    }

    @Override
    public synchronized Watch watchPrefix(String prefix) {
        return keys.watches().ofPrefix(prefix);
    }

    /** Those who watch are told that changes may have been missed, and then the state. */
    public synchronized void gap() {
        keys.watches().gap();
    }

    /**
     * Another owner holds the key, until {@link #free}.
     *
     * @param key that is free now
     * @param owner the name of the other owner
     */
    public void hold(String key, String owner) {
        hold(key, owner, Sharing.ALONE);
    }

    /**
     * Another owner shares the key, until {@link #free}.
     *
     * @param key that is free now, or shared
     * @param owner the name of the other owner
     */
    public void holdShared(String key, String owner) {
        hold(key, owner, Sharing.SHARED);
    }

    private void hold(String key, String owner, Sharing sharing) {
        new FakeSession(this, new Order(key, 0, 0, owner, null, Terms.NONE, sharing, null), new Stranger()).start();
    }

    /**
     * The holder of the key releases it, or its rest ends; the first in the queue gets it. Of those who share it the oldest does.
     *
     * @param key that is held or rests
     */
    public void free(String key) {
        sessions(key).get(0).free();
    }

    /**
     * The holder of the key loses it, or all who share it. A bundle loses its other keys, too.
     *
     * @param key that is held
     * @param reason as in {@link LockLostException#reason}
     */
    public void lose(String key, String reason) {
        sessions(key).forEach(session -> session.lose(reason));
    }

    /** The next acquire fails with {@link UnavailableException}. */
    public void fail() {
        fail(new UnavailableException("", "the fake is told to fail"));
    }

    /**
     * The next acquire fails.
     *
     * @param error with which it fails
     */
    public synchronized void fail(LocksideException error) {
        failures.add(error);
    }

    /**
     * This pod leads the election, until {@link #follow} or {@link #resign}.
     *
     * @param election the name of the election
     */
    public synchronized void lead(String election) {
        setLeader(election, Map.of("name", "this pod", "token", keys.nextToken(), "candidates", 1), true);
    }

    /**
     * Another pod leads the election. A {@link Leader} that said that this pod leads says so no longer.
     *
     * @param election the name of the election
     * @param leader the name of the other pod; null: there is no leader
     */
    public synchronized void follow(String election, String leader) {
        long token = keys.nextToken();
        Map<String, ?> view = leader == null ? Map.of("candidates", 1) : Map.of("name", leader, "token", token, "candidates", 2);
        setLeader(election, view, false);
    }

    @Override
    public synchronized Leader leader(String election) {
        Leader known = leaders.get(election);
        if (known == null) {
            Problem problem = new Problem(election, "no-such-election", Outcome.NOT_APPLIED, 404, null, null);
            throw new RefusedException("`" + election + "`: no such election", null, problem);
        }
        return known;
    }

    @Override
    public synchronized void resign(String election, Duration pause) {
        if (leader(election).isLeader()) {
            follow(election, null);
        }
    }

    private void setLeader(String election, Map<String, ?> view, boolean isOurs) {
        AtomicBoolean lead = new AtomicBoolean(isOurs);
        AtomicBoolean before = leads.put(election, lead);
        if (before != null) {
            before.set(false);
        }
        leaders.put(election, new Leader(view, lead::get));
    }

    /**
     * The holder of a key, the oldest of those who share it.
     *
     * @param key of a lock
     * @return the holder; null: the key is free
     */
    public synchronized Holder holder(String key) {
        return keys.views(key).stream().findFirst().orElse(null);
    }

    /**
     * Those who share a key.
     *
     * @param key of a lock
     * @return the holders, oldest grant first
     */
    public synchronized List<Holder> holders(String key) {
        return keys.views(key);
    }

    /**
     * How many wait for a key.
     *
     * @param key of a lock
     * @return the number
     */
    public synchronized int waiters(String key) {
        return keys.waiters(key);
    }

    /**
     * The keys that were acquired, in the order of their grants.
     *
     * @return the keys
     */
    public synchronized List<String> acquired() {
        return keys.acquired();
    }

    private synchronized List<FakeSession> sessions(String key) {
        List<FakeSession> sessions = keys.holders(key);
        if (sessions.isEmpty()) {
            throw new IllegalStateException("`" + key + "` is free");
        }
        return sessions;
    }

    // What sessions ask for.

    /** The error with which the next acquire is to fail; null: none. */
    synchronized LocksideException failure() {
        return failures.poll();
    }

    /** Whether the session has its key now; where not it is queued, if it is to wait. */
    synchronized boolean enter(FakeSession session) {
        return keys.enter(session);
    }

    /** Grants all of them, or none: then it is the first that may not have its key. */
    synchronized Optional<FakeSession> enterAll(List<FakeSession> sessions) {
        return keys.enterAll(sessions);
    }

    /** Whether it was in the queue, and is no more. Those behind it are to be served. */
    synchronized boolean leave(FakeSession session) {
        return keys.leave(session);
    }

    /** Grants the key to those in the queue that may have it: they have it now. */
    synchronized List<FakeSession> serve(String key) {
        return keys.serve(key);
    }

    /** Ends the session's hold, or its rest. Those that have the key now instead. */
    synchronized List<FakeSession> end(FakeSession session) {
        keys.end(session);
        return keys.serve(session.order().key());
    }

    /** The session was released, and leaves its key resting. */
    synchronized void rest(FakeSession session) {
        Holder holder = session.view();
        String key = session.order().key();
        keys.watches().tell(new LockEvent(LockEvent.Type.RELEASED, key, holder.token(), "resting", holder, null));
    }

    /** The error for a key that is taken. */
    synchronized LockHeldException refusal(Problem problem) {
        String key = problem.key();
        String message = "`" + key + "` is held by another owner";
        return new LockHeldException(message, problem, holder(key), waiters(key), keys.state(key), keys.sharedBy(key));
    }

    /** Hears for {@link #hold}, which has no caller to tell. */
    private static final class Stranger implements Session.Listener {
        @Override
        public void granted() {}

        @Override
        public void failed(Throwable error) {
            throw (RuntimeException) error;
        }

        @Override
        public void lost(String reason) {}
    }
}
