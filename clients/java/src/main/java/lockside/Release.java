package lockside;

import java.io.IOException;
import java.net.ConnectException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import lockside.Attempt.Released;

/**
 * A release of leases by their tokens, sent as often as it takes to know the outcome.
 *
 * @param keys those of the leases
 */
record Release(Sidecar sidecar, Claim.Request request, List<String> keys) {
    private static final long PAUSE = 100 * 1_000_000L;

    /** Sends it. If it is in doubt, a repetition of the hold that was broken off may have released them by its rollback. */
    Released send(long within, boolean isInDoubt) {
        long until = Clock.now() + within;
        List<String> lost = new ArrayList<>();
        boolean wasSent = isInDoubt;
        boolean wasAnswered = isInDoubt;
        while (true) {
            boolean wasAsked = wasSent;
            Exchange exchange = new Exchange(sidecar.address());
            int status = 0;
            List<String> ended = List.of();
            try {
                exchange.open(until);
                wasSent = true;
                Map<String, String> headers = new HashMap<>(sidecar.headers());
                if (request.content() != null) {
                    headers.put("Content-Type", "application/json");
                }
                exchange.send(request.method(), request.path(), headers, request.content(), until);
                int answered = exchange.head(until).status();
                if (answered == 410 || answered == 504) {
                    ended = ended(keys, answered, exchange.rest(until));
                }
                status = answered;
            } catch (ConnectException nothingListens) {
                return new Released(false, lost);
            } catch (IOException noAnswer) {
                // Asked for again.
            } finally {
                exchange.close();
            }
            // What an earlier request of ours did is not a loss. A release without an answer did all that, or nothing.
            if (!wasAsked || status == 410 && !wasAnswered && ended.size() < keys.size()) {
                lost.addAll(ended);
            }
            if (status == 204 || status == 410) {
                return new Released(true, lost);
            }
            wasAnswered |= status != 0;
            if (status >= 400 && status < 500 || until - Clock.now() < 2 * PAUSE) {
                return new Released(false, lost);
            }
            sleep(PAUSE);
        }
    }

    /** The keys that an answer to a release says had ended: of one key without saying its name. */
    private static List<String> ended(List<String> keys, int status, String text) {
        if (Problem.view(text).get("lost") instanceof List<?> said) {
            return keys.stream().filter(said::contains).toList();
        }
        return status == 410 ? keys : List.of();
    }

    private static void sleep(long nanos) {
        try {
            Thread.sleep(nanos / 1_000_000);
        } catch (InterruptedException ignored) {
            // The session's thread is the client's own.
        }
    }
}
