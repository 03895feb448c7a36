package lockside;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.ProtocolException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What is Java's own about watching; what every client must do is in clients/conformance. */
@Timeout(30)
class WatchTest extends SidecarTest {
    private static final String STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 100\n\n";
    private static final String SYNCED = "event: synced\ndata: {\"later\": 7}\n\n";
    private static final String GAP = "event: gap\ndata: {}\n\n";

    @TempDir
    Path folder;

    /** The next events have these types. */
    private static List<LockEvent> expect(Watch events, String types) throws InterruptedException {
        List<LockEvent> told = new ArrayList<>();
        for (String type : types.split(" ")) {
            LockEvent event = events.poll(Duration.ofSeconds(10));
            told.add(event);
            assertEquals(type, event == null ? null : event.type().toString(), () -> told.toString());
        }
        return told;
    }

    @Test
    void theStateIsToldAndThenChanges() throws Exception {
        try (Watch events = client.watch(key)) {
            assertEquals(new LockEvent(LockEvent.Type.STATE, key, 0L, "free", null, 0), events.take());
            assertEquals(LockEvent.of(LockEvent.Type.SYNCED), events.take());
            long token = take(30_000);
            LockEvent granted = expect(events, "granted").get(0);
            assertEquals(token, granted.token());
            assertEquals("importer-7", granted.holder().owner());
            free(token);
            assertEquals(new LockEvent(LockEvent.Type.RELEASED, key, token, null, null, null), events.take());
            assertNull(events.poll(Duration.ofMillis(10)));
        }
    }

    @Test
    void aLockIsWatchedByItsObject() throws Exception {
        try (var lock = client.lock(key).acquire(); Watch events = lock.watch()) {
            assertEquals(lock.token(), expect(events, "state synced").get(0).holder().token());
        }
    }

    @Test
    void anotherThreadEndsTheLoop() throws Exception {
        Watch events = client.watchPrefix(key);
        var seen = new LinkedBlockingQueue<LockEvent>();
        Thread reader = new Thread(() -> events.forEach(seen::add));
        reader.start();
        assertEquals(LockEvent.Type.SYNCED, seen.take().type());
        events.close();
        reader.join(5000);
        assertFalse(reader.isAlive());
        assertNull(events.take());
        eventually("its thread ends", () -> Thread.getAllStackTraces().keySet().stream().noneMatch(t -> t.getName().endsWith(key)));
    }

    @Test
    void anInterruptLosesNoEvent() throws Exception {
        try (Watch events = client.watch(key)) {
            expect(events, "state synced");
            var ended = new CompletableFuture<Object>();
            Thread reader = new Thread(() -> ended.complete(assertThrows(InterruptedException.class, events::take)));
            reader.start();
            reader.interrupt();
            assertInstanceOf(InterruptedException.class, ended.get(10, TimeUnit.SECONDS));
            var wasInterrupted = new CompletableFuture<Boolean>();
            Thread loop = new Thread(() -> {
                events.forEach(event -> {});
                wasInterrupted.complete(Thread.currentThread().isInterrupted());
            });
            loop.start();
            loop.interrupt();
            assertTrue(wasInterrupted.get(10, TimeUnit.SECONDS));
            long token = take(30_000);
            expect(events, "granted");
            free(token);
        }
    }

    @Test
    void aKeyThatCannotBeWatchedEndsIt() throws Exception {
        try (Watch events = client.watch("x".repeat(2000))) {
            var error = assertThrows(RefusedException.class, events::take);
            assertEquals("bad-request", error.code());
            assertEquals(400, error.status());
            assertNull(events.take());
        }
    }

    @Test
    void whatIsNoKeyIsRefusedBeforeAnythingIsSent() {
        for (String wrong : new String[] {"", "\ud83d"}) {
            assertThrows(IllegalArgumentException.class, () -> client.watch(wrong));
            assertThrows(IllegalArgumentException.class, () -> new FakeLockside().watch(wrong));
        }
    }

    /** A sidecar that answers one connection after another so, and leaves them open; where they are found. */
    private BlockingQueue<SocketChannel> answering(ServerSocketChannel listener, String... answers) throws IOException {
        listener.bind(UnixDomainSocketAddress.of(folder.resolve("socket")));
        var connections = new LinkedBlockingQueue<SocketChannel>();
        Thread thread = new Thread(() -> {
            try {
                for (String answer : answers) {
                    SocketChannel connection = listener.accept();
                    connection.read(ByteBuffer.allocate(4096));
                    connections.add(connection);
                    connection.write(ByteBuffer.wrap(answer.getBytes(StandardCharsets.UTF_8)));
                }
            } catch (IOException closed) {
                // The test has ended.
            }
        });
        thread.setDaemon(true);
        thread.start();
        return connections;
    }

    private Lockside raw() {
        return Lockside.builder().url("unix:" + folder.resolve("socket")).build();
    }

    @Test
    void aGapIsToldOnceUntilSomethingElseIs() throws Exception {
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            var connections = answering(listener, STREAM + SYNCED + "event: later\ndata: 7\n\n: x\r\n\r\n" + GAP, STREAM + GAP + SYNCED);
            Watch events = raw().watchPrefix("");
            expect(events, "synced gap");
            connections.take().close();
            expect(events, "synced");
            events.close();
            // The connection ends, too.
            var rest = ByteBuffer.allocate(4096);
            assertEquals(-1, connections.take().read(rest));
        }
    }

    @Test
    void retryAfterIsWaitedFor() throws Exception {
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            answering(listener, "HTTP/1.1 503 Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", STREAM + SYNCED);
            long start = System.nanoTime();
            try (Watch events = raw().watchPrefix("")) {
                expect(events, "synced");
                assertTrue(System.nanoTime() - start > 1_000_000_000L);
            }
        }
    }

    @Test
    void whatIsNoStreamIsRefused() throws Exception {
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            answering(listener, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi");
            assertThrows(RefusedException.class, raw().watch("x")::take);
        }
    }

    @Test
    void anEventWithoutEndAndWhatIsNoJsonBreakTheStream() throws Exception {
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            String endless = STREAM + SYNCED + "data: " + "x".repeat(1_100_000);
            answering(listener, endless, STREAM + SYNCED + "event: state\ndata: {\n\n", STREAM + SYNCED);
            try (Watch events = raw().watchPrefix("")) {
                expect(events, "synced gap synced gap synced");
            }
        }
    }

    @Test
    void serverSentEventsAreParsedHoweverTheyAreCut() throws ProtocolException {
        byte[] text = ("retry: 1042\n\nevent: state\r\ndata: {\"key\":\"ä\"}\r\n\r\nevent: nothing\n\n"
                + "event:later\nid: 7\ndata: a\ndata: b\n\ndata\n\n").getBytes(StandardCharsets.UTF_8);
        var expected = List.of(
                new EventParser.Raw("state", "{\"key\":\"ä\"}"), new EventParser.Raw("later", "a\nb"), new EventParser.Raw("", ""));
        for (int size : new int[] {1, 2, 3, 7, 1000}) {
            var parser = new EventParser();
            List<EventParser.Raw> told = new ArrayList<>();
            for (int at = 0; at < text.length; at += size) {
                told.addAll(parser.feed(Arrays.copyOfRange(text, at, Math.min(at + size, text.length))));
            }
            assertEquals(expected, told);
            assertEquals(1_042_000_000L, parser.retry());
        }
    }

    @Test
    void pausesGrowToAFewSeconds() {
        Course course = Course.ofKey("x");
        for (int seconds : new int[] {1, 2, 4, 5, 5, 5}) {
            double pause = course.broken(new UnavailableException("x", "lost")) / 1e9;
            assertTrue(pause >= seconds && pause <= seconds * 1.25, () -> seconds + " " + pause);
        }
        for (int status : new int[] {400, 401, 403, 404}) {
            var refusal = Problem.error("x", status, null, null);
            assertThrows(LocksideException.class, () -> course.broken(refusal));
        }
        assertTrue(course.broken(Problem.error("x", 429, null, "60")) >= 60_000_000_000L);
        assertTrue(course.broken(Problem.error("x", 502, null, null)) > 0);
    }

    @Test
    void aFakeTellsWhatHappensToThoseWhoWatch() throws Exception {
        var locks = new FakeLockside();
        locks.hold("x", "importer-7");
        try (Watch one = locks.watch("x"); Watch every = locks.watchPrefix(""); Watch other = locks.watch("y")) {
            assertTrue(locks.lock("x").waitFor(Duration.ofMillis(10)).tryAcquire().isEmpty());
            locks.free("x");
            locks.lock("x").rest(Duration.ofSeconds(1)).acquire().release();
            locks.free("x");
            var last = locks.lock("x").acquire();
            locks.lose("x", "forced");
            locks.gap();
            String changes = "waiting waiting released granted released expired granted forced gap";
            List<LockEvent> told = expect(one, "state synced " + changes + " state synced");
            assertEquals("held", told.get(0).state());
            assertEquals("importer-7", told.get(0).holder().owner());
            assertEquals(told.get(4).token(), told.get(0).token());
            assertEquals(List.of(1, 0), List.of(told.get(2).waiters(), told.get(3).waiters()));
            assertEquals("resting", told.get(6).state());
            assertEquals(last.token(), told.get(9).token());
            assertEquals("free", told.get(11).state());
            expect(every, "state synced " + changes + " synced");
            expect(other, "state synced gap state synced");
            one.close();
            assertFalse(one.iterator().hasNext());
        }
    }
}
