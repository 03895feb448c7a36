import java.time.Duration;
import java.util.Map;

import lockside.LockHeldException;
import lockside.LockLostException;
import lockside.Lockside;
import lockside.UnavailableException;

/** One of many replicas writes the nightly report. Start it twice at once: one writes, the other one skips. */
class NightReport {
    public static void main(String[] arguments) throws InterruptedException {
        var request = Lockside.create()
                .lock("examples/night-report")
                .ttl(Duration.ofSeconds(10))
                .meta(Map.of("job", "night-report"));
        try (var lock = request.acquire()) {
            for (int page = 0; page < 5; page++) {
                lock.check();
                System.out.println("page " + page + ", fencing token " + lock.token());
            }
        } catch (LockHeldException error) {
            System.out.println("skipped: " + error.getMessage());
        } catch (LockLostException error) {
            System.out.println("stopped: " + error.getMessage());
            System.exit(1);
        } catch (UnavailableException error) {
            System.out.println("no lock today: " + error.getMessage());
            System.exit(1);
        }
    }
}
