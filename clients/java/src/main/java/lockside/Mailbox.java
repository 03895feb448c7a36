package lockside;

import java.util.ArrayDeque;
import java.util.Deque;

/** Hands events from who hears them to who reads them, and keeps no more of them than it has room for. */
final class Mailbox {
    private final int room;
    private final Deque<LockEvent> events = new ArrayDeque<>();
    private RuntimeException failure;
    private boolean isClosed;

    Mailbox(int room) {
        this.room = room;
    }

    /** Waits for room; false: it is closed. */
    synchronized boolean put(LockEvent event) {
        while (events.size() >= room && !isClosed) {
            await(Clock.FOREVER);
        }
        events.add(event);
        notifyAll();
        return !isClosed;
    }

    /** The next event, waited for until that moment; null: there is none until then, or it is closed. */
    synchronized LockEvent take(long until) throws InterruptedException {
        while (events.isEmpty() && failure == null && !isClosed) {
            long left = until - Clock.now();
            if (left <= 0) {
                return null;
            }
            wait(Clock.toMillis(left));
        }
        if (isClosed || events.isEmpty() && failure == null) {
            return null;
        }
        if (events.isEmpty()) {
            isClosed = true;
            RuntimeException error = failure;
            // Of this thread, which says more to the application than that of the stream.
            error.fillInStackTrace();
            throw error;
        }
        notifyAll();
        return events.poll();
    }

    /** What is read behind the last event. */
    synchronized void fail(RuntimeException error) {
        failure = error;
        notifyAll();
    }

    synchronized void close() {
        isClosed = true;
        notifyAll();
    }

    synchronized boolean isClosed() {
        return isClosed;
    }

    /** Waits so long, or until it is closed. */
    synchronized void pause(long nanos) {
        long until = Clock.now() + nanos;
        while (!isClosed && Clock.now() < until) {
            await(until - Clock.now());
        }
    }

    private void await(long nanos) {
        try {
            wait(Clock.toMillis(Math.max(nanos, 1)));
        } catch (InterruptedException interrupted) {
            // No thread has a reason for that. It would come again and again.
            isClosed = true;
        }
    }
}
