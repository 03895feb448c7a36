package lockside;

import java.time.Duration;
import java.util.List;
import java.util.Map;

/** What the driver of the conformance suite does with bundles. */
final class BundleDriver {
    private BundleDriver() {}

    static Map<String, ?> acquire(Lockside client, Map<String, Held> locks, Map<?, ?> request) throws InterruptedException {
        String name = (String) request.get("lock");
        BundleRequest wanted = client.bundle()
                .ttl(Duration.ofMillis(number(request, "ttlMs")))
                .waitFor(Duration.ofMillis(number(request, "waitMs")))
                .meta(request.get("meta"))
                .onLost(reason -> ConformanceDriver.say(Map.of("event", "lost", "lock", name, "reason", reason)));
        if (request.get("owner") instanceof String owner) {
            wanted.owner(owner);
        }
        for (Object each : (List<?>) request.get("keys")) {
            ask(wanted, (Map<?, ?>) each);
        }
        HeldBundle bundle = wanted.acquire();
        locks.put(name, bundle);
        return Map.of("tokens", bundle.tokens(), "modes", bundle.modes(), "owner", bundle.owner());
    }

    private static void ask(BundleRequest wanted, Map<?, ?> each) {
        String key = (String) each.get("key");
        if (each.get("limit") != null) {
            wanted.limit(key, (int) number(each, "limit"));
        } else if (Boolean.TRUE.equals(each.get("shared"))) {
            wanted.shared(key);
        } else {
            wanted.key(key);
        }
    }

    private static long number(Map<?, ?> view, String name) {
        return ((Number) view.get(name)).longValue();
    }
}
