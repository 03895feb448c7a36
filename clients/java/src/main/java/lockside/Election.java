package lockside;

import java.io.IOException;
import java.net.ProtocolException;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** What a sidecar is asked about an election: who leads, and that its own candidate resign. */
final class Election {
    /** What came, and a moment before which nothing was sent. */
    private record Answer(Map<?, ?> view, long sent) {}

    private final Sidecar sidecar;
    private final String name;

    Election(Sidecar sidecar, String name) {
        if (name.isEmpty()) {
            throw new IllegalArgumentException("election: expected text that is not empty");
        }
        this.sidecar = sidecar;
        this.name = name;
    }

    Leader leader() throws InterruptedException {
        Answer answer;
        try {
            answer = ask("GET", "");
        } catch (OutcomeUnknownException error) {
            // Nothing is done by looking.
            throw new UnavailableException(error.getMessage(), error.getCause(), error.problem().notApplied());
        }
        boolean wasLeader = Boolean.TRUE.equals(answer.view().get("leader"));
        long left = answer.view().get("validForMs") instanceof Number millis ? Clock.ofMillis(millis.longValue()) : 0;
        long validUntil = answer.sent() + left;
        return new Leader(answer.view(), () -> wasLeader && Clock.now() < validUntil);
    }

    void resign(Duration pause) throws InterruptedException {
        if (pause.isNegative()) {
            throw new IllegalArgumentException("pause: expected a duration from zero");
        }
        ask("DELETE", pause.isZero() ? "" : "?for=" + Clock.toMillis(Clock.nanos(pause)) + "ms");
    }

    /** Asks once, in a thread of the client's own: an interrupt of the caller's would close the channel. */
    private Answer ask(String method, String query) throws InterruptedException {
        Exchange exchange = new Exchange(sidecar.address());
        var answer = new CompletableFuture<Answer>();
        Runnable run = () -> {
            try {
                answer.complete(ask(exchange, method, query));
            } catch (RuntimeException | Error error) {
                answer.completeExceptionally(error);
            } finally {
                exchange.close();
            }
        };
        Thread thread = new Thread(null, run, "lockside " + name, 0, false);
        thread.setDaemon(true);
        thread.start();
        try {
            return answer.get();
        } catch (InterruptedException interrupted) {
            exchange.shut();
            throw interrupted;
        } catch (ExecutionException failed) {
            if (failed.getCause() instanceof Error error) {
                throw error;
            }
            RuntimeException error = (RuntimeException) failed.getCause();
            // Of this thread, which says more to the application than that of the request.
            error.fillInStackTrace();
            throw error;
        }
    }

    private Answer ask(Exchange exchange, String method, String query) {
        Map<String, String> headers;
        try {
            headers = sidecar.headers();
        } catch (IOException error) {
            String message = "`" + name + "`: cannot read the token file: " + error.getMessage();
            throw new RefusedException(message, error, Problem.of(name, null, Outcome.NOT_APPLIED));
        }
        long until = Clock.now() + sidecar.timeout();
        try {
            exchange.open(until);
        } catch (IOException error) {
            String message = "cannot connect to lockside at " + sidecar.address() + ": " + error.getMessage() + "; is it running?";
            throw new UnavailableException(message, error, Problem.of(name, null, Outcome.NOT_APPLIED));
        }
        long sent = Clock.now();
        try {
            exchange.send(method, "/v1/elections/" + Order.segment(name) + query, headers, null, until);
            Exchange.Head head = exchange.head(until);
            if (head.status() == 204) {
                return new Answer(Map.of(), sent);
            }
            Map<?, ?> view = Problem.view(exchange.rest(until));
            if (head.status() != 200) {
                throw Problem.error(name, head.status(), view, head.headers().get("retry-after"));
            }
            if (!view.containsKey("leader")) {
                throw new ProtocolException("what came is not an election; does the URL name lockside's API?");
            }
            return new Answer(view, sent);
        } catch (IOException error) {
            String message = "`" + name + "`: no answer from lockside at " + sidecar.address() + ": " + error.getMessage();
            throw new OutcomeUnknownException(message, error, Problem.of(name, null, Outcome.UNKNOWN));
        }
    }
}
