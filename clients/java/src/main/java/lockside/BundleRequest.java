package lockside;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * What is asked for, made by {@link Lockside#bundle}: 1 to 16 keys, and how to acquire them. {@link #acquire} may be called more than
 * once, and each call is an attempt of its own. Not for several threads at once.
 */
public final class BundleRequest {
    /** Is told what a bundle waits for. */
    @FunctionalInterface
    public interface OnWait {
        /**
         * Called while it waits.
         *
         * @param key that it waits for
         * @param position in the queue of the key; null: not known yet
         * @param holder of the key; null: not known
         */
        void accept(String key, Integer position, Holder holder);
    }

    private static final Duration TTL = Duration.ofSeconds(30);

    private final Session.Opener opener;
    private final List<Legs.Leg> keys = new ArrayList<>();
    private long ttl = Clock.nanos(TTL);
    private long wait;
    private String owner;
    private Json.Text meta;
    private OnWait onWait;
    private Consumer<String> onLost;

    BundleRequest(Session.Opener opener, String[] keys, String owner) {
        this.opener = opener;
        this.owner = owner;
        for (String key : keys) {
            key(key);
        }
    }

    private BundleRequest add(String key, Sharing sharing) {
        keys.add(new Legs.Leg(LockRequest.checked(key), sharing));
        return this;
    }

    /**
     * Asks for another key.
     *
     * @param key any text that is not empty
     * @return this
     */
    public BundleRequest key(String key) {
        return add(key, Sharing.ALONE);
    }

    /**
     * Asks for another key, which is shared: see {@link LockRequest#shared}.
     *
     * @param key any text that is not empty
     * @return this
     */
    public BundleRequest shared(String key) {
        return add(key, Sharing.SHARED);
    }

    /**
     * Asks for another key, which at most so many share: see {@link LockRequest#limit}.
     *
     * @param key any text that is not empty
     * @param limit from 1 to 10,000
     * @return this
     */
    public BundleRequest limit(String key, int limit) {
        return add(key, Sharing.upTo(limit));
    }

    /**
     * How long the locks outlive a sidecar or a machine that is lost. lockside renews them until the release, so that long
     * work can use a short one. By default 30 s.
     *
     * @param ttl above zero
     * @return this
     */
    public BundleRequest ttl(Duration ttl) {
        if (ttl.isNegative() || ttl.isZero()) {
            throw new IllegalArgumentException("ttl: expected a duration above zero");
        }
        this.ttl = Clock.nanos(ttl);
        return this;
    }

    /**
     * How long to wait for all keys, and for a sidecar that is not there. By default zero: {@link #acquire} fails at once if one is
     * held.
     *
     * @param wait from zero
     * @return this
     */
    public BundleRequest waitFor(Duration wait) {
        if (wait.isNegative()) {
            throw new IllegalArgumentException("waitFor: expected a duration from zero");
        }
        this.wait = Clock.nanos(wait);
        return this;
    }

    /**
     * Waits as long as it takes.
     *
     * @return this
     */
    public BundleRequest waitForever() {
        wait = Clock.FOREVER;
        return this;
    }

    /**
     * The name of the holder, shown to others. By default HOST/PID.
     *
     * @param owner the name
     * @return this
     */
    public BundleRequest owner(String owner) {
        this.owner = owner;
        return this;
    }

    /**
     * Anything that others are to see with the holder.
     *
     * @param meta JSON: maps, iterables, strings, numbers, booleans, null
     * @return this
     */
    public BundleRequest meta(Object meta) {
        this.meta = meta == null ? null : new Json.Text(Json.write(meta));
        return this;
    }

    /**
     * Called while it waits, at least every 2 s. It is called in a thread of the client, and is to return soon; what it throws,
     * {@link #acquire} throws.
     *
     * @param onWait what to call
     * @return this
     */
    public BundleRequest onWait(OnWait onWait) {
        this.onWait = onWait;
        return this;
    }

    /**
     * Called once if the bundle is lost, before its leases end, with the reason: see {@link LockLostException#reason}. It is called
     * in a thread of its own. If it refers to the bundle, a bundle that is forgotten is not noticed.
     *
     * @param onLost what to call
     * @return this
     */
    public BundleRequest onLost(Consumer<String> onLost) {
        this.onLost = onLost;
        return this;
    }

    /**
     * Acquires all keys or none, waiting as long as was said. Whatever their order, two bundles never wait for each other. Use it in
     * {@code try (...)}: the end of the block releases all.
     *
     * @return the bundle, which is held
     * @throws LockHeldException if another owner holds one of the keys, and it was not free in time: {@link LockHeldException#key}
     * @throws UnavailableException if there is no sidecar, or its Redis cannot do it
     * @throws OutcomeUnknownException if there was no answer, also to repetitions
     * @throws RefusedException if the request is not valid or not allowed: a key is there twice, or there is none
     * @throws InterruptedException if the thread is interrupted: the wait has left the queue then, and nothing is held
     */
    public HeldBundle acquire() throws InterruptedException {
        Signals signals = new Signals(onLost);
        Legs legs = new Legs(List.copyOf(keys), onWait);
        String name = owner == null ? Sidecar.defaultOwner() : owner;
        Order order = new Order(legs.name(), ttl, wait, name, meta, Terms.NONE, Sharing.ALONE, null, legs);
        return new HeldBundle(signals.acquire(opener, order), signals.lost(), legs.name());
    }

    /**
     * Acquires the bundle, or says that another owner holds one of the keys.
     *
     * @return the bundle, which is held; empty if one of the keys was not free in time
     * @throws InterruptedException if the thread is interrupted
     * @see #acquire
     */
    public Optional<HeldBundle> tryAcquire() throws InterruptedException {
        try {
            return Optional.of(acquire());
        } catch (LockHeldException held) {
            return Optional.empty();
        }
    }
}
