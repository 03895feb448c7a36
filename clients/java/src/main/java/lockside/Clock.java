package lockside;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The clock that leases are counted by: nanoseconds that never step, and that go on while the machine sleeps. */
final class Clock {
    /** Later than any moment. Spans may be added to it. */
    static final long FOREVER = Long.MAX_VALUE / 4;

    private static final Path UPTIME = Path.of("/proc/uptime");
    private static final long COARSE = 50_000_000;
    private static final long ORIGIN = System.nanoTime();
    private static final long AHEAD_AT_ORIGIN = uptimeAhead();

    private static volatile long slept;
    private static volatile long wallAhead = wallAhead(System.nanoTime() - ORIGIN);

    private Clock() {}

    static long now() {
        long awake = System.nanoTime() - ORIGIN;
        // A sleep moves the wall clock against the monotonic one. So does a step of the wall clock, so that the time since
        // boot, which is slower to read, decides.
        if (Math.abs(wallAhead(awake) - wallAhead) > COARSE / 2) {
            correct();
            awake = System.nanoTime() - ORIGIN;
        }
        return awake + slept;
    }

    private static synchronized void correct() {
        long ahead = wallAhead(System.nanoTime() - ORIGIN);
        long more = uptimeAhead() - AHEAD_AT_ORIGIN;
        if (more > slept + COARSE) {
            slept = more;
        }
        // Last, so that other threads wait for what is found here.
        wallAhead = ahead;
    }

    private static long wallAhead(long awake) {
        return System.currentTimeMillis() * 1_000_000 - awake;
    }

    /** By how much the time since boot is ahead; on Linux it counts sleep, in steps of 10 ms. Both are read in one moment, or again. */
    private static long uptimeAhead() {
        try {
            for (int tries = 1;; tries++) {
                long before = System.nanoTime() - ORIGIN;
                String text = Files.readString(UPTIME);
                if (System.nanoTime() - ORIGIN - before < COARSE / 10 || tries == 20) {
                    return (long) (Double.parseDouble(text.substring(0, text.indexOf(' '))) * 1e9) - before;
                }
            }
        } catch (IOException | RuntimeException missing) {
            return 0;
        }
    }

    /** Waits for so long, or until it is counted down; for threads of the client's own, which nothing interrupts. */
    static void await(CountDownLatch latch, long nanos) {
        try {
            latch.await(Math.max(nanos, 0), TimeUnit.NANOSECONDS);
        } catch (InterruptedException ignored) {
            // As if it were over.
        }
    }

    /** A span in nanoseconds; one that is too long for that is FOREVER. */
    static long nanos(Duration span) {
        return span.compareTo(Duration.ofNanos(FOREVER)) >= 0 ? FOREVER : span.toNanos();
    }

    static long ofMillis(long millis) {
        return millis >= FOREVER / 1_000_000 ? FOREVER : millis * 1_000_000;
    }

    /** Rounded up, so that a last fraction of a millisecond is not waited for in circles. */
    static long toMillis(long nanos) {
        return (nanos + 999_999) / 1_000_000;
    }
}
