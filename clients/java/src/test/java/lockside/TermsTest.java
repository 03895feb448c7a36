package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** When the key of a lock gets free, and for how long it is held. */
@Timeout(60)
class TermsTest extends SidecarTest {
    private static final Duration LONG = Duration.ofSeconds(30);

    @Test
    void aSecondRunWithinTheMinimumIsRefusedAsResting() throws Exception {
        long token;
        try (var lock = client.lock(key).minHold(LONG).acquire()) {
            token = lock.token();
            assertEquals("held", assertThrows(LockHeldException.class, client.lock(key)::acquire).state());
        }
        var error = assertThrows(LockHeldException.class, client.lock(key)::acquire);
        assertEquals("resting", error.state());
        assertEquals(token, error.holder().token());
        assertTrue(error.getMessage().contains("rests"), error.getMessage());
    }

    @Test
    void theEndOfTheBlockEndsTheDelayAndBeginsTheRest() throws Exception {
        client.lock(key).delay(LONG).acquire().close();
        assertTrue(isFree());
        client.lock(key).delay(LONG).rest(LONG).acquire().close();
        assertEquals("resting", state().get("state"));
    }

    @Test
    void aReleaseWithinTheDelayFreesALostLock() throws Exception {
        HeldLock lock = client.lock(key).ttl(Duration.ofSeconds(2)).maxHold(Duration.ofSeconds(2)).delay(LONG).acquire();
        assertEquals("max-hold", lock.lost().get(5, TimeUnit.SECONDS));
        // Longer than the lease.
        Thread.sleep(500);
        assertEquals("held", state().get("state"));
        assertThrows(LockLostException.class, lock::release);
        assertTrue(isFree());
    }

    @Test
    void aLockIsLostAtItsMaximum() throws Exception {
        HeldLock lock = client.lock(key).ttl(Duration.ofSeconds(1)).maxHold(Duration.ofMillis(2500)).acquire();
        assertEquals("max-hold", lock.lost().get(5, TimeUnit.SECONDS));
        assertEquals("max-hold", assertThrows(LockLostException.class, lock::close).reason());
    }

    @Test
    void whatIsNoTimeIsRefusedBeforeAnythingIsSent() {
        LockRequest request = client.lock(key);
        List<Consumer<Duration>> options = List.of(request::delay, request::minHold, request::maxHold, request::rest);
        for (Consumer<Duration> option : options) {
            assertThrows(IllegalArgumentException.class, () -> option.accept(Duration.ofMillis(-1)));
        }
        assertThrows(IllegalArgumentException.class, () -> request.maxHold(Duration.ZERO));
    }

    @Test
    void aLockOfTheFakeWithAMinimumOrARestRestsUntilItIsFree() throws Exception {
        List<Consumer<LockRequest>> terms = List.of(request -> request.minHold(LONG), request -> request.rest(LONG));
        for (Consumer<LockRequest> term : terms) {
            var locks = new FakeLockside();
            LockRequest request = locks.lock("x");
            term.accept(request);
            try (var lock = request.acquire()) {
                lock.check();
                assertEquals("held", assertThrows(LockHeldException.class, locks.lock("x")::acquire).state());
            }
            LockRequest waiting = locks.lock("x").waitFor(Duration.ofMillis(50)).delay(LONG);
            assertEquals("resting", assertThrows(LockHeldException.class, waiting::acquire).state());
            locks.free("x");
            waiting.acquire().close();
            assertNull(locks.holder("x"));
        }
    }
}
