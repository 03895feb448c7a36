package lockside;

import java.io.IOException;
import java.net.ProtocolException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What an order asks for: one key, or the keys of a bundle. */
interface Claim {
    /** A request; its content may be null. */
    record Request(String method, String path, Map<String, ?> content) {}

    /** The path of an acquire, without its end. */
    String path();

    /** What an acquire says beside the owner and the times. */
    void addTo(Map<String, Object> body);

    /** The keys that are asked for. */
    List<String> keys();

    /** What a line grants. */
    List<Lease> leases(Exchange.Line line) throws IOException;

    /** The request that releases them, and leaves the rest that the terms say if it rests. */
    Request release(List<Lease> leases, boolean rests);

    boolean shares(String key);

    /** A line told what it waits for. */
    void waits(Map<String, Object> event);

    static Claim of(Order order) {
        return order.legs() == null ? new OneKey(order) : new SeveralKeys(order.legs());
    }

    static List<String> keysOf(List<Lease> leases) {
        return leases.stream().map(Lease::key).toList();
    }

    /** The lease that has this key; null: none. */
    static Lease leaseOf(List<Lease> leases, String key) {
        return leases.stream().filter(lease -> lease.key().equals(key)).findFirst().orElse(null);
    }

    /** A lock. */
    record OneKey(Order order) implements Claim {
        /** A key is one segment of the path, whatever characters it has. */
        @Override
        public String path() {
            return "/v1/locks/" + Order.segment(order.key());
        }

        @Override
        public void addTo(Map<String, Object> body) {
            order.sharing().addTo(body);
            order.terms().addTo(body);
        }

        @Override
        public List<String> keys() {
            return List.of(order.key());
        }

        @Override
        public List<Lease> leases(Exchange.Line line) throws IOException {
            return List.of(lease(order.key(), line.event(), line.since() + line.nanos("validForMs")));
        }

        @Override
        public Request release(List<Lease> leases, boolean rests) {
            String query = rests ? order.terms().query() : "";
            return new Request("DELETE", path() + "?token=" + leases.get(0).token() + query, null);
        }

        @Override
        public boolean shares(String key) {
            return order.sharing().isShared();
        }

        @Override
        public void waits(Map<String, Object> event) {
            if (order.onWait() != null) {
                order.onWait().accept(integer(event.get("position")), Holder.of(event.get("holder")));
            }
        }
    }

    /** A bundle. */
    record SeveralKeys(Legs legs) implements Claim {
        @Override
        public String path() {
            return "/v1/bundles";
        }

        @Override
        public void addTo(Map<String, Object> body) {
            List<Map<String, Object>> keys = new ArrayList<>();
            for (Legs.Leg leg : legs.keys()) {
                Map<String, Object> key = new LinkedHashMap<>();
                key.put("key", leg.key());
                leg.sharing().addTo(key);
                keys.add(key);
            }
            body.put("keys", keys);
        }

        @Override
        public List<String> keys() {
            return legs.keys().stream().map(Legs.Leg::key).toList();
        }

        @Override
        public List<Lease> leases(Exchange.Line line) throws IOException {
            // The least validity is that of all: they end together.
            long validUntil = line.since() + line.nanos("validForMs");
            List<Lease> leases = new ArrayList<>();
            if (line.event().get("leases") instanceof List<?> views) {
                for (Object view : views) {
                    Map<?, ?> members = view instanceof Map<?, ?> map ? map : Map.of();
                    leases.add(lease(members.get("key"), members, validUntil));
                }
            }
            return List.copyOf(leases);
        }

        @Override
        public Request release(List<Lease> leases, boolean rests) {
            List<?> tokens = leases.stream().map(lease -> Map.of("key", lease.key(), "token", lease.token())).toList();
            return new Request("POST", path() + "/release", Map.of("leases", tokens));
        }

        @Override
        public boolean shares(String key) {
            return legs.keys().stream().anyMatch(leg -> leg.key().equals(key) && leg.sharing().isShared());
        }

        @Override
        public void waits(Map<String, Object> event) {
            if (legs.onWait() != null) {
                String key = event.get("key") instanceof String text ? text : null;
                legs.onWait().accept(key, integer(event.get("position")), Holder.of(event.get("holder")));
            }
        }
    }

    private static Integer integer(Object value) {
        return value instanceof Number number ? (Integer) number.intValue() : null;
    }

    private static Lease lease(Object key, Map<?, ?> view, long validUntil) throws ProtocolException {
        String mode = view.get("mode") instanceof String said ? said : Sharing.ALONE.mode();
        if (key instanceof String named && view.get("token") instanceof Number token && view.get("owner") instanceof String owner) {
            return new Lease(named, token.longValue(), owner, mode, integer(view.get("limit")), validUntil);
        }
        throw new ProtocolException("the answer has no lease; does the URL name lockside's API?");
    }
}
