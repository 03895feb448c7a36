//! In which form a file is a key of a key pair: as the key itself, as a text of it, or as a text of such a text. What is
//! given as a secret must be none of them, since everyone with the public key could sign tokens.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::IgnoredAny;

use super::keys::is_on;

/// How often one text may stand in another, as base64 of base64 does in a Kubernetes Secret.
const DEEPEST: usize = 3;
/// What a key's name is separated from its text by, or a part of the text from the next.
const SEPARATORS: &[char] =
    &['"', '\'', '`', ',', ';', '|', '>', '<', '(', ')', '{', '}', '[', ']', '\\', '\0', '\u{feff}'];
/// Longest name before a `:` or `=`, bytes.
const LONGEST_NAME: usize = 64;
/// A word of so many bytes is no prose.
const LONG: usize = 16;

/// The form in which `bytes` are a key of a key pair, if they are one.
pub fn of_a_key(bytes: &[u8]) -> Option<&'static str> {
    within(bytes, DEEPEST)
}

fn within(bytes: &[u8], depth: usize) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    let found = of_text(&text).or_else(|| of_bytes(bytes.trim_ascii_start()));
    if found.is_some() || depth == 0 {
        return found;
    }
    let inner = parts(&text).into_iter().flat_map(|part| [from_base64(&part), from_hex(&part)]);
    inner.flatten().find_map(|inner| within(&inner, depth - 1))
}

fn of_text(text: &str) -> Option<&'static str> {
    // Without the zeros of UTF-16.
    let text: String = text.chars().filter(|c| *c != '\0').collect();
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.contains("-----BEGIN") || is_labelled(text) {
        return Some("a PEM file");
    }
    if text.contains("---- BEGIN ") {
        return Some("an SSH public key");
    }
    let has_member = || {
        let dense: String = text.chars().filter(|c| !c.is_whitespace() && *c != '\\').collect();
        ["\"kty\":", "'kty':", "kty:"].iter().any(|member| dense.contains(member))
    };
    if has_member() || (text.starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()) {
        return Some("JSON, such as a JWK or a JWKS");
    }
    (text.contains("RSAKeyValue") && text.contains('<')).then_some("a public key in XML")
}

/// Whether the first line of a PEM block is there, if without its dashes.
fn is_labelled(text: &str) -> bool {
    text.split("BEGIN ").skip(1).any(|behind| {
        let is_of_label = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == ' ';
        let label: String = behind.chars().take_while(is_of_label).collect();
        label.split(' ').any(|word| matches!(word, "KEY" | "CERTIFICATE"))
    })
}

fn of_bytes(bytes: &[u8]) -> Option<&'static str> {
    if is_der(bytes) || is_point(bytes) {
        return Some("a key in DER or its text");
    }
    is_ssh(bytes).then_some("an SSH public key")
}

/// SubjectPublicKeyInfo, PKCS 1, PKCS 8 or a certificate: a sequence of just this length, of a sequence or an integer
/// first; newlines may stand behind it.
fn is_der(bytes: &[u8]) -> bool {
    let [0x30, first, rest @ ..] = bytes else { return false };
    let (length, content) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => match rest.split_at_checked(long & 0x7f) {
            Some((digits, content)) if (1..=3).contains(&digits.len()) => {
                (digits.iter().fold(0, |length, digit| length * 256 + usize::from(*digit)), content)
            }
            _ => return false,
        },
    };
    let is_whole = match content.get(length..) {
        Some(behind) => behind.trim_ascii().is_empty(),
        // The newline that is cut off the end of a file may have been a part of it.
        None => length <= content.len() + 2,
    };
    is_whole && matches!(content.first(), Some(0x30 | 0x02))
}

/// A point of an elliptic curve, as it stands in an EC public key; newlines may stand behind it.
fn is_point(bytes: &[u8]) -> bool {
    [(65, &ECDSA_P256_SHA256_FIXED), (97, &ECDSA_P384_SHA384_FIXED), (133, &ECDSA_P521_SHA512_FIXED)]
        .into_iter()
        .filter_map(|(length, curve)| Some((bytes.split_at_checked(length)?, curve)))
        .any(|((point, behind), curve)| behind.trim_ascii().is_empty() && is_on(curve, point))
}

/// What stands behind `ssh-rsa` in an SSH public key: its length and `ssh-rsa` once more.
fn is_ssh(bytes: &[u8]) -> bool {
    let [0, 0, 0, _, name @ ..] = bytes else { return false };
    [&b"ssh-"[..], b"ecdsa-", b"sk-"].iter().any(|kind| name.starts_with(kind))
}

/// The parts of a text that may be the text of a key: each word, all of them, the long ones, and those that are lines of
/// one length.
fn parts(text: &str) -> BTreeSet<String> {
    // As it stands in JSON, in a script or in an array of C: newlines and bytes by their escapes.
    let text = ["\\n", "\\r", "\\t", "\\x"].iter().fold(text.to_owned(), |text, escape| text.replace(escape, " "));
    let is_separator = |c: char| c.is_whitespace() || SEPARATORS.contains(&c);
    let words: Vec<&str> = text.split(is_separator).map(without_name).filter(|word| !word.is_empty()).collect();
    let mut parts: BTreeSet<String> = words.iter().map(|word| (*word).to_owned()).collect();
    parts.insert(words.concat());
    parts.insert(words.iter().filter(|word| word.len() >= LONG).copied().collect());
    let mut lines = words.as_slice();
    while let [first, rest @ ..] = lines {
        let more = rest.iter().take_while(|word| word.len() == first.len()).count();
        let (block, behind) = lines.split_at(1 + more);
        parts.insert(block.concat());
        // The last line is shorter.
        parts.extend(behind.first().filter(|last| last.len() < first.len()).map(|last| block.concat() + last));
        lines = behind;
    }
    parts
}

/// A word without the name that it is given to: `key=…`, `key:…`.
fn without_name(word: &str) -> &str {
    match word.split_once([':', '=']) {
        Some((name, value)) if name.len() <= LONGEST_NAME && value.len() > name.len() && !value.contains(':') => value,
        _ => word,
    }
}

/// Of either alphabet, padded or not.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    const FORGIVING: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    FORGIVING.decode(text.replace('-', "+").replace('_', "/")).ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let text = text.replace("0x", "").replace(':', "");
    let digits = text.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let pairs = digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok());
    (digits.len() % 2 == 0).then(|| pairs.collect())?
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    };
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    use super::*;

    /// A public key: in DER, and as its point.
    fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key pair");
        let der: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        (der.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
    }

    fn hex(bytes: &[u8], before: &str, between: &str) -> String {
        bytes.iter().map(|byte| format!("{before}{byte:02x}")).collect::<Vec<_>>().join(between)
    }

    /// Every form of one public key, each with what it is.
    fn forms((der, point): (Vec<u8>, Vec<u8>)) -> Vec<(&'static str, Vec<u8>)> {
        const JWK: &str = "{\"kty\":\"RSA\",\"n\":\"x\",\"e\":\"AQAB\"}";
        let base64 = BASE64_STANDARD.encode(&der);
        let lines: Vec<&str> =
            (0..base64.len()).step_by(64).map(|at| &base64[at..(at + 64).min(base64.len())]).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let bare = pem.replace('-', "");
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let ssh = BASE64_STANDARD.encode(b"\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01\0\0\0\x02\xaa\xbb");
        let around = |before: &[u8], bytes: &[u8], behind: &[u8]| [before, bytes, behind].concat();
        let text = |text: String| text.into_bytes();
        vec![
            ("PEM", text(pem.clone())),
            ("PEM of UTF-16", utf16(&pem)),
            ("PEM without its dashes", text(bare.clone())),
            ("PEM with the ends of its lines escaped", text(pem.replace('\n', "\\n"))),
            ("PEM with a backslash at each end of a line", text(pem.replace('\n', "\\\n"))),
            ("PEM percent-encoded", text(pem.replace(' ', "%20").replace('\n', "%0A"))),
            ("the body with the ends of its lines escaped", text(lines.join("\\n"))),
            ("the body with a backslash at each end of a line", text(lines.join("\\\n"))),
            ("the body under a name in YAML", text(format!("key: |\n  {}\n", lines.join("\n  ")))),
            ("the body behind a name", text(format!("JWT_KEY={}", lines.join("\n")))),
            ("the body behind a comment", text(format!("# the public key\n{}\n", lines.join("\n")))),
            ("the body before a comment", text(format!("{}\nof the issuer\n", lines.join("\n")))),
            ("the body in a string of JSON", text(format!("\"{base64}\""))),
            ("the body in UTF-16", utf16(&base64)),
            ("the body in two lines", text(lines.join("\n"))),
            ("the body in lines of any length", text(format!("key: |\n  {}\n  {}\n", &base64[..32], &base64[32..]))),
            ("the body in base64url", text(BASE64_URL_SAFE_NO_PAD.encode(&der))),
            ("base64 of the PEM", text(BASE64_STANDARD.encode(&pem))),
            ("base64 of the PEM in lines", text(BASE64_STANDARD.encode(&pem).replacen('M', "M\n", 1))),
            ("base64 of base64 of the PEM", text(BASE64_STANDARD.encode(BASE64_STANDARD.encode(&pem)))),
            ("base64 of the body", text(BASE64_STANDARD.encode(&base64))),
            ("base64 of the body in lines", text(BASE64_STANDARD.encode(lines.join("\n")))),
            ("base64 of the hex", text(BASE64_STANDARD.encode(hex(&der, "", "")))),
            ("hex of the PEM", text(hex(pem.as_bytes(), "", ""))),
            ("DER", der.clone()),
            ("DER without its last byte", der[..der.len() - 1].to_vec()),
            ("DER before newlines", around(b"", &der, b"\n\r\n\n")),
            ("DER behind newlines", around(b"\n\n", &der, b"")),
            ("DER between newlines", around(b" \n", &der, b"\n")),
            ("the point", point.clone()),
            ("the point between newlines", around(b"\n", &point, b"\n\n")),
            ("base64 of the point", text(BASE64_STANDARD.encode(&point))),
            ("hex of DER", text(hex(&der, "", ""))),
            ("hex of the point with colons", text(hex(&point, "", ":"))),
            ("hex of DER under a name", text(format!("pub:\n    {}\n", hex(&der, "", ":")))),
            ("an array of C", text(format!("{{ {} }};", hex(&der, "0x", ", ")))),
            ("a string of Python", text(format!("b'{}'", hex(&der, "\\x", "")))),
            ("SSH", text(format!("ssh-rsa {ssh} alice@example"))),
            ("SSH with options", text(format!("from=\"10.0.0.0/8\" ssh-rsa {ssh}"))),
            ("SSH's own PEM", b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----".to_vec()),
            ("base64 of SSH", text(BASE64_STANDARD.encode(format!("ssh-rsa {ssh} alice@example")))),
            ("the middle of SSH", text(ssh)),
            ("a certificate without its dashes", b"BEGIN CERTIFICATE\nAAAA\nEND CERTIFICATE".to_vec()),
            ("a JWK", text(JWK.to_owned())),
            ("base64 of a JWK", text(BASE64_STANDARD.encode(JWK))),
            ("base64url of a JWK", text(BASE64_URL_SAFE_NO_PAD.encode(JWK))),
            ("two JWKs, one a line", text(format!("{JWK}\n{JWK}"))),
            ("a JWK before a comma", text(format!("{JWK},"))),
            ("a JWK escaped in JSON", text(format!("\"{}\"", JWK.replace('"', "\\\"")))),
            ("a JWK in YAML", b"kty: RSA\nn: x\ne: AQAB".to_vec()),
            ("a JWKS", b" {\n\"keys\": []}\n".to_vec()),
            ("a JWKS behind a mark", b"\xef\xbb\xbf[{\"kty\":\"OKP\"}]".to_vec()),
            ("XML", b"<RSAKeyValue><Modulus>x</Modulus></RSAKeyValue>".to_vec()),
            ("XML behind its head", b"key: <RSAKeyValue><Modulus>x</Modulus></RSAKeyValue>".to_vec()),
        ]
    }

    #[test]
    fn no_form_of_a_public_key_is_taken_for_a_secret() {
        for pair in [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING] {
            for (what, form) in forms(ec(pair)) {
                assert!(of_a_key(&form).is_some(), "{what}: {}", String::from_utf8_lossy(&form));
            }
        }
    }

    #[test]
    fn secrets_of_every_kind_are_taken() {
        let random: Vec<u8> = (0..64_u8).map(|at| at.wrapping_mul(167).wrapping_add(13)).collect();
        for secret in [
            &b"x"[..],
            b"0123456789abcdef0123456789abcdef",
            b"correct horse battery staple",
            b"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A",
            b"{not json",
            b"ssh-rsa is a word",
            b"BEGIN with a key, and END",
            b"a key=value and b:c",
            b"kty",
            b"\x30\x1e\x04\x1c0123456789012345678901234567",
            b"\xff\xfe\xfd",
            &[0x30; 64],
            &[0; 32],
            &random,
            BASE64_STANDARD.encode([0x5a; 48]).as_bytes(),
            BASE64_STANDARD.encode(&random).as_bytes(),
            BASE64_URL_SAFE_NO_PAD.encode(&random).as_bytes(),
            hex(&random, "", "").as_bytes(),
            BASE64_STANDARD.encode(hex(&random, "", ":")).as_bytes(),
        ] {
            assert_eq!(of_a_key(secret), None, "{}", String::from_utf8_lossy(secret));
        }
    }

    #[test]
    fn the_longest_file_is_looked_at_in_little_time() {
        let begun = std::time::Instant::now();
        for word in ["a ", "ab\n", "MIIB\n", "30:", "a=b ", "AAAAAAAA "] {
            of_a_key(word.repeat(64 * 1024 / word.len()).as_bytes());
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
