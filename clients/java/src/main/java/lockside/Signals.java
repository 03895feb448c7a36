package lockside;

import java.lang.System.Logger.Level;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;

/** Hears the session for the application. Knows nothing of the lock, which may be forgotten while this lives. */
final class Signals implements Session.Listener {
    private static final System.Logger LOG = System.getLogger("lockside");

    private final CountDownLatch settled = new CountDownLatch(1);
    private final CompletableFuture<String> lost = new CompletableFuture<>();
    private final Consumer<String> onLost;
    private volatile Throwable error;

    Signals(Consumer<String> onLost) {
        this.onLost = onLost;
    }

    /** Acquires what is ordered. */
    Session acquire(Session.Opener opener, Order order) throws InterruptedException {
        if (Thread.interrupted()) {
            throw new InterruptedException();
        }
        Session session = opener.open(order, this);
        session.start();
        try {
            await();
        } catch (InterruptedException givenUp) {
            session.abandon();
            throw givenUp;
        }
        return session;
    }

    /** Waits until it was granted, or was not: then it throws why. */
    private void await() throws InterruptedException {
        settled.await();
        if (error instanceof Attempt.GivenUp) {
            throw new InterruptedException("the acquire was given up");
        }
        if (error instanceof RuntimeException failure) {
            // Of this thread, which says more to the application than that of the session.
            failure.fillInStackTrace();
            throw failure;
        }
        if (error instanceof Error failure) {
            throw failure;
        }
    }

    CompletableFuture<String> lost() {
        return lost;
    }

    @Override
    public void granted() {
        settled.countDown();
    }

    @Override
    public void failed(Throwable failure) {
        error = failure;
        settled.countDown();
    }

    @Override
    public void lost(String reason) {
        lost.complete(reason);
        if (onLost != null) {
            try {
                onLost.accept(reason);
            } catch (RuntimeException failure) {
                LOG.log(Level.WARNING, "onLost failed", failure);
            }
        }
    }
}
