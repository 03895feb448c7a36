package lockside;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;

/** Those who watch a fake. Called by the fake, which keeps others out meanwhile. */
final class FakeWatches {
    /** One of them. */
    private record Entry(String key, Predicate<String> covers, Mailbox mailbox) {}

    private final Map<String, FakeSession> holders;
    private final List<Entry> entries = new ArrayList<>();

    FakeWatches(Map<String, FakeSession> holders) {
        this.holders = holders;
    }

    Watch ofKey(String key) {
        return begin(new Entry(LockRequest.checked(key), key::equals, new Mailbox(Integer.MAX_VALUE)));
    }

    Watch ofPrefix(String prefix) {
        return begin(new Entry(null, key -> key.startsWith(prefix), new Mailbox(Integer.MAX_VALUE)));
    }

    private Watch begin(Entry entry) {
        entries.removeIf(other -> other.mailbox().isClosed());
        entries.add(entry);
        states(entry);
        return new Watch(entry.mailbox(), () -> {});
    }

    void gap() {
        for (Entry entry : entries) {
            entry.mailbox().put(LockEvent.of(LockEvent.Type.GAP));
            states(entry);
        }
    }

    void tell(LockEvent event) {
        for (Entry entry : entries) {
            if (entry.covers().test(event.key())) {
                entry.mailbox().put(event);
            }
        }
    }

    /** Another number waits for the key. */
    void waiting(String key, int waiters) {
        tell(new LockEvent(LockEvent.Type.WAITING, key, holders.get(key).view().token(), null, null, waiters));
    }

    private void states(Entry entry) {
        boolean hasOne = false;
        for (Map.Entry<String, FakeSession> held : new TreeMap<>(holders).entrySet()) {
            if (entry.covers().test(held.getKey())) {
                entry.mailbox().put(held.getValue().state());
                hasOne = true;
            }
        }
        if (entry.key() != null && !hasOne) {
            entry.mailbox().put(new LockEvent(LockEvent.Type.STATE, entry.key(), 0L, "free", null, 0));
        }
        entry.mailbox().put(LockEvent.of(LockEvent.Type.SYNCED));
    }
}
