package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The fake does what the sidecar does, as far as an application can tell. */
@Timeout(30)
class FakeTest {
    private final FakeLockside locks = new FakeLockside();

    @Test
    void locksAreExclusiveAndTokensRise() throws Exception {
        long first;
        try (var lock = locks.lock("x").owner("editor-3").meta(Map.of("n", 1)).acquire()) {
            first = lock.token();
            var error = assertThrows(LockHeldException.class, locks.lock("x")::acquire);
            assertEquals(first, error.holder().token());
            assertEquals("held", error.code());
            assertEquals("editor-3", locks.holder("x").owner());
            assertEquals(Map.of("n", 1L), locks.holder("x").meta());
        }
        try (var lock = locks.lock("x").acquire()) {
            assertTrue(lock.token() > first);
        }
        assertNull(locks.holder("x"));
        assertEquals(List.of("x", "x"), locks.acquired());
    }

    @Test
    void whatAnotherOwnerHoldsIsHeldUntilItIsFree() throws Exception {
        locks.hold("x", "importer-7");
        LockRequest request = locks.lock("x").waitFor(Duration.ofMillis(50));
        var error = assertThrows(LockHeldException.class, request::acquire);
        assertEquals("wait-timeout", error.code());
        assertEquals("importer-7", error.holder().owner());
        CompletableFuture.delayedExecutor(100, TimeUnit.MILLISECONDS).execute(() -> locks.free("x"));
        try (var lock = request.waitFor(Duration.ofSeconds(20)).acquire()) {
            lock.check();
        }
    }

    @Test
    void waitersAreServedInOrder() throws Exception {
        List<Integer> order = new CopyOnWriteArrayList<>();
        List<CompletableFuture<Void>> work = new ArrayList<>();
        HeldLock first = locks.lock("x").acquire();
        for (int i = 0; i < 5; i++) {
            int number = i;
            var done = new CompletableFuture<Void>();
            work.add(done);
            new Thread(() -> {
                try (var lock = locks.lock("x").waitForever().acquire()) {
                    order.add(number);
                    done.complete(null);
                } catch (InterruptedException error) {
                    done.completeExceptionally(error);
                }
            }).start();
            SidecarTest.eventually("it waits", () -> locks.waiters("x") == number + 1);
        }
        first.release();
        for (var done : work) {
            done.get(10, TimeUnit.SECONDS);
        }
        assertEquals(List.of(0, 1, 2, 3, 4), order);
    }

    @Test
    void aLossIsToldAsTheSidecarTellsIt() throws Exception {
        List<String> reasons = new ArrayList<>();
        assertThrows(LockLostException.class, () -> {
            try (var lock = locks.lock("x").onLost(reasons::add).acquire()) {
                locks.lose("x", "redis");
                assertEquals("redis", lock.lost().getNow(null));
                assertFalse(lock.isHeld());
                lock.check();
            }
        });
        assertEquals(List.of("redis"), reasons);
        locks.lock("x").acquire().close();
    }

    @Test
    void failuresAreThrownOnce() throws Exception {
        locks.fail();
        locks.fail(new OutcomeUnknownException("x", "no answer"));
        assertThrows(UnavailableException.class, locks.lock("x")::acquire);
        assertThrows(OutcomeUnknownException.class, locks.lock("x")::acquire);
        locks.lock("x").acquire().close();
    }

    @Test
    void anInterruptedWaitLeavesTheQueue() throws Exception {
        locks.hold("x", "importer-7");
        var ended = new CompletableFuture<Throwable>();
        Thread waits = new Thread(() -> {
            try {
                locks.lock("x").waitForever().acquire();
            } catch (InterruptedException | RuntimeException error) {
                ended.complete(error);
            }
        });
        waits.start();
        SidecarTest.eventually("it waits", () -> locks.waiters("x") == 1);
        waits.interrupt();
        assertInstanceOf(InterruptedException.class, ended.get(5, TimeUnit.SECONDS));
        assertEquals(0, locks.waiters("x"));
    }

    @Test
    void aTemplateUsesItToo() throws Exception {
        var template = new LockTemplate(locks);
        assertEquals("x", template.execute("x", HeldLock::key));
        locks.hold("x", "importer-7");
        assertFalse(template.executeIfFree("x", HeldLock::check));
    }
}
