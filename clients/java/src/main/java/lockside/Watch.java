package lockside;

import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;

/**
 * What happens to a lock, or to all whose keys have a prefix: the state first, {@code SYNCED}, and then each change. When changes may
 * have been missed, {@code GAP} comes, and the state again; so also when the sidecar or Redis was unavailable for a while. It
 * connects again by itself, and ends when it is closed, or with an exception.
 *
 * <pre>{@code
 * try (var events = client.watch("night-report")) {
 *     for (var event : events) {
 *         System.out.println(event.type() + " " + event.token());
 *     }
 * }
 * }</pre>
 *
 * <p>Nothing is read ahead: what a slow reader does not take stays at the sidecar, which drops it and tells of a gap.
 */
public final class Watch implements AutoCloseable, Iterable<LockEvent> {
    private final Mailbox mailbox;
    private final Runnable stop;

    Watch(Mailbox mailbox, Runnable stop) {
        this.mailbox = mailbox;
        this.stop = stop;
    }

    /**
     * Waits for the next event.
     *
     * @return the event; null: it is closed
     * @throws RefusedException if it cannot be watched: the sidecar does not allow it, or the key is not valid
     * @throws InterruptedException if the thread is interrupted. No event is lost by that
     */
    public LockEvent take() throws InterruptedException {
        return mailbox.take(Clock.FOREVER);
    }

    /**
     * Waits for the next event, but no longer than that.
     *
     * @param timeout how long
     * @return the event; null: none came in time, or it is closed
     * @throws RefusedException if it cannot be watched: the sidecar does not allow it, or the key is not valid
     * @throws InterruptedException if the thread is interrupted. No event is lost by that
     */
    public LockEvent poll(Duration timeout) throws InterruptedException {
        return mailbox.take(Clock.now() + Clock.nanos(timeout));
    }

    /**
     * The events as they come, for a loop, which waits for each. The loop ends when this is closed, and when its thread is
     * interrupted: the thread is still interrupted then.
     *
     * @return the events from now on; each is given once, to one of those who read
     */
    @Override
    public Iterator<LockEvent> iterator() {
        return new Iterator<>() {
            private LockEvent next;

            @Override
            public boolean hasNext() {
                try {
                    next = next == null ? take() : next;
                } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                }
                return next != null;
            }

            @Override
            public LockEvent next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                LockEvent event = next;
                next = null;
                return event;
            }
        };
    }

    /** Ends it at once. Another thread that waits for an event comes to the end of its loop. */
    @Override
    public void close() {
        mailbox.close();
        stop.run();
    }
}
