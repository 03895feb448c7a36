package lockside;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A TCP or a unix socket. Never reached through a proxy: proxy settings are for the internet.
 *
 * @param path of a unix socket; null for TCP
 * @param authority host and port, for the header
 * @param tls null where TLS is not spoken
 */
record Address(Path path, String host, int port, String authority, Tls tls) {
    private static final String DEFAULT = "http://127.0.0.1:7420";
    private static final String EXPECTED = "lockside URL: expected http://127.0.0.1:7420, https://host:7420 or unix:/path";
    private static final Pattern HTTP =
            Pattern.compile("(?i:(https?))://((\\[[0-9A-Fa-f:.]+]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?)/?");

    /** Takes what the command line takes in LOCKSIDE_URL. An error does not repeat the URL: it may hold a password. */
    static Address parse(String url) {
        return parse(url, Tls.ofEnvironment());
    }

    static Address parse(String url, Tls tls) {
        if (url != null && url.startsWith("unix:")) {
            String path = url.substring("unix:".length());
            path = path.startsWith("//") ? path.substring(2) : path;
            if (!path.startsWith("/")) {
                throw new IllegalArgumentException(EXPECTED + "; the path is not absolute");
            }
            return new Address(Path.of(path), null, 0, "localhost", null);
        }
        Matcher parts = HTTP.matcher(url == null || url.isEmpty() ? DEFAULT : url);
        if (!parts.matches()) {
            throw new IllegalArgumentException(EXPECTED);
        }
        boolean isTls = parts.group(1).equalsIgnoreCase("https");
        int defaultPort = isTls ? 443 : 80;
        int port = parts.group(4) == null ? defaultPort : Integer.parseInt(parts.group(4));
        if (port < 1 || port > 65535) {
            throw new IllegalArgumentException(EXPECTED);
        }
        if (isTls && (tls.certificate() == null) != (tls.key() == null)) {
            throw new IllegalArgumentException("lockside: a client certificate and its key: expected both or neither");
        }
        return new Address(null, parts.group(3), port, parts.group(2), isTls ? tls : null);
    }

    /** Looked up for each connection, because names move. */
    List<SocketAddress> targets() throws IOException {
        if (path != null) {
            return List.of(UnixDomainSocketAddress.of(path));
        }
        List<SocketAddress> targets = new ArrayList<>();
        for (InetAddress found : InetAddress.getAllByName(host)) {
            targets.add(new InetSocketAddress(found, port));
        }
        return targets;
    }

    @Override
    public String toString() {
        if (path != null) {
            return "unix:" + path;
        }
        return (tls == null ? "http://" : "https://") + authority;
    }
}
