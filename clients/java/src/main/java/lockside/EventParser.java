package lockside;

import java.io.ByteArrayOutputStream;
import java.net.ProtocolException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Takes the bytes of server-sent events as they come, and gives the events. */
final class EventParser {
    private static final int LONGEST_EVENT = 1024 * 1024;

    /** An event as it was sent. */
    record Raw(String name, String data) {}

    private final ByteArrayOutputStream line = new ByteArrayOutputStream();
    private final StringBuilder data = new StringBuilder();
    private boolean hasData;
    private String name = "";
    private long retry = -1;

    /** How long the server asks to wait before a new connection, in nanoseconds; below zero: it did not say. */
    long retry() {
        return retry;
    }

    List<Raw> feed(byte[] content) throws ProtocolException {
        List<Raw> events = new ArrayList<>();
        int start = 0;
        for (int i = 0; i < content.length; i++) {
            if (content[i] == '\n') {
                line.write(content, start, i - start);
                start = i + 1;
                String text = line.toString(StandardCharsets.UTF_8);
                line.reset();
                take(text.endsWith("\r") ? text.substring(0, text.length() - 1) : text, events);
            }
        }
        line.write(content, start, content.length - start);
        if (line.size() + data.length() > LONGEST_EVENT) {
            throw new ProtocolException("an event is too long");
        }
        return events;
    }

    private void take(String text, List<Raw> events) {
        if (text.isEmpty()) {
            if (hasData) {
                events.add(new Raw(name, data.toString()));
            }
            name = "";
            data.setLength(0);
            hasData = false;
            return;
        }
        int colon = text.indexOf(':');
        String value = colon < 0 ? "" : text.substring(colon + 1);
        value = value.startsWith(" ") ? value.substring(1) : value;
        switch (colon < 0 ? text : text.substring(0, colon)) {
            case "event" -> name = value;
            case "data" -> {
                data.append(hasData ? "\n" : "").append(value);
                hasData = true;
            }
            case "retry" -> retry = value.matches("[0-9]{1,9}") ? Clock.ofMillis(Long.parseLong(value)) : retry;
            default -> {
                // A comment, or what this client has no use for.
            }
        }
    }
}
