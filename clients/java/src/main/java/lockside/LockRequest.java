package lockside;

import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.CharBuffer;
import java.time.Duration;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * What is asked for, made by {@link Lockside#lock}: a key, and how to acquire it. {@link #acquire} may be called more than once, and
 * each call is an attempt of its own. Not for several threads at once.
 */
public final class LockRequest {
    private static final Duration TTL = Duration.ofSeconds(30);

    private final Session.Opener opener;
    private final Supplier<Watch> watch;
    private final String key;
    private long ttl = Clock.nanos(TTL);
    private long wait;
    private String owner;
    private Json.Text meta;
    private Terms terms = Terms.NONE;
    private Sharing sharing = Sharing.ALONE;
    private BiConsumer<Integer, Holder> onWait;
    private Consumer<String> onLost;

    LockRequest(Session.Opener opener, Supplier<Watch> watch, String key, String owner) {
        this.opener = opener;
        this.watch = watch;
        this.key = checked(key);
        this.owner = owner;
    }

    /** A key that has bytes in UTF-8: half of a character would become another key. */
    static String checked(String key) {
        try {
            if (StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(key)).hasRemaining()) {
                return key;
            }
        } catch (CharacterCodingException incomplete) {
            // Told below.
        }
        throw new IllegalArgumentException("key: expected text that is not empty");
    }

    /**
     * How long the lock outlives a sidecar or a machine that is lost. lockside renews it until the release, so that long
     * work can use a short one. By default 30 s.
     *
     * @param ttl above zero
     * @return this
     */
    public LockRequest ttl(Duration ttl) {
        if (ttl.isNegative() || ttl.isZero()) {
            throw new IllegalArgumentException("ttl: expected a duration above zero");
        }
        this.ttl = Clock.nanos(ttl);
        return this;
    }

    /**
     * How long to wait for a lock that is held, and for a sidecar that is not there. By default zero: {@link #acquire} fails at once.
     *
     * @param wait from zero
     * @return this
     */
    public LockRequest waitFor(Duration wait) {
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
    public LockRequest waitForever() {
        wait = Clock.FOREVER;
        return this;
    }

    /**
     * The name of the holder, shown to others. By default HOST/PID.
     *
     * @param owner the name
     * @return this
     */
    public LockRequest owner(String owner) {
        this.owner = owner;
        return this;
    }

    /**
     * Anything that others are to see with the holder.
     *
     * @param meta JSON: maps, iterables, strings, numbers, booleans, null
     * @return this
     */
    public LockRequest meta(Object meta) {
        this.meta = meta == null ? null : new Json.Text(Json.write(meta));
        return this;
    }

    /**
     * How long the key stays taken when the lock ends without a release: the process or its machine dies, or the lock is lost. For
     * work that may go on for a while after its lock. A release frees the key at once. By default zero.
     *
     * @param delay from zero
     * @return this
     */
    public LockRequest delay(Duration delay) {
        terms = terms.withDelay(span("delay", delay));
        return this;
    }

    /**
     * How long the key stays taken from the grant on at least, also after a release, and whatever ends the lock: for work that is to
     * run at most once in a time. Until then {@link LockHeldException#state} is {@code resting}. By default zero.
     *
     * @param minHold from zero
     * @return this
     */
    public LockRequest minHold(Duration minHold) {
        terms = terms.withMinHold(span("minHold", minHold));
        return this;
    }

    /**
     * How long the lock is held at most, from its grant on: then it is lost, with the reason {@code max-hold}. By default the
     * {@code --max-hold} of the sidecar is the only bound.
     *
     * @param maxHold above zero
     * @return this
     */
    public LockRequest maxHold(Duration maxHold) {
        if (maxHold.isNegative() || maxHold.isZero()) {
            throw new IllegalArgumentException("maxHold: expected a duration above zero");
        }
        terms = terms.withMaxHold(Clock.nanos(maxHold));
        return this;
    }

    /**
     * How long the key stays taken from the release on: a pause between the end of the work and the next grant. By default zero.
     *
     * @param rest from zero
     * @return this
     */
    public LockRequest rest(Duration rest) {
        terms = terms.withRest(span("rest", rest));
        return this;
    }

    /**
     * Lets the lock share its key with others that are shared, as readers; one that is not has the key alone, as a writer. All wait in
     * one queue, first come, first served.
     *
     * @return this
     */
    public LockRequest shared() {
        sharing = sharing.shared();
        return this;
    }

    /**
     * Lets at most so many share the key when the lock is granted, this one included: a semaphore, whose permit is the lock. It makes
     * the lock {@link #shared}. The limit is a condition of this request: another one may have another limit, and takes no lock away.
     *
     * @param limit from 1 to 10,000
     * @return this
     */
    public LockRequest limit(int limit) {
        sharing = Sharing.upTo(limit);
        return this;
    }

    private static long span(String name, Duration span) {
        if (span.isNegative()) {
            throw new IllegalArgumentException(name + ": expected a duration from zero");
        }
        return Clock.nanos(span);
    }

    /**
     * Called while it waits, at least every 2 s, with the position in the queue and the holder. Each may be null. It is called in a
     * thread of the client, and is to return soon; what it throws, {@link #acquire} throws.
     *
     * @param onWait what to call
     * @return this
     */
    public LockRequest onWait(BiConsumer<Integer, Holder> onWait) {
        this.onWait = onWait;
        return this;
    }

    /**
     * Called once if the lock is lost, before its lease ends, with the reason: see {@link LockLostException#reason}. It is called in
     * a thread of its own. If it refers to the lock, a lock that is forgotten is not noticed.
     *
     * @param onLost what to call
     * @return this
     */
    public LockRequest onLost(Consumer<String> onLost) {
        this.onLost = onLost;
        return this;
    }

    /**
     * Acquires the lock, waiting as long as was said. Use it in {@code try (...)}: the end of the block releases the lock.
     *
     * @return the lock, which is held
     * @throws LockHeldException if another owner holds the lock, and it was not free in time
     * @throws UnavailableException if there is no sidecar, or its Redis cannot do it
     * @throws OutcomeUnknownException if there was no answer, also to repetitions
     * @throws RefusedException if the request is not valid or not allowed
     * @throws InterruptedException if the thread is interrupted: the wait has left the queue then, and nothing is held
     */
    public HeldLock acquire() throws InterruptedException {
        Signals signals = new Signals(onLost);
        String name = owner == null ? Sidecar.defaultOwner() : owner;
        Session session = signals.acquire(opener, new Order(key, ttl, wait, name, meta, terms, sharing, onWait));
        return new HeldLock(session, watch, signals.lost());
    }

    /**
     * Acquires the lock, or says that another owner holds it.
     *
     * @return the lock, which is held; empty if another owner holds it, and it was not free in time
     * @throws InterruptedException if the thread is interrupted
     * @see #acquire
     */
    public Optional<HeldLock> tryAcquire() throws InterruptedException {
        try {
            return Optional.of(acquire());
        } catch (LockHeldException held) {
            return Optional.empty();
        }
    }
}
