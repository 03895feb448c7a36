package lockside;

import java.nio.file.Path;
import java.time.Duration;

/**
 * Makes locks, watches them, and tells who leads an election. {@link #create} has them from the sidecar that LOCKSIDE_URL names,
 * {@link #builder} from another one, and a {@link FakeLockside} has them in memory. A client may be used by any thread, keeps
 * nothing open, and need not be closed.
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
     * Begins to ask for several locks that are acquired together or not at all, and kept, lost and released as one. Nothing is sent
     * before {@link BundleRequest#acquire}.
     *
     * @param keys any texts that are not empty; {@link BundleRequest#key}, {@link BundleRequest#shared} and {@link BundleRequest#limit}
     *     add more
     * @return the request, to say more and to acquire
     */
    BundleRequest bundle(String... keys);

    /**
     * Watches a lock. It waits for a sidecar that is not there yet, or not available.
     *
     * @param key any text that is not empty
     * @return what happens, to be closed
     */
    Watch watch(String key);

    /**
     * Watches all locks whose keys begin with a prefix.
     *
     * @param prefix how the keys begin; empty: all locks
     * @return what happens, to be closed
     */
    Watch watchPrefix(String prefix);

    /**
     * The leader of an election, as the sidecar sees it now: its {@code --elect} names its elections.
     *
     * @param election the name of the election
     * @return the leader
     * @throws UnavailableException if there is no sidecar, or it does not answer
     * @throws RefusedException if the sidecar does not know the election: {@code no-such-election}
     * @throws InterruptedException if the thread is interrupted
     */
    Leader leader(String election) throws InterruptedException;

    /**
     * The sidecar's own candidate leads no longer: another one can lead when this returns. It stands again behind the others, at
     * once or after the pause, for which a standby leaves the queue, too. Stop the work before you resign.
     *
     * @param election the name of the election
     * @param pause how long it does not stand, from zero
     * @throws UnavailableException if there is no sidecar, or its Redis cannot do it
     * @throws OutcomeUnknownException if there was no answer
     * @throws RefusedException if the sidecar does not know the election, {@code no-such-election}, or the request is not allowed
     * @throws InterruptedException if the thread is interrupted: then it may have resigned
     */
    void resign(String election, Duration pause) throws InterruptedException;

    /**
     * The sidecar's own candidate leads no longer, and stands again at once, behind the others.
     *
     * @param election the name of the election
     * @throws InterruptedException if the thread is interrupted: then it may have resigned
     * @see #resign(String, Duration)
     */
    default void resign(String election) throws InterruptedException {
        resign(election, Duration.ZERO);
    }

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
        private Tls tls = Tls.ofEnvironment();
        private boolean namesFiles;
        private Duration timeout = Duration.ofSeconds(5);

        private Builder() {
            String file = System.getenv("LOCKSIDE_TOKEN_FILE");
            tokenFile = file == null || file.isEmpty() ? null : Path.of(file);
        }

        /**
         * Where the sidecar is. By default LOCKSIDE_URL, or {@code http://127.0.0.1:7420}.
         *
         * @param url {@code http://host:port}, {@code https://host:port} or {@code unix:/path}
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
         * A PEM file with the CA certificates that verify a sidecar with https. By default LOCKSIDE_CA_FILE, else those of the JVM.
         *
         * @param caFile the file; null: those of the JVM
         * @return this
         */
        public Builder caFile(Path caFile) {
            tls = new Tls(caFile, tls.certificate(), tls.key());
            namesFiles |= caFile != null;
            return this;
        }

        /**
         * The client certificate that such a sidecar may ask for. By default LOCKSIDE_CERT_FILE and LOCKSIDE_KEY_FILE. The files are
         * read again for each connection.
         *
         * @param certFile a PEM file with the certificate; null: none
         * @param keyFile a PEM file with its key; null: none
         * @return this
         */
        public Builder certificate(Path certFile, Path keyFile) {
            tls = new Tls(tls.ca(), certFile, keyFile);
            namesFiles |= certFile != null || keyFile != null;
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
         * @throws IllegalArgumentException if the URL is not one of a sidecar, or is not https although files for it are named
         */
        public Lockside build() {
            Address address = Address.parse(url, tls);
            if (address.tls() == null && namesFiles) {
                throw new IllegalArgumentException(
                        "caFile and certificate: expected a URL https://host:port with them");
            }
            return new SidecarLockside(new Sidecar(address, tokenFile, Clock.nanos(timeout)), owner);
        }
    }
}
