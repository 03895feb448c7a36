package lockside;

import java.io.ByteArrayOutputStream;
import java.net.ProtocolException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Takes the bytes of a body as they come off the socket, and gives its content. */
final class Body {
    private static final int LONGEST_SIZE_LINE = 256;

    private final boolean isChunked;
    private boolean isInChunk;
    /** Of a chunk with the CRLF behind it, or of the whole body; -1 where the connection's end is the body's. */
    private long left;
    private final StringBuilder sizeLine = new StringBuilder();
    private boolean isComplete;

    Body(Map<String, String> headers) throws ProtocolException {
        isChunked = headers.getOrDefault("transfer-encoding", "").equalsIgnoreCase("chunked");
        String length = headers.getOrDefault("content-length", "");
        left = length.isEmpty() ? -1 : number(length, 10);
        isComplete = !isChunked && left == 0;
    }

    boolean isComplete() {
        return isComplete;
    }

    /** Whether no chunk has come in part. */
    boolean isBetweenChunks() {
        return !isInChunk && sizeLine.length() == 0;
    }

    void feed(byte[] raw, int from, int to, ByteArrayOutputStream content) throws ProtocolException {
        if (isChunked) {
            feedChunks(raw, from, to, content);
        } else if (left < 0) {
            content.write(raw, from, to - from);
        } else {
            int part = (int) Math.min(left, to - from);
            content.write(raw, from, part);
            left -= part;
            isComplete = left == 0;
        }
    }

    private void feedChunks(byte[] raw, int from, int to, ByteArrayOutputStream content) throws ProtocolException {
        int at = from;
        while (at < to && !isComplete) {
            if (isInChunk) {
                int part = (int) Math.min(left, to - at);
                int ofContent = (int) Math.min(Math.max(left - 2, 0), part);
                content.write(raw, at, ofContent);
                at += part;
                left -= part;
                isInChunk = left > 0;
                continue;
            }
            char c = (char) raw[at++];
            if (c != '\n') {
                sizeLine.append(c);
                if (sizeLine.length() > LONGEST_SIZE_LINE) {
                    throw new ProtocolException("the line with the size of a chunk is too long");
                }
                continue;
            }
            String size = sizeLine.toString().split(";", 2)[0].strip();
            sizeLine.setLength(0);
            long length = number(size, 16);
            isComplete = length == 0;
            left = length + 2;
            isInChunk = !isComplete;
        }
    }

    private static long number(String text, int radix) throws ProtocolException {
        try {
            long number = Long.parseLong(text, radix);
            if (number >= 0 && number < Long.MAX_VALUE / 2) {
                return number;
            }
        } catch (NumberFormatException notOne) {
            // Told below.
        }
        throw new ProtocolException("the length of the answer is not a number");
    }

    static String text(ByteArrayOutputStream content) {
        return content.toString(StandardCharsets.UTF_8);
    }
}
