package lockside;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/** The driver of the conformance suite: lines of JSON on standard input and output, see clients/conformance/README.md. */
public final class ConformanceDriver {
    private static final Logger LOG = Logger.getLogger("lockside");

    private final Map<String, Held> locks = new ConcurrentHashMap<>();
    private final Map<String, Thread> waiting = new ConcurrentHashMap<>();
    private final Map<String, Leader> leaders = new ConcurrentHashMap<>();
    private final Map<String, WatchReader> watches = new ConcurrentHashMap<>();
    private Lockside client;

    private ConformanceDriver() {}

    /** Plays until the input ends: then the process ends, with what it holds. */
    public static void main(String[] arguments) throws IOException {
        LOG.addHandler(new Leaks());
        ConformanceDriver driver = new ConformanceDriver();
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            Map<?, ?> request = (Map<?, ?>) Json.read(line);
            Thread thread = new Thread(() -> driver.answer(request), "request " + request.get("id"));
            thread.setDaemon(true);
            thread.start();
        }
    }

    static synchronized void say(Map<String, ?> message) {
        byte[] line = (Json.write(message) + "\n").getBytes(StandardCharsets.UTF_8);
        System.out.write(line, 0, line.length);
        System.out.flush();
    }

    /** Hears the warnings of locks that were forgotten. */
    private static final class Leaks extends Handler {
        @Override
        public void publish(LogRecord record) {
            if (record.getMessage().contains("forgotten")) {
                say(Map.of("event", "leaked", "key", record.getParameters()[0]));
            }
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    }

    private void answer(Map<?, ?> request) {
        Map<String, Object> answer = new HashMap<>();
        answer.put("id", request.get("id"));
        try {
            answer.putAll(play(request));
            answer.put("ok", true);
        } catch (Exception | Error error) {
            answer.put("ok", false);
            answer.put("error", view(error));
        }
        say(answer);
    }

    static Map<String, Object> view(Throwable error) {
        Map<String, Object> view = new HashMap<>();
        view.put("type", type(error));
        view.put("detail", error.toString());
        if (error instanceof LocksideException known) {
            view.put("code", known.code());
            view.put("outcome", known.outcome().toString());
            view.put("key", known.key());
        }
        if (error instanceof LockLostException lost) {
            view.put("reason", lost.reason());
        }
        if (error instanceof LockHeldException held) {
            view.put("holder", view(held.holder()));
            view.put("state", held.state());
            view.put("waiters", held.waiters());
            view.put("mode", held.mode());
            view.put("sharedBy", held.sharedBy());
        }
        return view;
    }

    static Map<String, Object> view(Holder holder) {
        if (holder == null) {
            return null;
        }
        Map<String, Object> view = new HashMap<>();
        view.put("owner", holder.owner());
        view.put("token", holder.token());
        view.put("mode", holder.mode());
        view.put("limit", holder.limit());
        view.put("state", holder.state());
        return view;
    }

    private static String type(Throwable error) {
        if (error instanceof LockHeldException) {
            return "held";
        } else if (error instanceof UnavailableException) {
            return "unavailable";
        } else if (error instanceof OutcomeUnknownException) {
            return "unknown";
        } else if (error instanceof LockLostException) {
            return "lost";
        } else if (error instanceof RefusedException) {
            return "refused";
        }
        return error instanceof InterruptedException ? "cancelled" : "other";
    }

    private Map<String, ?> play(Map<?, ?> request) throws Exception {
        String lock = (String) request.get("lock");
        String operation = (String) request.get("op");
        switch (operation) {
            case "configure" -> {
                return configure(request);
            }
            case "acquire" -> {
                return acquire(lock, request);
            }
            case "bundle" -> {
                waiting.put(lock, Thread.currentThread());
                return BundleDriver.acquire(client, locks, request);
            }
            case "cancel" -> waiting.get(lock).interrupt();
            case "check" -> locks.get(lock).check();
            case "release" -> {
                return Map.of("confirmed", locks.get(lock).release());
            }
            case "leader" -> {
                return leader((String) request.get("election"));
            }
            case "isLeader" -> {
                return Map.of("isLeader", leaders.get((String) request.get("election")).isLeader());
            }
            case "resign" -> {
                long pause = request.get("forMs") == null ? 0 : number(request, "forMs");
                client.resign((String) request.get("election"), Duration.ofMillis(pause));
            }
            case "watch" -> watch(request);
            case "unwatch" -> watches.get((String) request.get("watch")).close();
            case "stall" -> watches.get((String) request.get("watch")).stall();
            case "resume" -> watches.get((String) request.get("watch")).resume();
            case "cycle" -> {
                return cycle(request);
            }
            case "drop" -> {
                locks.remove(lock);
                System.gc();
            }
            case "fork" -> {
                // A JVM does not fork: a child has what a program that is started has.
                String seconds = String.valueOf(number(request, "ms") / 1000.0);
                Map<String, Object> child = new HashMap<>(start(List.of("sleep", seconds)));
                child.put("childHolds", null);
                return child;
            }
            case "exec" -> {
                List<String> command = new ArrayList<>();
                ((List<?>) request.get("command")).forEach(word -> command.add((String) word));
                return start(command);
            }
            case "block" -> block(number(request, "ms"), (String) request.get("thenCheck"));
            default -> throw new IllegalArgumentException("no such operation: " + operation);
        }
        return Map.of();
    }

    private Map<String, ?> configure(Map<?, ?> request) {
        if (request.get("idleTimeoutMs") != null) {
            String millis = String.valueOf(number(request, "idleTimeoutMs"));
            System.setProperty("sun.net.client.defaultReadTimeout", millis);
            System.setProperty("sun.net.client.defaultConnectTimeout", millis);
            System.setProperty("jdk.httpclient.keepalive.timeout", "1");
        }
        Lockside.Builder builder = Lockside.builder();
        if (request.get("url") instanceof String url) {
            builder.url(url);
        }
        client = builder.build();
        return Map.of();
    }

    private Map<String, ?> acquire(String name, Map<?, ?> request) throws InterruptedException {
        LockRequest wanted = client.lock((String) request.get("key"))
                .ttl(Duration.ofMillis(number(request, "ttlMs")))
                .waitFor(Duration.ofMillis(number(request, "waitMs")))
                .meta(request.get("meta"))
                .onLost(reason -> say(Map.of("event", "lost", "lock", name, "reason", reason)));
        if (request.get("owner") instanceof String owner) {
            wanted.owner(owner);
        }
        term(request, "delayMs", wanted::delay);
        term(request, "minHoldMs", wanted::minHold);
        term(request, "maxHoldMs", wanted::maxHold);
        term(request, "restMs", wanted::rest);
        if (Boolean.TRUE.equals(request.get("shared"))) {
            wanted.shared();
        }
        if (request.get("limit") != null) {
            wanted.limit((int) number(request, "limit"));
        }
        waiting.put(name, Thread.currentThread());
        HeldLock lock = wanted.acquire();
        locks.put(name, lock);
        Map<String, Object> view = new HashMap<>(Map.of("token", lock.token(), "owner", lock.owner(), "mode", lock.mode()));
        view.put("limit", lock.limit());
        return view;
    }

    private void watch(Map<?, ?> request) {
        boolean isKey = request.get("key") instanceof String;
        Watch events = isKey ? client.watch((String) request.get("key")) : client.watchPrefix((String) request.get("prefix"));
        String name = (String) request.get("watch");
        watches.put(name, new WatchReader(name, events));
    }

    private Map<String, ?> leader(String election) throws InterruptedException {
        Leader known = client.leader(election);
        leaders.put(election, known);
        Map<String, Object> view = new HashMap<>();
        view.put("isLeader", known.isLeader());
        view.put("name", known.name());
        view.put("token", known.token());
        view.put("since", known.since() == null ? null : known.since().toString());
        view.put("lastUpdate", known.lastUpdate() == null ? null : known.lastUpdate().toString());
        view.put("candidates", known.candidates());
        view.put("isStale", known.isStale());
        return view;
    }

    private static void term(Map<?, ?> request, String name, Consumer<Duration> option) {
        if (request.get(name) != null) {
            option.accept(Duration.ofMillis(number(request, name)));
        }
    }

    private Map<String, ?> cycle(Map<?, ?> request) throws InterruptedException {
        LockTemplate template = new LockTemplate(client, wanted -> wanted.ttl(Duration.ofMillis(number(request, "ttlMs"))));
        int refusals = 0;
        for (long left = number(request, "count"); left > 0; left--) {
            try {
                template.executeWithoutResult((String) request.get("key"), HeldLock::check);
            } catch (LocksideException refused) {
                refusals++;
            }
        }
        return Map.of("refusals", refusals);
    }

    private static Map<String, Object> start(List<String> command) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD);
        return Map.of("pid", builder.start().pid());
    }

    /** As many threads compute as there are processors. */
    private void block(long millis, String thenCheck) throws InterruptedException {
        long end = System.nanoTime() + millis * 1_000_000;
        List<Thread> threads = new ArrayList<>();
        for (int i = Runtime.getRuntime().availableProcessors(); i > 1; i--) {
            threads.add(new Thread(() -> spin(end)));
        }
        threads.forEach(Thread::start);
        spin(end);
        if (thenCheck != null) {
            locks.get(thenCheck).check();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void spin(long end) {
        while (System.nanoTime() - end < 0) {
            Thread.onSpinWait();
        }
    }

    private static long number(Map<?, ?> request, String name) {
        return ((Number) request.get(name)).longValue();
    }
}
