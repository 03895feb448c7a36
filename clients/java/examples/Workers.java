import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

import lockside.Lockside;

/** Four threads share one resource: each stops its part of the work when its lock is lost. */
class Workers {
    public static void main(String[] arguments) throws InterruptedException, ExecutionException {
        Lockside client = Lockside.create();
        var pool = Executors.newFixedThreadPool(4);
        List<Future<Integer>> parts = new ArrayList<>();
        for (int number = 0; number < 4; number++) {
            String owner = "worker-" + number;
            parts.add(pool.submit(work(client, owner)));
        }
        for (Future<Integer> part : parts) {
            System.out.println(part.get() + " items");
        }
        pool.shutdown();
    }

    private static Callable<Integer> work(Lockside client, String owner) {
        return () -> {
            var request = client.lock("examples/index").ttl(Duration.ofSeconds(10)).waitFor(Duration.ofMinutes(1)).owner(owner);
            try (var lock = request.acquire()) {
                lock.lost().thenAccept(reason -> System.out.println(owner + " is to stop: " + reason));
                int items = 0;
                while (items < 1000 && !lock.lost().isDone()) {
                    items++;
                }
                return items;
            }
        };
    }
}
