package lockside;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/**
 * Several locks that lockside keeps renewed until they are released, as one: the first that is lost loses the bundle, and the others
 * are released at once.
 *
 * <pre>{@code
 * try (var bundle = client.bundle("account-1", "account-2").acquire()) {
 *     bundle.check();
 * }
 * }</pre>
 */
public final class HeldBundle extends Held {
    private final Session session;

    HeldBundle(Session session, CompletableFuture<String> lost, String name) {
        super(session, lost, "bundle", name);
        this.session = session;
    }

    /**
     * The keys.
     *
     * @return the keys in the order in which they were asked for
     */
    public List<String> keys() {
        return session.leases().stream().map(Lease::key).toList();
    }

    /**
     * The fencing tokens: pass each to the resource that its key protects, which must reject any token lower than the highest
     * of an exclusive lock that it has seen.
     *
     * @return the tokens by key, in the order in which the keys were asked for
     */
    public Map<String, Long> tokens() {
        return byKey(Lease::token);
    }

    /**
     * How the keys are held. The storage does not keep the token of a shared one.
     *
     * @return by key {@code exclusive}, or {@code shared} where others may have it as well
     */
    public Map<String, String> modes() {
        return byKey(Lease::mode);
    }

    /**
     * The key that was lost, and the others with it.
     *
     * @return the key; null where all were lost together, or none was
     */
    public String lostKey() {
        return session.lostKey();
    }

    private <T> Map<String, T> byKey(Function<Lease, T> value) {
        Map<String, T> values = new LinkedHashMap<>();
        session.leases().forEach(lease -> values.put(lease.key(), value.apply(lease)));
        return Collections.unmodifiableMap(values);
    }
}
