package lockside;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A lockside in memory, for the tests of an application: the same locks, without a sidecar. Keys are granted first come, first
 * served; fencing tokens rise; nothing expires. A lock with a minimum or a rest leaves its key resting when it is released, until
 * {@link #free}.
 *
 * <pre>{@code
 * var locks = new FakeLockside();
 * locks.hold("volume/7", "importer-7");
 * assertThrows(LockHeldException.class, () -> new Editor(locks).edit(7));
 * }</pre>
 */
public final class FakeLockside implements Lockside {
    private final Map<String, FakeSession> holders = new HashMap<>();
    private final Map<String, Deque<FakeSession>> queues = new HashMap<>();
    private final Deque<LocksideException> failures = new ArrayDeque<>();
    private final List<String> acquired = new ArrayList<>();
    private final Map<String, Leader> leaders = new HashMap<>();
    /** Whether this pod still leads, of each election's leader. */
    private final Map<String, AtomicBoolean> leads = new HashMap<>();
    private final FakeWatches watches = new FakeWatches(holders);
    private long token;

    /** Makes one in which every key is free. */
    public FakeLockside() {}

    @Override
    public LockRequest lock(String key) {
        return new LockRequest((order, listener) -> new FakeSession(this, order, listener), () -> watch(key), key, null);
    }

    @Override
    public synchronized Watch watch(String key) {
        return watches.ofKey(key);
    }

    @Override
    public synchronized Watch watchPrefix(String prefix) {
        return watches.ofPrefix(prefix);
    }

    /** Those who watch are told that changes may have been missed, and then the state. */
    public synchronized void gap() {
        watches.gap();
    }

    /**
     * Another owner holds the key, until {@link #free}.
     *
     * @param key that is free now
     * @param owner the name of the other owner
     */
    public void hold(String key, String owner) {
        new FakeSession(this, new Order(key, 0, 0, owner, null, Terms.NONE, null), new Stranger()).start();
    }

    /**
     * The holder of the key releases it, or its rest ends; the first in the queue gets it.
     *
     * @param key that is held or rests
     */
    public void free(String key) {
        session(key).free();
    }

    /**
     * The holder of the key loses it.
     *
     * @param key that is held
     * @param reason as in {@link LockLostException#reason}
     */
    public void lose(String key, String reason) {
        session(key).lose(reason);
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
        token++;
        setLeader(election, Map.of("name", "this pod", "token", token, "candidates", 1), true);
    }

    /**
     * Another pod leads the election. A {@link Leader} that said that this pod leads says so no longer.
     *
     * @param election the name of the election
     * @param leader the name of the other pod; null: there is no leader
     */
    public synchronized void follow(String election, String leader) {
        token++;
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
     * The holder of a key.
     *
     * @param key of a lock
     * @return the holder; null: the key is free
     */
    public synchronized Holder holder(String key) {
        FakeSession session = holders.get(key);
        return session == null ? null : session.view();
    }

    /**
     * How many wait for a key.
     *
     * @param key of a lock
     * @return the number
     */
    public synchronized int waiters(String key) {
        return queues.getOrDefault(key, new ArrayDeque<>()).size();
    }

    /**
     * The keys that were acquired, in the order of their grants.
     *
     * @return the keys
     */
    public synchronized List<String> acquired() {
        return List.copyOf(acquired);
    }

    /** Whether the key was released, and is not free. */
    synchronized boolean isResting(String key) {
        FakeSession session = holders.get(key);
        return session != null && session.isResting();
    }

    private synchronized FakeSession session(String key) {
        FakeSession session = holders.get(key);
        if (session == null) {
            throw new IllegalStateException("`" + key + "` is free");
        }
        return session;
    }

    // What sessions ask for.

    /** The error with which the next acquire is to fail; null: none. */
    synchronized LocksideException failure() {
        return failures.poll();
    }

    /** Whether the key was free, and is the session's now; where not it is queued, if it is to wait. */
    synchronized boolean enter(FakeSession session) {
        String key = session.order().key();
        if (!holders.containsKey(key)) {
            grant(session);
            return true;
        }
        if (session.order().patience() > 0) {
            queues.computeIfAbsent(key, any -> new ArrayDeque<>()).add(session);
            watches.waiting(key, waiters(key));
        }
        return false;
    }

    /** Whether it was in the queue, and is no more. */
    synchronized boolean leave(FakeSession session) {
        String key = session.order().key();
        boolean hasLeft = queues.getOrDefault(key, new ArrayDeque<>()).remove(session);
        if (hasLeft) {
            watches.waiting(key, waiters(key));
        }
        return hasLeft;
    }

    /** The session was released, and leaves its key resting. */
    synchronized void rest(FakeSession session) {
        Holder holder = session.view();
        watches.tell(new LockEvent(LockEvent.Type.RELEASED, session.order().key(), holder.token(), "resting", holder, null));
    }

    /** Ends the session's hold. The session that has the key now; null: it is free. */
    synchronized FakeSession next(FakeSession session) {
        String key = session.order().key();
        holders.remove(key, session);
        watches.tell(session.end());
        FakeSession heir = queues.getOrDefault(key, new ArrayDeque<>()).poll();
        if (heir != null) {
            grant(heir);
        }
        return heir;
    }

    private void grant(FakeSession session) {
        token++;
        String key = session.order().key();
        holders.put(key, session);
        acquired.add(key);
        session.grant(token);
        watches.tell(new LockEvent(LockEvent.Type.GRANTED, key, token, null, session.view(), waiters(key)));
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
