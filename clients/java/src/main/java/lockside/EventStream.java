package lockside;

import java.io.IOException;
import java.util.Map;

/** Reads the events of a course from a sidecar, in a thread of its own: an interrupt of the application's would close the channel. */
final class EventStream {
    /** Longest silence: the sidecar writes a comment every 15 s. */
    static final long SILENCE = Clock.ofMillis(45_000);

    private final Sidecar sidecar;
    private final Course course;
    /** Room for one: what is not read stays in the socket, and so at the sidecar. */
    private final Mailbox mailbox = new Mailbox(1);
    private volatile Exchange exchange;

    private EventStream(Sidecar sidecar, Course course) {
        this.sidecar = sidecar;
        this.course = course;
    }

    static Watch watch(Sidecar sidecar, Course course) {
        EventStream stream = new EventStream(sidecar, course);
        Thread thread = new Thread(null, stream::run, "lockside watch " + course.name(), 0, false);
        thread.setDaemon(true);
        thread.start();
        return new Watch(stream.mailbox, stream::stop);
    }

    private void stop() {
        Exchange open = exchange;
        if (open != null) {
            open.shut();
        }
    }

    private void run() {
        try {
            while (!mailbox.isClosed()) {
                LocksideException error = follow();
                if (!mailbox.isClosed()) {
                    long pause = course.broken(error);
                    tell();
                    mailbox.pause(pause);
                }
            }
        } catch (RuntimeException error) {
            mailbox.fail(error);
        } catch (Error error) {
            mailbox.fail(new IllegalStateException("the events cannot be read", error));
            throw error;
        }
    }

    /** Tells the events of one connection; why it has ended. */
    private LocksideException follow() {
        Exchange open = new Exchange(sidecar.address());
        exchange = open;
        try {
            begin(open);
            while (tell()) {
                course.take(open.part(Clock.now() + SILENCE));
            }
            return unavailable("closed", null);
        } catch (LocksideException error) {
            return error;
        } catch (IOException error) {
            tell();
            return unavailable("no events from lockside at " + sidecar.address() + ": " + error.getMessage(), error);
        } finally {
            open.close();
        }
    }

    private void begin(Exchange open) throws IOException {
        Map<String, String> headers;
        try {
            headers = sidecar.headers();
        } catch (IOException error) {
            throw refused("cannot read the token file: " + error.getMessage(), error, 0);
        }
        if (mailbox.isClosed()) {
            throw new IOException("given up");
        }
        try {
            open.open(Clock.now() + sidecar.timeout());
        } catch (IOException error) {
            throw unavailable("cannot connect to lockside at " + sidecar.address() + ": " + error.getMessage() + "; is it running?", error);
        }
        // The sidecar first reads the state of every shard.
        long until = Clock.now() + 2 * sidecar.timeout();
        open.send("GET", course.path(), headers, null, until);
        Exchange.Head head = open.head(until);
        if (head.status() != 200) {
            throw Problem.error(course.name(), head.status(), Problem.view(open.rest(until)), head.headers().get("retry-after"));
        }
        if (!head.headers().getOrDefault("content-type", "").startsWith("text/event-stream")) {
            throw refused("what came is no stream of events; does the URL name lockside's API?", null, head.status());
        }
        course.begin();
    }

    /** Hands over what was told; false: the watch is closed. */
    private boolean tell() {
        for (LockEvent event = course.next(); event != null; event = course.next()) {
            if (!mailbox.put(event)) {
                return false;
            }
        }
        return !mailbox.isClosed();
    }

    private UnavailableException unavailable(String message, IOException error) {
        return new UnavailableException(message, error, Problem.of(course.name(), null, Outcome.NOT_APPLIED));
    }

    private RefusedException refused(String why, IOException error, int status) {
        Problem problem = new Problem(course.name(), null, Outcome.NOT_APPLIED, status, null, null);
        return new RefusedException("`" + course.name() + "`: " + why, error, problem);
    }
}
