package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What is Java's own about locks; what every client must do is in clients/conformance. */
@Timeout(60)
class LockTest extends SidecarTest {
    private static final Duration LONG = Duration.ofMinutes(1);

    @Test
    void theEndOfTheBlockReleases() throws Exception {
        HeldLock held;
        try (var lock = client.lock(key).ttl(Duration.ofSeconds(10)).waitFor(LONG).acquire()) {
            held = lock;
            assertEquals(holder().token(), lock.token());
            assertEquals(holder().owner(), lock.owner());
            assertTrue(lock.isHeld());
            assertNull(lock.reason());
        }
        assertTrue(isFree());
        assertFalse(held.isHeld());
        assertEquals("released", held.reason());
        assertFalse(held.lost().isDone());
    }

    @Test
    void aBlockThatEndsAfterTheLossThrowsIt() {
        var error = assertThrows(LockLostException.class, () -> {
            try (var lock = client.lock(key).acquire()) {
                force();
                lock.lost().get(5, TimeUnit.SECONDS);
            }
        });
        assertEquals("forced", error.reason());
        assertEquals(Outcome.APPLIED, error.outcome());
    }

    @Test
    void anErrorOfTheWorkComesBeforeTheLoss() {
        var error = assertThrows(ArithmeticException.class, () -> {
            try (var lock = client.lock(key).acquire()) {
                force();
                lock.lost().get(5, TimeUnit.SECONDS);
                throw new ArithmeticException();
            }
        });
        assertInstanceOf(LockLostException.class, error.getSuppressed()[0]);
    }

    @Test
    void onLostIsToldTheReasonOnce() throws Exception {
        List<String> reasons = new CopyOnWriteArrayList<>();
        HeldLock lock = client.lock(key).onLost(reasons::add).acquire();
        force();
        assertEquals("forced", lock.lost().get(5, TimeUnit.SECONDS));
        assertThrows(LockLostException.class, lock::release);
        eventually("it is told", () -> !reasons.isEmpty());
        assertEquals(List.of("forced"), reasons);
    }

    @Test
    void aLockMayBeReleasedWhereItsLossIsTold() throws Exception {
        HeldLock lock = client.lock(key).acquire();
        var released = lock.lost().handle((reason, error) -> assertThrows(LockLostException.class, lock::release));
        force();
        assertEquals("forced", released.get(5, TimeUnit.SECONDS).reason());
    }

    @Test
    void onWaitIsToldThePositionAndTheHolder() throws Exception {
        take(1500);
        List<String> seen = new CopyOnWriteArrayList<>();
        try (var lock = client.lock(key).waitFor(LONG).onWait((position, holder) -> seen.add(position + holder.owner())).acquire()) {
            assertTrue(seen.contains("1importer-7"), seen.toString());
        }
    }

    @Test
    void whatOnWaitThrowsEndsTheWait() throws Exception {
        take(60_000);
        LockRequest request = client.lock(key).waitFor(LONG).onWait((position, holder) -> {
            throw new ArithmeticException();
        });
        assertThrows(ArithmeticException.class, request::acquire);
        eventually("the queue is empty", () -> state().get("waiters").equals(0L));
    }

    @Test
    void anInterruptEndsTheWaitAndLeavesTheQueue() throws Exception {
        take(60_000);
        var ended = new CompletableFuture<Throwable>();
        Thread waits = new Thread(() -> {
            try {
                client.lock(key).waitForever().acquire();
            } catch (InterruptedException | RuntimeException error) {
                ended.complete(error);
            }
        });
        waits.start();
        eventually("it waits", () -> state().get("waiters").equals(1L));
        waits.interrupt();
        assertInstanceOf(InterruptedException.class, ended.get(5, TimeUnit.SECONDS));
        eventually("the queue is empty", () -> state().get("waiters").equals(0L));
    }

    @Test
    void anInterruptedThreadReleasesAndStaysInterrupted() throws Exception {
        HeldLock lock = client.lock(key).acquire();
        Thread.currentThread().interrupt();
        boolean isConfirmed = lock.release();
        assertTrue(Thread.interrupted());
        assertTrue(isConfirmed);
        assertTrue(isFree());
    }

    @Test
    void anInterruptedThreadAcquiresNothing() throws Exception {
        Thread.currentThread().interrupt();
        assertThrows(InterruptedException.class, client.lock(key)::acquire);
        assertTrue(isFree());
    }

    @Test
    void anInterruptOfTheClientsThreadEndsNoLock() throws Exception {
        try (var lock = client.lock(key).ttl(Duration.ofSeconds(2)).acquire()) {
            Thread listens = Thread.getAllStackTraces().keySet().stream()
                    .filter(thread -> thread.getName().equals("lockside " + key))
                    .findAny()
                    .orElseThrow();
            for (int i = 0; i < 30; i++) {
                listens.interrupt();
                Thread.sleep(100);
            }
            assertEquals(holder().token(), lock.token());
        }
        assertTrue(isFree());
    }

    @Test
    void theThreadOfALockEndsWithIt() throws Exception {
        try (var lock = client.lock(key).acquire()) {
            assertTrue(isRunning());
            lock.check();
        }
        eventually("the thread has ended", () -> !isRunning());
    }

    private boolean isRunning() {
        return Thread.getAllStackTraces().keySet().stream().anyMatch(thread -> thread.getName().equals("lockside " + key));
    }

    @Test
    void aRequestMayBeUsedAgain() throws Exception {
        LockRequest request = client.lock(key);
        try (var lock = request.acquire()) {
            assertThrows(LockHeldException.class, request::acquire);
            lock.check();
        }
        try (var lock = request.acquire()) {
            lock.check();
        }
    }

    @Test
    void releaseMayBeRepeated() throws Exception {
        HeldLock lock = client.lock(key).acquire();
        assertTrue(lock.release());
        assertTrue(lock.release());
        lock.close();
    }

    @Test
    void anotherThreadMayRelease() throws Exception {
        HeldLock lock = client.lock(key).acquire();
        assertTrue(CompletableFuture.supplyAsync(lock::release).get(5, TimeUnit.SECONDS));
        assertTrue(isFree());
    }

    @Test
    void tryAcquireIsEmptyWhereAnotherOwnerHoldsIt() throws Exception {
        long token = take(60_000);
        assertTrue(client.lock(key).tryAcquire().isEmpty());
        free(token);
        try (var lock = client.lock(key).tryAcquire().orElseThrow()) {
            lock.check();
        }
    }

    @Test
    void waitForeverWaitsAsLongAsItTakes() throws Exception {
        take(1000);
        try (var lock = client.lock(key).waitForever().acquire()) {
            lock.check();
        }
    }

    @Test
    void whatIsNoRequestIsRefusedBeforeAnythingIsSent() {
        LockRequest request = client.lock(key);
        assertThrows(IllegalArgumentException.class, () -> client.lock(""));
        assertThrows(IllegalArgumentException.class, () -> client.lock("half a character: \ud800"));
        assertThrows(IllegalArgumentException.class, () -> request.ttl(Duration.ZERO));
        assertThrows(IllegalArgumentException.class, () -> request.waitFor(Duration.ofMillis(-1)));
        assertThrows(IllegalArgumentException.class, () -> request.meta(new Object()));
        assertThrows(IllegalArgumentException.class, () -> request.meta(Double.NaN));
    }

    @Test
    void anErrorNamesTheThreadThatAcquired() throws Exception {
        take(60_000);
        var error = assertThrows(LockHeldException.class, client.lock(key)::acquire);
        assertTrue(List.of(error.getStackTrace()).stream().anyMatch(frame -> frame.getMethodName().equals("acquire")));
        assertEquals("importer-7", error.holder().owner());
        assertTrue(error.getMessage().contains("importer-7"), error.getMessage());
    }

    @Test
    void errorsCanBeSerialized() throws Exception {
        var bytes = new ByteArrayOutputStream();
        try (var out = new ObjectOutputStream(bytes)) {
            out.writeObject(new LockLostException(key, "forced"));
        }
        try (var in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
            var read = (LockLostException) in.readObject();
            assertEquals("forced", read.reason());
            assertEquals(key, read.key());
        }
    }

    @Test
    void aTemplateRunsWorkUnderTheLock() throws Exception {
        var template = new LockTemplate(client, request -> request.ttl(Duration.ofSeconds(10)).owner("editor-3"));
        assertEquals("editor-3", template.execute(key, lock -> holder().owner()));
        assertTrue(isFree());
        assertThrows(ArithmeticException.class, () -> template.executeWithoutResult(key, lock -> {
            throw new ArithmeticException();
        }));
        assertTrue(isFree());
    }

    @Test
    void aTemplateDoesWithoutWhereAnotherOwnerHoldsIt() throws Exception {
        var template = new LockTemplate(client);
        var ran = new AtomicReference<Long>();
        long token = take(60_000);
        assertFalse(template.executeIfFree(key, lock -> ran.set(lock.token())));
        assertNull(ran.get());
        free(token);
        assertTrue(template.executeIfFree(key, lock -> ran.set(lock.token())));
        assertTrue(ran.get() > token);
        // What the work itself does not get is its error.
        assertThrows(LockHeldException.class, () -> template.executeIfFree(key, lock -> client.lock(key).acquire()));
    }
}
