package lockside;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.Predicate;

/** Those who watch a fake. Called by the fake, which keeps others out meanwhile. */
final class FakeWatches {
    /** One of them. */
    private record Entry(String key, Predicate<String> covers, Mailbox mailbox) {}

    private final Function<Predicate<String>, List<LockEvent>> statesOf;
    private final List<Entry> entries = new ArrayList<>();

    /** Those who watch are told these states of the keys that are taken. */
    FakeWatches(Function<Predicate<String>, List<LockEvent>> statesOf) {
        this.statesOf = statesOf;
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

    private void states(Entry entry) {
        List<LockEvent> states = statesOf.apply(entry.covers());
        states.forEach(entry.mailbox()::put);
        if (entry.key() != null && states.isEmpty()) {
            entry.mailbox().put(new LockEvent(LockEvent.Type.STATE, entry.key(), 0L, "free", null, 0));
        }
        entry.mailbox().put(LockEvent.of(LockEvent.Type.SYNCED));
    }
}
