import java.time.Duration;
import java.util.concurrent.ConcurrentHashMap;

import lockside.LockTemplate;
import lockside.Lockside;

/** A write that carries the fencing token: the storage refuses a holder that was paused past its lease. */
class Fenced {
    private record Row(String text, long token) {}

    /** Stands for a table; a database compares in one statement: UPDATE … WHERE token <= ?. */
    private static final ConcurrentHashMap<Integer, Row> VOLUMES = new ConcurrentHashMap<>();

    private static void save(int id, String text, long token) {
        VOLUMES.compute(id, (any, row) -> {
            if (row != null && row.token() > token) {
                throw new IllegalStateException("volume " + id + " was written with a token above " + token);
            }
            return new Row(text, token);
        });
    }

    public static void main(String[] arguments) throws InterruptedException {
        var template = new LockTemplate(
                Lockside.create(), request -> request.ttl(Duration.ofSeconds(10)).waitFor(Duration.ofMinutes(1)));
        long first = template.execute("examples/volume/7", lock -> {
            save(7, "first edition", lock.token());
            return lock.token();
        });
        template.executeWithoutResult("examples/volume/7", lock -> {
            save(7, "second edition", lock.token());
            save(7, "second edition, corrected", lock.token());
        });

        // The first holder wakes up, and does not know yet that its time has passed.
        try {
            save(7, "first edition, corrected", first);
        } catch (IllegalStateException stale) {
            System.out.println("refused: " + stale.getMessage());
            return;
        }
        System.exit(1);
    }
}
