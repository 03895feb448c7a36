package lockside;

import java.io.IOException;
import java.net.ConnectException;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;

/**
 * A socket that is waited for with a deadline. It is used by one thread; {@link #wake} and {@link #shut} are for others. A channel,
 * because a {@code java.net.Socket} asks SOCKS proxies and knows no unix sockets.
 */
final class Connection {
    private static final int AT_ONCE = 65536;

    private final Address address;
    private SocketChannel channel;
    private SelectionKey selection;
    /** Null where TLS is not spoken. */
    private TlsStream tls;
    private volatile Selector selector;
    private volatile boolean isShut;
    private volatile boolean isWoken;
    /** What is read now came after this moment: nothing lay unread in the socket then. */
    private long quietAt = Clock.now();

    Connection(Address address) {
        this.address = address;
    }

    long quietAt() {
        return quietAt;
    }

    /** Connects. Where this fails nothing was sent; ConnectException: nothing listens there. */
    void open(long until) throws IOException {
        IOException failure = null;
        selector = Selector.open();
        for (SocketAddress target : address.targets()) {
            try {
                connect(target, until);
                return;
            } catch (IOException error) {
                closeChannel();
                boolean hasNoFile = address.path() != null && Files.notExists(address.path());
                failure = hasNoFile ? new ConnectException("no such socket") : error;
            }
        }
        throw failure == null ? new IOException("the name has no address") : failure;
    }

    private void connect(SocketAddress target, long until) throws IOException {
        boolean isUnix = target instanceof UnixDomainSocketAddress;
        channel = isUnix ? SocketChannel.open(StandardProtocolFamily.UNIX) : SocketChannel.open();
        channel.configureBlocking(false);
        selection = channel.register(selector, SelectionKey.OP_CONNECT);
        Thread.interrupted();
        boolean isConnected = channel.connect(target);
        while (!isConnected) {
            if (!select(until) && Clock.now() >= until) {
                throw new SocketTimeoutException("no connection in time");
            }
            isConnected = channel.finishConnect();
        }
        if (!isUnix) {
            if (channel.getLocalAddress().equals(channel.getRemoteAddress())) {
                throw new ConnectException("nothing listens there; the socket met itself");
            }
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
        }
        selection.interestOps(SelectionKey.OP_READ);
        if (address.tls() != null) {
            secure(until);
        }
    }

    private void secure(long until) throws IOException {
        String host = address.host().replaceAll("[\\[\\]]", "");
        tls = new TlsStream(address.tls().engine(host, address.port()));
        for (TlsStream.Next next = tls.next(); next != TlsStream.Next.DONE; next = tls.next()) {
            if (next == TlsStream.Next.WRITE) {
                send(tls.greeting(), until);
            } else if (select(until)) {
                tls.take(channel);
            } else if (Clock.now() >= until) {
                throw new SocketTimeoutException("no TLS handshake in time");
            }
        }
    }

    void write(byte[] content, long until) throws IOException {
        quietAt = Clock.now();
        ByteBuffer plain = ByteBuffer.wrap(content);
        send(tls == null ? plain : tls.encrypt(plain), until);
    }

    private void send(ByteBuffer left, long until) throws IOException {
        selection.interestOps(SelectionKey.OP_WRITE);
        while (true) {
            channel.write(left);
            if (!left.hasRemaining()) {
                break;
            }
            if (!select(until) && Clock.now() >= until) {
                throw new SocketTimeoutException("the request was not taken in time");
            }
        }
        selection.interestOps(SelectionKey.OP_READ);
    }

    /** Whether there is something to read; waits for it until that moment, or until it is woken. */
    boolean await(long until) throws IOException {
        long moment = Clock.now();
        if (isReadable(moment)) {
            return true;
        }
        if (tls == null || !tls.isPartial()) {
            quietAt = moment;
        }
        // Remembered here, because a selection forgets it.
        return !isWoken && isReadable(until);
    }

    private boolean isReadable(long until) throws IOException {
        if (tls == null) {
            return select(until);
        }
        while (!tls.hasContent()) {
            if (!select(until)) {
                return false;
            }
            tls.take(channel);
        }
        return true;
    }

    /** Puts what has come into the buffer; -1 at the end. Called where {@link #await} was true. */
    int read(byte[] buffer) throws IOException {
        return tls == null ? channel.read(ByteBuffer.wrap(buffer)) : tls.read(buffer);
    }

    static byte[] buffer() {
        return new byte[AT_ONCE];
    }

    private boolean select(long until) throws IOException {
        // An interrupt is for an application's thread. Here it would close the channel.
        Thread.interrupted();
        if (isShut) {
            throw new IOException("given up");
        }
        long left = until - Clock.now();
        int ready = left <= 0 ? selector.selectNow(key -> {}) : selector.select(key -> {}, Clock.toMillis(left));
        if (isShut) {
            throw new IOException("given up");
        }
        return ready > 0;
    }

    /** From another thread: ends this wait, and every later one, early. */
    void wake() {
        isWoken = true;
        Selector waits = selector;
        if (waits != null) {
            waits.wakeup();
        }
    }

    /** From another thread: breaks off what is being done. */
    void shut() {
        isShut = true;
        wake();
    }

    /** The socket is closed when this returns, and ended first, because a child process may have it, too. */
    void close() {
        closeChannel();
        Selector waits = selector;
        if (waits != null) {
            try {
                waits.close();
            } catch (IOException failure) {
                // It is not used again.
            }
        }
    }

    private void closeChannel() {
        if (channel == null) {
            return;
        }
        Thread.interrupted();
        try {
            if (channel.isConnected()) {
                channel.shutdownInput();
                channel.shutdownOutput();
            }
        } catch (IOException ended) {
            // By its other end.
        }
        try {
            channel.close();
            // A channel that a selector knows is closed by the next selection only.
            selector.selectNow(key -> {});
        } catch (IOException failure) {
            // It is not used again.
        }
        channel = null;
    }
}
