package lockside;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Private keys in PEM: PKCS#8, and PKCS#1 and SEC 1, which the JDK does not read. */
final class PrivateKeys {
    private static final Pattern PEM =
            Pattern.compile("-----BEGIN (|RSA |EC )PRIVATE KEY-----([A-Za-z0-9+/=\\s]+)-----END \\1PRIVATE KEY-----");
    private static final byte SEQUENCE = 0x30;
    private static final byte OCTET_STRING = 0x04;
    private static final byte[] VERSION_0 = {0x02, 1, 0};

    private PrivateKeys() {}

    /** The key of a certificate; null if the text holds none. */
    static PrivateKey of(PublicKey certified, String text) throws GeneralSecurityException {
        Matcher pem = PEM.matcher(text);
        if (!pem.find()) {
            return null;
        }
        byte[] content = Base64.getMimeDecoder().decode(pem.group(2));
        byte[] key = switch (pem.group(1)) {
            case "RSA " -> inPkcs8(certified, content);
            case "EC " -> inPkcs8(certified, withoutCurve(content));
            default -> content;
        };
        return KeyFactory.getInstance(certified.getAlgorithm()).generatePrivate(new PKCS8EncodedKeySpec(key));
    }

    /** PKCS#8 (RFC 5958) around a key: it names the algorithm and the curve as the public key does (RFC 5280, 4.1.2.7). */
    private static byte[] inPkcs8(PublicKey certified, byte[] key) {
        ByteBuffer info = ByteBuffer.wrap(certified.getEncoded());
        enter(info);
        return der(SEQUENCE, VERSION_0, value(info), der(OCTET_STRING, key));
    }

    /** The version and the number of a SEC 1 key (RFC 5915). The JDK refuses the curve behind them, which PKCS#8 names, too. */
    private static byte[] withoutCurve(byte[] key) {
        ByteBuffer parts = ByteBuffer.wrap(key);
        enter(parts);
        return der(SEQUENCE, value(parts), value(parts));
    }

    /** The next DER value, whole. */
    private static byte[] value(ByteBuffer der) {
        int begin = der.position();
        int length = enter(der);
        der.position(der.position() + length);
        return Arrays.copyOfRange(der.array(), begin, der.position());
    }

    /** Goes to what a DER value holds; its length. */
    private static int enter(ByteBuffer der) {
        der.get();
        int length = der.get() & 0xff;
        if (length < 0x80) {
            return length;
        }
        int value = 0;
        for (int bytes = length - 0x80; bytes > 0; bytes--) {
            value = value << 8 | der.get() & 0xff;
        }
        return value;
    }

    private static byte[] der(byte tag, byte[]... parts) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            content.writeBytes(part);
        }
        ByteArrayOutputStream value = new ByteArrayOutputStream();
        value.write(tag);
        int length = content.size();
        if (length < 0x80) {
            value.write(length);
        } else {
            value.write(0x82);
            value.write(length >> 8);
            value.write(length);
        }
        value.writeBytes(content.toByteArray());
        return value.toByteArray();
    }
}
