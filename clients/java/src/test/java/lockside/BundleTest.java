package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Bundles; what every client must do is in clients/conformance/table/bundles.py and bundle_loss.py. */
@Timeout(60)
class BundleTest extends SidecarTest {
    private final String other = key + "-other";
    private final FakeLockside locks = new FakeLockside();

    @Test
    void theBlockHasAllKeysAndFreesThem() throws Exception {
        try (var bundle = client.bundle(other).limit(key, 2).owner("transfer-1").ttl(Duration.ofSeconds(5)).acquire()) {
            assertEquals(List.of(other, key), bundle.keys());
            assertEquals(Map.of(other, "exclusive", key, "shared"), bundle.modes());
            assertEquals(bundle.tokens().get(key), holder().token());
            assertEquals(bundle.tokens().get(other), holder(other).token());
            assertEquals("transfer-1", bundle.owner());
            assertTrue(bundle.isHeld());
            assertNull(bundle.lostKey());
            var error = assertThrows(LockHeldException.class, client.bundle(key, key + "-free")::acquire);
            assertEquals(List.of(key, "shared", "transfer-1"), List.of(error.key(), error.mode(), error.holder().owner()));
            assertTrue(client.bundle(other, key).tryAcquire().isEmpty());
            assertNull(holder(key + "-free"));
        }
        assertTrue(isFree());
        assertNull(holder(other));
    }

    @Test
    void itIsToldWhichKeyItWaitsForAndAnInterruptEndsTheWait() throws Exception {
        long token = take(30_000);
        var told = new CompletableFuture<String>();
        var ended = new CompletableFuture<Throwable>();
        var request = client.bundle(other, key).waitForever().onWait((waited, position, holder) -> {
            if (holder != null) {
                told.complete(waited + " " + holder.owner());
            }
        });
        var thread = new Thread(() -> ended.complete(assertThrows(InterruptedException.class, request::acquire)));
        thread.start();
        assertEquals(key + " importer-7", told.get(10, TimeUnit.SECONDS));
        thread.interrupt();
        ended.get(10, TimeUnit.SECONDS);
        assertNull(holder(other));
        free(token);
    }

    @Test
    void aLossOfOneKeyEndsTheBlockAndFreesTheOthers() throws Exception {
        var reasons = new CompletableFuture<String>();
        var loss = assertThrows(LockLostException.class, () -> {
            try (var bundle = client.bundle(key, other).onLost(reasons::complete).acquire()) {
                force();
                assertEquals("forced", bundle.lost().get(10, TimeUnit.SECONDS));
                assertEquals(List.of("forced", key), List.of(bundle.reason(), bundle.lostKey()));
                assertFalse(bundle.isHeld());
            }
        });
        assertEquals(List.of(key, "forced", "forced"), List.of(loss.key(), loss.reason(), reasons.get(10, TimeUnit.SECONDS)));
        eventually("the other key is free", () -> holder(other) == null);
    }

    @Test
    void whatIsNoBundleIsRefusedBeforeAnythingIsSent() {
        assertThrows(IllegalArgumentException.class, () -> client.bundle(""));
        assertThrows(IllegalArgumentException.class, () -> client.bundle(key).limit(other, 0));
        assertThrows(IllegalArgumentException.class, () -> client.bundle(key).ttl(Duration.ZERO));
        assertThrows(IllegalArgumentException.class, () -> client.bundle(key).waitFor(Duration.ofMillis(-1)));
    }

    @Test
    void theFakeGrantsAllOrNone() throws Exception {
        locks.hold("y", "importer-7");
        var error = assertThrows(LockHeldException.class, locks.bundle("z", "y", "x")::acquire);
        assertEquals(List.of("y", "importer-7"), List.of(error.key(), error.holder().owner()));
        assertEquals(List.of("y"), locks.acquired());
        locks.free("y");
        try (var bundle = locks.bundle("z").shared("y").key("x").acquire(); var reader = locks.lock("y").shared().acquire()) {
            assertEquals(List.of("z", "y", "x"), bundle.keys());
            assertEquals(bundle.tokens().get("y"), locks.holder("y").token());
            assertEquals("shared", reader.mode());
            assertThrows(LockHeldException.class, locks.lock("x")::acquire);
        }
        assertEquals(List.of("y", "x", "y", "z", "y"), locks.acquired());
        assertNull(locks.holder("x"));
        assertNull(locks.holder("y"));
    }

    @Test
    void theFakeWaitsForOneKeyAfterAnother() throws Exception {
        locks.hold("x", "other");
        locks.hold("y", "other");
        var late = assertThrows(LockHeldException.class, locks.bundle("w", "x").waitFor(Duration.ofMillis(30))::acquire);
        assertEquals(List.of("x", "wait-timeout"), List.of(late.key(), late.code()));
        assertNull(locks.holder("w"));
        var waiting = begin(locks.bundle("y", "x").waitForever());
        eventually("it waits for x", () -> locks.waiters("x") == 1);
        locks.free("x");
        eventually("it waits for y", () -> locks.waiters("y") == 1);
        locks.lose("x", "forced");
        var error = assertThrows(ExecutionException.class, () -> waiting.get(10, TimeUnit.SECONDS));
        assertEquals("x", ((LockHeldException) error.getCause()).key());
        assertEquals(0, locks.waiters("y"));
        var again = begin(locks.bundle("y", "x").waitForever());
        eventually("it waits for y again", () -> locks.waiters("y") == 1);
        locks.free("y");
        assertEquals(List.of("y", "x"), again.get(10, TimeUnit.SECONDS).keys());
    }

    @Test
    void oneThatIsLostLosesABundleOfTheFake() throws Exception {
        var reasons = new CountDownLatch(1);
        var bundle = locks.bundle("x", "y").onLost(reason -> reasons.countDown()).acquire();
        locks.lose("y", "forced");
        assertEquals(List.of("forced", "y"), List.of(bundle.reason(), bundle.lostKey()));
        assertEquals(0, reasons.getCount());
        assertEquals("y", assertThrows(LockLostException.class, bundle::check).key());
        assertEquals("forced", assertThrows(LockLostException.class, bundle::release).reason());
        assertNull(locks.holder("x"));
    }

    @Test
    void theFakeRefusesAKeyTwiceAndFailsAsItIsTold() throws Exception {
        var twice = assertThrows(RefusedException.class, locks.bundle("x", "y", "x").waitForever()::acquire);
        assertTrue(twice.getMessage().contains("`x` is there twice"), twice.getMessage());
        assertThrows(RefusedException.class, locks.bundle()::acquire);
        for (Duration wait : List.of(Duration.ZERO, Duration.ofSeconds(1))) {
            locks.fail();
            assertThrows(UnavailableException.class, locks.bundle("x").waitFor(wait)::acquire);
        }
        try (var bundle = locks.bundle("x").acquire()) {
            assertTrue(bundle.isHeld());
        }
        assertNull(locks.holder("x"));
    }

    private static CompletableFuture<HeldBundle> begin(BundleRequest request) {
        var done = new CompletableFuture<HeldBundle>();
        new Thread(() -> {
            try {
                done.complete(request.acquire());
            } catch (InterruptedException | RuntimeException error) {
                done.completeExceptionally(error);
            }
        }).start();
        return done;
    }
}
