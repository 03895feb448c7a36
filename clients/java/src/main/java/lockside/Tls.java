package lockside;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.InvalidKeySpecException;
import java.util.Collection;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;

/**
 * The files of TLS: whom the client trusts, and who it is. They are read for each connection, because they are renewed.
 *
 * @param ca certificates of CAs; null: those of the JVM
 * @param certificate of the client; null: none
 * @param key of the certificate
 */
record Tls(Path ca, Path certificate, Path key) {
    private static final char[] NO_PASSWORD = new char[0];

    static Tls ofEnvironment() {
        return new Tls(file("LOCKSIDE_CA_FILE"), file("LOCKSIDE_CERT_FILE"), file("LOCKSIDE_KEY_FILE"));
    }

    private static Path file(String variable) {
        String file = System.getenv(variable);
        return file == null || file.isEmpty() ? null : Path.of(file);
    }

    /** For a connection to this host, whose certificate must have this name. */
    SSLEngine engine(String host, int port) throws IOException {
        try {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(identity(), trust(), null);
            SSLEngine engine = context.createSSLEngine(host, port);
            engine.setUseClientMode(true);
            SSLParameters parameters = engine.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            parameters.setProtocols(new String[] {"TLSv1.3", "TLSv1.2"});
            engine.setSSLParameters(parameters);
            return engine;
        } catch (GeneralSecurityException error) {
            throw new IOException("TLS: " + error.getMessage(), error);
        }
    }

    private TrustManager[] trust() throws IOException, GeneralSecurityException {
        if (ca == null) {
            return null;
        }
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, NO_PASSWORD);
        for (Certificate certificate : certificates(ca)) {
            store.setCertificateEntry("ca-" + store.size(), certificate);
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return factory.getTrustManagers();
    }

    private KeyManager[] identity() throws IOException, GeneralSecurityException {
        if (certificate == null) {
            return null;
        }
        if (key == null) {
            throw new IOException("a client certificate is given without its key");
        }
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, NO_PASSWORD);
        Certificate[] chain = certificates(certificate).toArray(Certificate[]::new);
        store.setKeyEntry("client", privateKey(chain[0].getPublicKey()), NO_PASSWORD, chain);
        KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        factory.init(store, NO_PASSWORD);
        return factory.getKeyManagers();
    }

    private static Collection<? extends Certificate> certificates(Path file)
            throws IOException, GeneralSecurityException {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        Collection<? extends Certificate> found =
                factory.generateCertificates(new ByteArrayInputStream(Files.readAllBytes(file)));
        if (found.isEmpty()) {
            throw new IOException("`" + file + "` holds no certificate");
        }
        return found;
    }

    private PrivateKey privateKey(PublicKey certified) throws IOException, GeneralSecurityException {
        try {
            PrivateKey found = PrivateKeys.of(certified, Files.readString(key, StandardCharsets.US_ASCII));
            if (found == null) {
                throw new IOException("`" + key + "` holds no private key; expected -----BEGIN PRIVATE KEY-----");
            }
            return found;
        } catch (InvalidKeySpecException error) {
            throw new IOException("`" + key + "` is not the key of the certificate", error);
        }
    }
}
