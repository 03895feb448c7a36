package lockside;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Semaphore;

/** What reads the events of a watch in the conformance driver. */
final class WatchReader {
    private final String name;
    private final Watch events;
    /** Is there while it may read on. */
    private final Semaphore goesOn = new Semaphore(1);
    private final Thread thread = new Thread(this::read);

    WatchReader(String name, Watch events) {
        this.name = name;
        this.events = events;
        thread.setDaemon(true);
        thread.start();
    }

    void close() throws InterruptedException {
        events.close();
        thread.join();
    }

    void stall() throws InterruptedException {
        goesOn.acquire();
    }

    void resume() {
        goesOn.release();
    }

    private void read() {
        Map<String, Object> ended = new HashMap<>(Map.of("event", "ended", "watch", name));
        ended.put("error", null);
        try {
            for (LockEvent event : events) {
                ConformanceDriver.say(view(event));
                goesOn.acquire();
                goesOn.release();
            }
        } catch (RuntimeException | InterruptedException error) {
            ended.put("error", ConformanceDriver.view(error));
        }
        ConformanceDriver.say(ended);
    }

    private Map<String, Object> view(LockEvent event) {
        Map<String, Object> view = new HashMap<>(Map.of("event", "watched", "watch", name, "type", event.type().toString()));
        view.put("key", event.key());
        view.put("token", event.token());
        view.put("state", event.state());
        view.put("waiters", event.waiters());
        view.put("holder", ConformanceDriver.view(event.holder()));
        view.put("mode", event.mode());
        view.put("sharedBy", event.sharedBy());
        view.put("holders", event.holders().stream().map(ConformanceDriver::view).toList());
        return view;
    }
}
