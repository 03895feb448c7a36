package lockside;

import java.nio.file.Path;
import java.time.Duration;

/**
 * Makes locks. {@link #create} has them from the sidecar that LOCKSIDE_URL names, {@link #builder} from another one, and a
 * {@link FakeLockside} has them in memory. A client may be used by any thread, keeps nothing open, and need not be closed.
 */
public interface Lockside {
    /**
     * Begins to ask for a lock. Nothing is sent before {@link LockRequest#acquire}.
     *
     * @param key any text that is not empty
     * @return the request, to say more and to acquire
     */
    LockRequest lock(String key);

    /**
     * The client that the environment names.
     *
     * @return the client
     * @throws IllegalArgumentException if LOCKSIDE_URL is not a URL of a sidecar
     */
    static Lockside create() {
        return builder().build();
    }

    /**
     * Begins to make a client.
     *
     * @return the builder
     */
    static Builder builder() {
        return new Builder();
    }

    /** Says which sidecar, and which owner. */
    final class Builder {
        private String url = System.getenv("LOCKSIDE_URL");
        private Path tokenFile;
        private String owner;
        private Duration timeout = Duration.ofSeconds(5);

        private Builder() {
            String file = System.getenv("LOCKSIDE_TOKEN_FILE");
            tokenFile = file == null || file.isEmpty() ? null : Path.of(file);
        }

        /**
         * Where the sidecar is. By default LOCKSIDE_URL, or {@code http://127.0.0.1:7420}.
         *
         * @param url {@code http://host:port} or {@code unix:/path}
         * @return this
         */
        public Builder url(String url) {
            this.url = url;
            return this;
        }

        /**
         * A file with an API token or a JWT. By default LOCKSIDE_TOKEN_FILE. It is read again for each request.
         *
         * @param tokenFile the file; null: no credential is sent
         * @return this
         */
        public Builder tokenFile(Path tokenFile) {
            this.tokenFile = tokenFile;
            return this;
        }

        /**
         * The name of the holder. By default HOST/PID.
         *
         * @param owner the name
         * @return this
         */
        public Builder owner(String owner) {
            this.owner = owner;
            return this;
        }

        /**
         * How long the sidecar may be silent. By default 5 s.
         *
         * @param timeout above zero
         * @return this
         */
        public Builder timeout(Duration timeout) {
            if (timeout.isNegative() || timeout.isZero()) {
                throw new IllegalArgumentException("timeout: expected a duration above zero");
            }
            this.timeout = timeout;
            return this;
        }

        /**
         * Makes the client. Nothing is sent.
         *
         * @return the client
         * @throws IllegalArgumentException if the URL is not one of a sidecar
         */
        public Lockside build() {
            Sidecar sidecar = new Sidecar(Address.parse(url), tokenFile, Clock.nanos(timeout));
            String name = owner;
            return key -> new LockRequest((order, listener) -> new SidecarSession(sidecar, order, listener), key, name);
        }
    }
}
