package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/**
 * What is Java's own about leader election; what every client must do is in clients/conformance. The sidecar stands for the
 * elections {@code jobs} and {@code reports}; the test that resigns does so in {@code reports}.
 */
@Timeout(30)
class ElectionTest extends SidecarTest {
    @TempDir
    Path folder;

    /** The answer that says that the sidecar leads. */
    private Leader leading(String election) throws Exception {
        eventually("it leads", () -> client.leader(election).isLeader());
        return client.leader(election);
    }

    @Test
    void theLeaderIsNamedWithItsToken() throws Exception {
        Leader known = leading("jobs");
        assertEquals(holder("election:jobs").owner(), known.name());
        assertEquals(holder("election:jobs").token(), known.token());
        assertEquals(1, known.candidates());
        assertFalse(known.isStale());
        assertTrue(known.since().isBefore(Instant.now().plusSeconds(1)));
        assertTrue(known.lastUpdate().isAfter(Instant.now().minusSeconds(60)));
    }

    @Test
    void whatWasAnsweredEndsByTheClock() throws Exception {
        Leader known = leading("jobs");
        eventually("its validity has passed", () -> !known.isLeader());
        assertTrue(client.leader("jobs").isLeader());
    }

    @Test
    void itDoesNotLeadForAsLongAsItResigned() throws Exception {
        leading("reports");
        client.resign("reports", Duration.ofSeconds(30));
        Leader known = client.leader("reports");
        assertFalse(known.isLeader());
        assertNull(known.name());
        assertNull(known.token());
        assertNull(known.since());
        assertNull(holder("election:reports"));
        client.resign("reports", Duration.ofNanos(1));
        leading("reports");
        client.resign("reports");
        leading("reports");
    }

    @Test
    void anUnknownElectionIsRefused() {
        for (Executable call : new Executable[] {() -> client.leader("other"), () -> client.resign("other")}) {
            var error = assertThrows(RefusedException.class, call);
            assertEquals("no-such-election", error.code());
            assertEquals(404, error.status());
            assertEquals("other", error.key());
        }
    }

    @Test
    void aSidecarThatDoesNotAnswerIsUnavailable() throws Exception {
        Path path = folder.resolve("socket");
        var silent = Lockside.builder().url("unix:" + path).timeout(Duration.ofMillis(200)).build();
        assertThrows(UnavailableException.class, () -> silent.leader("jobs"));
        assertThrows(UnavailableException.class, () -> silent.resign("jobs"));
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            listener.bind(UnixDomainSocketAddress.of(path));
            var error = assertThrows(UnavailableException.class, () -> silent.leader("jobs"));
            assertEquals(Outcome.NOT_APPLIED, error.outcome());
            assertThrows(OutcomeUnknownException.class, () -> silent.resign("jobs"));
        }
    }

    @Test
    void anInterruptedThreadDoesNotWaitForAnAnswer() throws Exception {
        Path path = folder.resolve("socket");
        var silent = Lockside.builder().url("unix:" + path).timeout(Duration.ofMinutes(1)).build();
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            listener.bind(UnixDomainSocketAddress.of(path));
            var ended = new CompletableFuture<Throwable>();
            Thread asks = new Thread(() -> ended.complete(assertThrows(Throwable.class, () -> silent.leader("jobs"))));
            asks.start();
            try (var connection = listener.accept()) {
                asks.interrupt();
                assertInstanceOf(InterruptedException.class, ended.get(10, TimeUnit.SECONDS));
                // The request is broken off, too.
                var rest = ByteBuffer.allocate(65536);
                while (connection.read(rest) >= 0) {
                    rest.clear();
                }
            }
        }
    }

    @Test
    void whatIsNoNameOrNoTimeIsRefusedBeforeAnythingIsSent() {
        assertThrows(IllegalArgumentException.class, () -> client.leader(""));
        assertThrows(IllegalArgumentException.class, () -> client.resign("jobs", Duration.ofSeconds(-1)));
    }

    @Test
    void aPodOfAFakeLeadsUntilAnotherOneDoes() {
        var locks = new FakeLockside();
        locks.lead("jobs");
        Leader first = locks.leader("jobs");
        assertTrue(first.isLeader());
        locks.follow("jobs", "pod-8");
        assertFalse(first.isLeader());
        Leader second = locks.leader("jobs");
        assertEquals("pod-8", second.name());
        assertFalse(second.isLeader());
        assertEquals(2, second.candidates());
        assertTrue(second.token() > first.token());
    }

    @Test
    void aPodOfAFakeThatResignsDoesNotLead() throws Exception {
        var locks = new FakeLockside();
        locks.lead("jobs");
        Leader first = locks.leader("jobs");
        locks.resign("jobs");
        assertFalse(first.isLeader());
        assertNull(locks.leader("jobs").name());
        locks.follow("jobs", "pod-8");
        locks.resign("jobs", Duration.ofSeconds(30));
        assertEquals("pod-8", locks.leader("jobs").name());
        var error = assertThrows(RefusedException.class, () -> locks.leader("other"));
        assertEquals("no-such-election", error.code());
    }
}
