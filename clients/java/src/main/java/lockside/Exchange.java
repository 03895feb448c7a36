package lockside;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.ProtocolException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;

/**
 * One HTTP/1.1 request on a connection of its own, and its answer. Not {@code java.net.http}: a hold must know since when nothing
 * lay unread in its socket, and be closed when it says so.
 */
final class Exchange {
    private static final int LONGEST_HEAD = 65536;
    private static final int LONGEST_LINE = 1024 * 1024;

    /** The status and the headers, whose names are in lower case. */
    record Head(int status, Map<String, String> headers) {}

    /** What the sidecar says, and a moment that it cannot have been written before: validity is counted from there. */
    record Line(Map<String, Object> event, long since) {
        String kind() {
            return String.valueOf(event.get("event"));
        }

        String text(String name) throws ProtocolException {
            if (event.get(name) instanceof String text) {
                return text;
            }
            throw new ProtocolException("a line has no " + name);
        }

        long number(String name) throws ProtocolException {
            if (event.get(name) instanceof Number number) {
                return number.longValue();
            }
            throw new ProtocolException("a line has no " + name);
        }

        long nanos(String name) throws ProtocolException {
            return Clock.ofMillis(number(name));
        }
    }

    private final Address address;
    private final Connection connection;
    private final byte[] buffer = Connection.buffer();
    private final ByteArrayOutputStream text = new ByteArrayOutputStream();
    private final Deque<Line> unread = new ArrayDeque<>();
    private Body body;
    /** The same as the connection's, for the first byte of the line that has come in part. */
    private long lineSince;

    Exchange(Address address) {
        this.address = address;
        connection = new Connection(address);
    }

    void open(long until) throws IOException {
        connection.open(until);
    }

    void send(String method, String path, Map<String, String> headers, Object content, long until) throws IOException {
        byte[] json = content == null ? new byte[0] : Json.write(content).getBytes(StandardCharsets.UTF_8);
        StringBuilder head = new StringBuilder(method + " " + path + " HTTP/1.1\r\n");
        head.append("Host: ").append(address.authority()).append("\r\nContent-Length: ").append(json.length).append("\r\n");
        headers.forEach((name, value) -> head.append(name).append(": ").append(value).append("\r\n"));
        ByteArrayOutputStream request = new ByteArrayOutputStream();
        request.writeBytes(head.append("\r\n").toString().getBytes(StandardCharsets.US_ASCII));
        request.writeBytes(json);
        lineSince = Clock.now();
        connection.write(request.toByteArray(), until);
    }

    Head head(long until) throws IOException {
        ByteArrayOutputStream raw = new ByteArrayOutputStream();
        while (true) {
            String read = raw.toString(StandardCharsets.ISO_8859_1);
            int end = read.indexOf("\r\n\r\n");
            if (end >= 0) {
                Head head = parse(read.substring(0, end));
                body = new Body(head.headers());
                body.feed(raw.toByteArray(), end + 4, raw.size(), text);
                return head;
            }
            if (raw.size() > LONGEST_HEAD) {
                throw new ProtocolException("the head of the answer is too long");
            }
            int size = receive(until);
            if (size < 0) {
                throw ended();
            }
            raw.write(buffer, 0, size);
        }
    }

    private static Head parse(String text) throws ProtocolException {
        String[] lines = text.split("\r\n");
        String[] first = lines[0].split(" ", 3);
        if (!first[0].startsWith("HTTP/1.") || first.length < 2 || !first[1].matches("[1-9][0-9][0-9]")) {
            throw new ProtocolException("the answer is not HTTP; does the URL name lockside's API?");
        }
        Map<String, String> headers = new HashMap<>();
        for (int i = 1; i < lines.length; i++) {
            int colon = lines[i].indexOf(':');
            if (colon > 0) {
                headers.put(lines[i].substring(0, colon).strip().toLowerCase(), lines[i].substring(colon + 1).strip());
            }
        }
        return new Head(Integer.parseInt(first[1]), headers);
    }

    /** The whole body. */
    String rest(long until) throws IOException {
        while (!body.isComplete()) {
            int size = receive(until);
            if (size < 0) {
                break;
            }
            body.feed(buffer, 0, size, text);
            if (text.size() > LONGEST_LINE) {
                throw new ProtocolException("the answer is too long");
            }
        }
        return Body.text(text);
    }

    /** The part of the body that comes next, before that moment. It is empty where only framing has come. */
    byte[] part(long until) throws IOException {
        if (text.size() == 0) {
            int size = body.isComplete() ? -1 : receive(until);
            if (size < 0) {
                throw ended();
            }
            body.feed(buffer, 0, size, text);
        }
        byte[] part = text.toByteArray();
        text.reset();
        return part;
    }

    /** The next line; null: none until that moment, or it was woken. */
    Line line(long until) throws IOException {
        while (unread.isEmpty()) {
            takeLines();
            if (!unread.isEmpty()) {
                break;
            }
            if (body.isComplete()) {
                throw ended();
            }
            if (!connection.await(until)) {
                return null;
            }
            if (text.size() == 0 && body.isBetweenChunks()) {
                lineSince = connection.quietAt();
            }
            int size = connection.read(buffer);
            if (size < 0) {
                throw ended();
            }
            body.feed(buffer, 0, size, text);
        }
        return unread.poll();
    }

    private void takeLines() throws ProtocolException {
        byte[] read = text.toByteArray();
        int start = 0;
        for (int i = 0; i < read.length; i++) {
            if (read[i] == '\n') {
                unread.add(new Line(event(new String(read, start, i - start, StandardCharsets.UTF_8)), lineSince));
                start = i + 1;
            }
        }
        if (start > 0) {
            text.reset();
            text.write(read, start, read.length - start);
            lineSince = connection.quietAt();
        }
        if (text.size() > LONGEST_LINE) {
            throw new ProtocolException("a line is too long");
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> event(String line) throws ProtocolException {
        try {
            if (Json.read(line) instanceof Map<?, ?> event) {
                return (Map<String, Object>) event;
            }
        } catch (IllegalArgumentException notJson) {
            // Told below.
        }
        throw new ProtocolException("what came is no line of a hold");
    }

    private int receive(long until) throws IOException {
        while (!connection.await(until)) {
            if (Clock.now() >= until) {
                throw new SocketTimeoutException("no answer in time");
            }
        }
        return connection.read(buffer);
    }

    private static IOException ended() {
        return new IOException("the sidecar closed the connection");
    }

    void wake() {
        connection.wake();
    }

    void shut() {
        connection.shut();
    }

    void close() {
        connection.close();
    }
}
