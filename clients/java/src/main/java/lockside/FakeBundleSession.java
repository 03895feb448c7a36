package lockside;

import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;

/** A bundle of the fake from acquire to release: one session for each key, in the order of their bytes, as the sidecar acquires them. */
final class FakeBundleSession implements Session {
    private static final int MOST_KEYS = 16;
    private static final long MILLISECOND = 1_000_000;

    private final FakeLockside fake;
    private final Order order;
    private final Listener listener;
    private final long patience;
    /** Those that were asked for so far. */
    private final List<FakeSession> sessions = new CopyOnWriteArrayList<>();
    private final Deque<Legs.Leg> rest = new ArrayDeque<>();
    private volatile boolean isGranted;
    private volatile Loss loss;
    private volatile boolean hasFailed;

    FakeBundleSession(FakeLockside fake, Order order, Listener listener) {
        this.fake = fake;
        this.order = order;
        this.listener = listener;
        patience = order.patience() == Clock.FOREVER ? Clock.FOREVER : Clock.now() + order.patience();
        Comparator<byte[]> byBytes = Arrays::compareUnsigned;
        order.legs().keys().stream()
                .sorted(Comparator.comparing(leg -> leg.key().getBytes(StandardCharsets.UTF_8), byBytes))
                .forEach(rest::add);
    }

    @Override
    public void start() {
        LocksideException refusal = refused();
        if (refusal == null && order.patience() > 0) {
            next();
            return;
        }
        refusal = refusal == null ? fake.failure() : refusal;
        if (refusal == null) {
            List<FakeSession> all = rest.stream().map(this::open).toList();
            rest.clear();
            sessions.addAll(all);
            refusal = fake.enterAll(all).map(blocked -> blocked.held("held")).orElse(null);
        }
        if (refusal == null) {
            isGranted = true;
            listener.granted();
        } else {
            fail(refusal);
        }
    }

    /** Why the request is not valid; null: it is. */
    private LocksideException refused() {
        Set<String> seen = new HashSet<>();
        int count = order.legs().keys().size();
        String text = count >= 1 && count <= MOST_KEYS ? null : "expected 1 to " + MOST_KEYS + " entries";
        for (Legs.Leg leg : order.legs().keys()) {
            text = seen.add(leg.key()) ? text : "`" + leg.key() + "` is there twice";
        }
        Problem problem = new Problem(order.key(), "bad-request", Outcome.NOT_APPLIED, 400, null, null);
        return text == null ? null : new RefusedException("`" + order.key() + "`: keys: " + text, null, problem);
    }

    private FakeSession open(Legs.Leg leg) {
        BundleRequest.OnWait told = order.legs().onWait();
        // Above 0, so that what is over by then is a wait that timed out.
        long left = patience == Clock.FOREVER ? Clock.FOREVER : Math.max(patience - Clock.now(), MILLISECOND);
        Order alone = new Order(
                leg.key(), order.ttl(), order.patience() == 0 ? 0 : left, order.owner(), order.meta(), Terms.NONE, leg.sharing(),
                told == null ? null : (position, holder) -> told.accept(leg.key(), position, holder));
        return new FakeSession(fake, alone, new LegListener(leg.key()));
    }

    private void next() {
        FakeSession session = open(rest.poll());
        sessions.add(session);
        session.start();
        if (hasFailed) {
            // It was given up before the key was queued for.
            session.abandon();
        }
    }

    private void fail(Throwable error) {
        synchronized (this) {
            if (hasFailed) {
                return;
            }
            hasFailed = true;
        }
        // Those that wait leave the queue, and those that have their key release it.
        sessions.forEach(FakeSession::abandon);
        listener.failed(error);
    }

    private void lose(String key, String reason) {
        synchronized (this) {
            if (loss != null) {
                return;
            }
            loss = new Loss(reason, key);
        }
        if (!isGranted) {
            // It was lost while another key is waited for.
            fail(session(key).held("held"));
            return;
        }
        // The loss is told before another one has a key.
        listener.lost(reason);
        releaseAll();
    }

    private FakeSession session(String key) {
        return sessions.stream().filter(session -> session.order().key().equals(key)).findFirst().orElseThrow();
    }

    private void releaseAll() {
        sessions.stream().filter(FakeSession::isHeld).forEach(FakeSession::release);
    }

    /** Hears one key. */
    private final class LegListener implements Listener {
        private final String key;

        LegListener(String key) {
            this.key = key;
        }

        @Override
        public void granted() {
            if (hasFailed) {
                releaseAll();
            } else if (!rest.isEmpty()) {
                next();
            } else {
                isGranted = true;
                listener.granted();
            }
        }

        @Override
        public void failed(Throwable error) {
            fail(error);
        }

        @Override
        public void lost(String reason) {
            lose(key, reason);
        }
    }

    @Override
    public List<Lease> leases() {
        return isGranted ? order.legs().keys().stream().map(leg -> session(leg.key()).leases().get(0)).toList() : List.of();
    }

    @Override
    public String lostKey() {
        Loss why = loss;
        return why == null ? null : why.key();
    }

    @Override
    public String reason() {
        Loss why = loss;
        return why == null ? null : why.reason();
    }

    @Override
    public boolean isHeld() {
        return isGranted && loss == null && sessions.stream().allMatch(FakeSession::isHeld);
    }

    @Override
    public void check() {
        Loss why = loss;
        if (why != null) {
            throw why.exception(order);
        }
        sessions.forEach(FakeSession::check);
    }

    @Override
    public boolean release() {
        boolean isFirst;
        synchronized (this) {
            isFirst = loss == null;
            loss = isFirst ? new Loss("released", null) : loss;
        }
        if (!isFirst && !loss.reason().equals("released")) {
            throw loss.exception(order);
        }
        releaseAll();
        return true;
    }

    @Override
    public void abandon() {
        fail(new Attempt.GivenUp());
    }
}
