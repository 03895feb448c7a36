import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.redisson.Redisson;
import org.redisson.api.RPermitExpirableSemaphore;
import org.redisson.api.RReadWriteLock;
import org.redisson.config.Config;

/**
 * Redisson's locks that several may hold, as its documentation shows them: pairs of acquire and release, one after the other,
 * while another holds a share all the time.
 *
 * <p>Arguments: port, `read` or `permit`, pairs. Prints one line of JSON: grants; seconds.
 */
class Pairs {
    public static void main(String[] args) throws Exception {
        int pairs = Integer.parseInt(args[2]);
        var config = new Config();
        config.useSingleServer().setAddress("redis://127.0.0.1:" + args[0]);
        var redisson = Redisson.create(config);
        long begun;
        if (args[1].equals("read")) {
            RReadWriteLock lock = redisson.getReadWriteLock("read");
            var isHeld = new CountDownLatch(1);
            var holder = new Thread(() -> {
                lock.readLock().lock(10, TimeUnit.MINUTES);
                isHeld.countDown();
            });
            holder.start();
            isHeld.await();
            begun = System.nanoTime();
            for (int i = 0; i < pairs; i++) {
                if (!lock.readLock().tryLock(0, 30, TimeUnit.SECONDS)) {
                    throw new IllegalStateException("not shared");
                }
                lock.readLock().unlock();
            }
        } else {
            RPermitExpirableSemaphore semaphore = redisson.getPermitExpirableSemaphore("permit");
            semaphore.trySetPermits(10_000);
            semaphore.acquire(10, TimeUnit.MINUTES);
            begun = System.nanoTime();
            for (int i = 0; i < pairs; i++) {
                String permit = semaphore.tryAcquire(0, 30, TimeUnit.SECONDS);
                if (permit == null) {
                    throw new IllegalStateException("no permit");
                }
                semaphore.release(permit);
            }
        }
        double seconds = (System.nanoTime() - begun) / 1e9;
        redisson.shutdown();
        System.out.println("{\"grants\": " + pairs + ", \"seconds\": " + seconds + "}");
    }
}
