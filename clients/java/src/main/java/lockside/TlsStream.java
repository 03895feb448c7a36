package lockside;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;

/** What is encrypted on its way out, and decrypted on its way in. It waits for nothing: its {@link Connection} does. */
final class TlsStream {
    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

    private final SSLEngine engine;
    private ByteBuffer encrypted;
    private ByteBuffer content;
    private boolean hasEnded;

    TlsStream(SSLEngine engine) throws IOException {
        this.engine = engine;
        encrypted = ByteBuffer.allocate(engine.getSession().getPacketBufferSize());
        content = ByteBuffer.allocate(engine.getSession().getApplicationBufferSize());
        engine.beginHandshake();
    }

    /** What the handshake waits for. */
    enum Next {
        READ,
        WRITE,
        DONE
    }

    Next next() throws IOException {
        while (true) {
            switch (engine.getHandshakeStatus()) {
                case NEED_TASK -> runTasks();
                case NEED_WRAP -> {
                    return Next.WRITE;
                }
                case NEED_UNWRAP, NEED_UNWRAP_AGAIN -> {
                    if (hasEnded) {
                        throw new IOException("the sidecar ended the TLS handshake");
                    }
                    if (!decrypt()) {
                        return Next.READ;
                    }
                }
                case FINISHED, NOT_HANDSHAKING -> {
                    return Next.DONE;
                }
            }
        }
    }

    /** What is to be sent in the handshake. */
    ByteBuffer greeting() throws IOException {
        return encrypt(NOTHING);
    }

    /** What is to be sent for this. */
    ByteBuffer encrypt(ByteBuffer plain) throws IOException {
        int packet = engine.getSession().getPacketBufferSize();
        ByteBuffer out = ByteBuffer.allocate(packet + plain.remaining() * 2);
        do {
            SSLEngineResult result = engine.wrap(plain, out);
            if (result.getStatus() == SSLEngineResult.Status.BUFFER_OVERFLOW) {
                ByteBuffer larger = ByteBuffer.allocate(out.capacity() + packet);
                out = larger.put(out.flip());
            } else if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
                throw new IOException("the sidecar closed the connection");
            }
        } while (plain.hasRemaining());
        return out.flip();
    }

    /** Takes what has come. */
    void take(SocketChannel channel) throws IOException {
        if (!encrypted.hasRemaining()) {
            encrypted = ByteBuffer.allocate(encrypted.capacity() * 2).put(encrypted.flip());
        }
        hasEnded |= channel.read(encrypted) < 0;
    }

    /** Whether there is content, or the end. */
    boolean hasContent() throws IOException {
        while (content.position() == 0 && decrypt()) {
            // Records without content.
        }
        return content.position() > 0 || hasEnded;
    }

    /** Whether a record has come in part. */
    boolean isPartial() {
        return encrypted.position() > 0;
    }

    /** Puts content into the buffer; -1 at the end. Called where there is any. */
    int read(byte[] buffer) {
        if (content.position() == 0) {
            return -1;
        }
        content.flip();
        int size = Math.min(content.remaining(), buffer.length);
        content.get(buffer, 0, size);
        content.compact();
        return size;
    }

    /** Decrypts one record; whether there was a whole one. */
    private boolean decrypt() throws IOException {
        encrypted.flip();
        try {
            SSLEngineResult result = engine.unwrap(encrypted, content);
            switch (result.getStatus()) {
                case BUFFER_OVERFLOW -> {
                    int needed = engine.getSession().getApplicationBufferSize();
                    content = ByteBuffer.allocate(content.capacity() + needed).put(content.flip());
                    return true;
                }
                case CLOSED -> hasEnded = true;
                default -> {
                    if (result.getHandshakeStatus() == HandshakeStatus.NEED_TASK) {
                        runTasks();
                    }
                }
            }
            return result.getStatus() == SSLEngineResult.Status.OK && result.bytesConsumed() > 0;
        } finally {
            encrypted.compact();
        }
    }

    private void runTasks() {
        for (Runnable task = engine.getDelegatedTask(); task != null; task = engine.getDelegatedTask()) {
            task.run();
        }
    }
}
