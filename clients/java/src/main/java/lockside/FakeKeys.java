package lockside;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Predicate;

/** Who has the keys of a fake, and who waits for them. Called by the fake, which keeps others out meanwhile. */
final class FakeKeys {
    /** Those who have a key, oldest grant first. */
    private final Map<String, List<FakeSession>> holders = new TreeMap<>();
    private final Map<String, Deque<FakeSession>> queues = new HashMap<>();
    private final List<String> acquired = new ArrayList<>();
    private final FakeWatches watches = new FakeWatches(this::states);
    private long token;

    long nextToken() {
        return ++token;
    }

    FakeWatches watches() {
        return watches;
    }

    List<String> acquired() {
        return List.copyOf(acquired);
    }

    List<FakeSession> holders(String key) {
        return List.copyOf(holders.getOrDefault(key, List.of()));
    }

    List<Holder> views(String key) {
        return holders(key).stream().map(FakeSession::view).toList();
    }

    int waiters(String key) {
        return queues.getOrDefault(key, new ArrayDeque<>()).size();
    }

    /** {@code resting} or {@code held}. */
    String state(String key) {
        return state(holders(key));
    }

    /** How a key is taken: where it is shared it rests if all of them do. */
    static String state(List<FakeSession> sessions) {
        boolean isHeld = sessions.isEmpty() || !sessions.stream().allMatch(FakeSession::isResting);
        return isHeld ? "held" : "resting";
    }

    /** How many share a key; null: it is not shared. */
    Integer sharedBy(String key) {
        List<FakeSession> all = holders(key);
        return all.isEmpty() || !all.get(0).order().sharing().isShared() ? null : (Integer) all.size();
    }

    /** Whether the session has its key now; where not it is queued, if it is to wait. */
    boolean enter(FakeSession session) {
        String key = session.order().key();
        if (mayHave(session)) {
            grant(session);
            return true;
        }
        if (session.order().patience() > 0) {
            queues.computeIfAbsent(key, any -> new ArrayDeque<>()).add(session);
            tellWaiters(key);
        }
        return false;
    }

    /** Grants all of them, or none: then it is the first that may not have its key. */
    Optional<FakeSession> enterAll(List<FakeSession> sessions) {
        Optional<FakeSession> blocked = sessions.stream().filter(session -> !mayHave(session)).findFirst();
        if (blocked.isEmpty()) {
            sessions.forEach(this::grant);
        }
        return blocked;
    }

    private boolean mayHave(FakeSession session) {
        return waiters(session.order().key()) == 0 && fits(session);
    }

    /** Whether it was in the queue, and is no more. Those behind it are to be served. */
    boolean leave(FakeSession session) {
        String key = session.order().key();
        boolean hasLeft = queues.getOrDefault(key, new ArrayDeque<>()).remove(session);
        if (hasLeft) {
            tellWaiters(key);
        }
        return hasLeft;
    }

    /** Ends the session's hold, or its rest. */
    void end(FakeSession session) {
        String key = session.order().key();
        watches.tell(session.end());
        List<FakeSession> all = holders.get(key);
        all.remove(session);
        if (all.isEmpty()) {
            holders.remove(key);
        }
    }

    /** Grants the key to those in the queue that may have it, none before one that came earlier. */
    List<FakeSession> serve(String key) {
        List<FakeSession> heirs = new ArrayList<>();
        Deque<FakeSession> queue = queues.getOrDefault(key, new ArrayDeque<>());
        while (!queue.isEmpty() && fits(queue.peek())) {
            heirs.add(queue.peek());
            grant(queue.poll());
        }
        return heirs;
    }

    private boolean fits(FakeSession session) {
        List<FakeSession> all = holders(session.order().key());
        return session.order().sharing().fits(all.isEmpty() ? Sharing.ALONE : all.get(0).order().sharing(), all.size());
    }

    private void grant(FakeSession session) {
        String key = session.order().key();
        holders.computeIfAbsent(key, any -> new ArrayList<>()).add(session);
        acquired.add(key);
        session.grant(nextToken());
        watches.tell(new LockEvent(LockEvent.Type.GRANTED, key, token, null, session.view(), waiters(key)));
    }

    private void tellWaiters(String key) {
        watches.tell(new LockEvent(LockEvent.Type.WAITING, key, newest(key), null, null, waiters(key)));
    }

    private Long newest(String key) {
        List<Holder> views = views(key);
        return views.get(views.size() - 1).token();
    }

    /** What a watcher is told of the keys that are taken first. */
    private List<LockEvent> states(Predicate<String> covers) {
        return holders.keySet().stream().filter(covers).map(this::stateEvent).toList();
    }

    private LockEvent stateEvent(String key) {
        List<Holder> views = views(key);
        Integer sharedBy = sharedBy(key);
        String mode = sharedBy == null ? null : Sharing.SHARED.mode();
        List<Holder> sharers = sharedBy == null ? List.of() : views;
        return new LockEvent(
                LockEvent.Type.STATE, key, newest(key), state(key), views.get(0), waiters(key), mode, sharedBy, sharers);
    }
}
