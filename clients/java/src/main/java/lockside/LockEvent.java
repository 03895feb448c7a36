package lockside;

import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A state or a change of a lock. What it does not tell is null.
 *
 * @param type what it tells
 * @param key the lock; null in {@code SYNCED} and {@code GAP}
 * @param token the fencing token of the lease that began or ended; in {@code STATE} and {@code WAITING} the holder's, 0 without one
 * @param state {@code free}, {@code held} or {@code resting}: in {@code STATE}, and in {@code RELEASED} of a lock that rests
 * @param holder who holds the lock: in {@code STATE} of a lock that is not free, in {@code GRANTED}, and in {@code RELEASED} of a lock
 *     that rests
 * @param waiters how many wait for the lock: in {@code STATE}, {@code GRANTED} and {@code WAITING}
 * @param mode {@code shared} in {@code STATE} of a lock that others share
 * @param sharedBy how many share the lock: in {@code STATE} of one that is shared
 * @param holders who share the lock, oldest grant first, the first hundred of them: in {@code STATE} of one that is shared, else empty.
 *     The {@code holder} is the first
 */
public record LockEvent(
        Type type,
        String key,
        Long token,
        String state,
        Holder holder,
        Integer waiters,
        String mode,
        Integer sharedBy,
        List<Holder> holders) {
    /** What an event tells. */
    public enum Type {
        /** A lock as it is: at first, and again after each gap. */
        STATE,
        /** All states were told; changes follow. */
        SYNCED,
        /** Another lease has begun. */
        GRANTED,
        /** A lease was released. */
        RELEASED,
        /** A lease, or the rest of one, has ended. */
        EXPIRED,
        /** A lease was force-released. */
        FORCED,
        /** Another number waits for a lock. */
        WAITING,
        /** Changes may have been missed: forget what you know. The states follow once they are known. */
        GAP;

        /** The sidecar's word for it, such as {@code granted}. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** One of a lock that is not shared. */
    LockEvent(Type type, String key, Long token, String state, Holder holder, Integer waiters) {
        this(type, key, token, state, holder, waiters, null, null, List.of());
    }

    static LockEvent of(Type type) {
        return new LockEvent(type, null, null, null, null, null);
    }

    /** An event as the sidecar writes it; null for what a later version may tell. */
    static LockEvent of(String name, String data) {
        for (Type type : Type.values()) {
            if (type.toString().equals(name)) {
                return of(type, Json.read(data));
            }
        }
        return null;
    }

    private static LockEvent of(Type type, Object data) {
        if (!(data instanceof Map<?, ?> view)) {
            throw new IllegalArgumentException("the data of an event is no object");
        }
        return new LockEvent(
                type,
                view.get("key") instanceof String key ? key : null,
                view.get("token") instanceof Number token ? (Long) token.longValue() : null,
                view.get("state") instanceof String state ? state : null,
                Holder.of(view.get("holder")),
                view.get("waiters") instanceof Number waiters ? (Integer) waiters.intValue() : null,
                view.get("mode") instanceof String mode ? mode : null,
                view.get("sharedBy") instanceof Number sharedBy ? (Integer) sharedBy.intValue() : null,
                view.get("holders") instanceof List<?> all ? all.stream().map(Holder::of).toList() : List.of());
    }
}
