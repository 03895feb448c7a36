package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Locks that share their key; what every client must do is in clients/conformance/table/sharing.py. */
@Timeout(60)
class SharingTest extends SidecarTest {
    private final FakeLockside locks = new FakeLockside();

    @Test
    void readersHaveAKeyTogetherAndAWriterHasItAlone() throws Exception {
        try (var first = client.lock(key).shared().acquire(); var second = client.lock(key).shared().acquire()) {
            assertEquals("shared", first.mode());
            assertNull(first.limit());
            assertTrue(second.token() > first.token());
            var error = assertThrows(LockHeldException.class, client.lock(key)::acquire);
            assertEquals(List.of("shared", 2, "held", 0), List.of(error.mode(), error.sharedBy(), error.state(), error.waiters()));
            assertTrue(error.getMessage().matches("`.*` is shared by .* and 1 more"), error.getMessage());
            assertEquals(2L, state().get("sharedBy"));
        }
        try (var writer = client.lock(key).acquire()) {
            assertEquals("exclusive", writer.mode());
            var error = assertThrows(LockHeldException.class, client.lock(key).shared()::acquire);
            assertNull(error.mode());
            assertNull(error.sharedBy());
            assertEquals("exclusive", error.holder().mode());
        }
        assertTrue(isFree());
    }

    @Test
    void aTemplateWithALimitLetsSoManyInAtOnce() throws Exception {
        var template = new LockTemplate(client, request -> request.limit(3).waitFor(Duration.ofSeconds(30)));
        var running = new AtomicInteger();
        var most = new AtomicInteger();
        var refused = new CountDownLatch(1);
        List<CompletableFuture<Integer>> work = new ArrayList<>();
        for (int i = 0; i < 7; i++) {
            var done = new CompletableFuture<Integer>();
            work.add(done);
            new Thread(() -> {
                try {
                    done.complete(template.execute(key, lock -> {
                        int now = running.incrementAndGet();
                        most.accumulateAndGet(now, Math::max);
                        if (now == 3 && refused.getCount() > 0) {
                            assertEquals(3, assertThrows(LockHeldException.class, client.lock(key).limit(3)::acquire).holder().limit());
                            refused.countDown();
                        }
                        // Until then the first three stay.
                        assertTrue(refused.await(20, TimeUnit.SECONDS));
                        running.decrementAndGet();
                        return lock.limit();
                    }));
                } catch (Exception | Error error) {
                    done.completeExceptionally(error);
                }
            }).start();
        }
        for (var done : work) {
            assertEquals(3, done.get(30, TimeUnit.SECONDS));
        }
        assertEquals(3, most.get());
    }

    @Test
    void whatIsNoLimitIsRefusedBeforeAnythingIsSent() {
        for (int limit : new int[] {0, -1, 10_001}) {
            assertThrows(IllegalArgumentException.class, () -> client.lock(key).limit(limit));
        }
    }

    @Test
    void theFakeSharesAKeyUpToTheLimit() throws Exception {
        locks.holdShared("x", "encoder-1");
        HeldLock second = locks.lock("x").limit(2).acquire();
        var error = assertThrows(LockHeldException.class, locks.lock("x").limit(2)::acquire);
        assertEquals("`x` is shared by encoder-1 and 1 more", error.getMessage());
        assertEquals("shared", assertThrows(LockHeldException.class, locks.lock("x")::acquire).mode());
        try (var third = locks.lock("x").limit(3).acquire()) {
            assertEquals(3, third.limit());
            assertEquals(3, locks.holders("x").size());
        }
        locks.free("x");
        assertEquals(second.token(), locks.holder("x").token());
        second.release();
        try (var writer = locks.lock("x").acquire()) {
            assertNull(assertThrows(LockHeldException.class, locks.lock("x").shared()::acquire).mode());
            writer.check();
        }
    }

    @Test
    void theFakeServesReadersAndWritersInOrder() throws Exception {
        List<String> order = new CopyOnWriteArrayList<>();
        List<CompletableFuture<Void>> work = new ArrayList<>();
        HeldLock first = locks.lock("x").shared().acquire();
        for (String name : List.of("writer", "reader", "reader", "last")) {
            LockRequest request = locks.lock("x").waitForever();
            work.add(begin(name.equals("reader") ? request.shared() : request, () -> order.add(name)));
            eventually("it waits", () -> locks.waiters("x") == work.size());
        }
        assertEquals(4, assertThrows(LockHeldException.class, locks.lock("x").shared()::acquire).waiters());
        first.release();
        for (var done : work) {
            done.get(10, TimeUnit.SECONDS);
        }
        assertEquals(List.of("writer", "reader", "reader", "last"), order);
    }

    @Test
    void readersOfTheFakeGetInWhenAWriterGivesUp() throws Exception {
        locks.holdShared("x", "reader-1");
        var writer = begin(locks.lock("x").waitFor(Duration.ofMillis(300)), () -> {});
        eventually("the writer waits", () -> locks.waiters("x") == 1);
        try (var reader = locks.lock("x").shared().waitFor(Duration.ofSeconds(20)).acquire()) {
            reader.check();
            assertEquals(2, locks.holders("x").size());
        }
        var error = assertThrows(Exception.class, () -> writer.get(5, TimeUnit.SECONDS));
        assertEquals("wait-timeout", ((LockHeldException) error.getCause()).code());
    }

    @Test
    void allWhoShareAKeyOfTheFakeLoseIt() throws Exception {
        List<HeldLock> both = List.of(locks.lock("x").shared().acquire(), locks.lock("x").limit(5).acquire());
        locks.lose("x", "forced");
        for (HeldLock lock : both) {
            assertEquals("forced", assertThrows(LockLostException.class, lock::release).reason());
        }
        assertNull(locks.holder("x"));
    }

    @Test
    void oneOfThoseWhoShareAKeyOfTheFakeRestsAndThenAllOfThem() throws Exception {
        locks.holdShared("x", "reader-1");
        var second = locks.lock("x").shared().rest(Duration.ofMinutes(1)).acquire();
        try (var events = locks.watch("x")) {
            var told = events.iterator();
            told.next();
            assertEquals(LockEvent.Type.SYNCED, told.next().type());
            second.release();
            LockEvent released = told.next();
            assertEquals(List.of("resting", "resting"), List.of(released.state(), released.holder().state()));
        }
        assertEquals(List.of("held", "resting"), locks.holders("x").stream().map(Holder::state).toList());
        for (String state : List.of("held", "resting")) {
            assertEquals(state, assertThrows(LockHeldException.class, locks.lock("x")::acquire).state());
            try (var events = locks.watch("x")) {
                assertEquals(state, events.iterator().next().state());
            }
            locks.free("x");
        }
        try (var writer = locks.lock("x").acquire()) {
            writer.check();
            assertNull(locks.holder("x").state());
        }
    }

    @Test
    void aWatchOfTheFakeTellsWhoShareAKey() throws Exception {
        locks.holdShared("x", "reader-1");
        try (var lock = locks.lock("x").limit(5).acquire(); var events = locks.watch("x")) {
            LockEvent state = events.iterator().next();
            assertEquals(LockEvent.Type.STATE, state.type());
            assertEquals(List.of("held", "shared", 2), List.of(state.state(), state.mode(), state.sharedBy()));
            assertEquals(state.holder(), state.holders().get(0));
            assertEquals(lock.token(), state.holders().get(1).token());
            assertEquals(5, state.holders().get(1).limit());
        }
    }

    private static CompletableFuture<Void> begin(LockRequest request, Runnable work) {
        var done = new CompletableFuture<Void>();
        new Thread(() -> {
            try (var lock = request.acquire()) {
                lock.check();
                work.run();
                done.complete(null);
            } catch (InterruptedException | RuntimeException error) {
                done.completeExceptionally(error);
            }
        }).start();
        return done;
    }
}
