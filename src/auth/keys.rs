//! Which keys are fit to verify tokens, and which algorithms follow from them. What is unfit is refused by its reason: a
//! public key that were taken for a secret would let everybody sign who has it, and a key that can never verify would
//! refuse everybody.

use std::ops::RangeInclusive;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaParameters, VerificationAlgorithm,
};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::form;

/// A key that verifies tokens, and the algorithms that it may do so with: they follow from the key, never from the
/// token.
#[derive(Clone)]
pub struct JwtKey {
    pub(super) key: DecodingKey,
    pub(super) algorithms: &'static [Algorithm],
    /// By which tokens name it, `kid`; `None` where they do not, as with a secret or PEM.
    pub(super) id: Option<Box<str>>,
}

/// The keys of one file or answer: a secret, or one or more public keys.
#[derive(Clone, Debug)]
pub struct JwtKeys {
    pub(super) keys: Vec<JwtKey>,
    secret_bytes: Option<usize>,
    /// Why keys of a set were skipped, one reason a key.
    pub(super) skipped: Vec<&'static str>,
    /// Whether a set shows the private half of a key.
    pub(super) shows_private: bool,
}

/// The algorithms of an RSA key.
pub(super) const RSA: &[Algorithm] = {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    &[RS256, RS384, RS512, PS256, PS384, PS512]
};
pub(super) const P256: &[Algorithm] = &[Algorithm::ES256];
pub(super) const P384: &[Algorithm] = &[Algorithm::ES384];
pub(super) const ED: &[Algorithm] = &[Algorithm::EdDSA];

const EXPECTED: &str = "expected a PEM public key: RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
/// Fewest bytes of a secret: as many as HS256 asks for (RFC 7518, 3.2).
const SECRET_BYTES: usize = 32;

impl JwtKeys {
    /// HS256, HS384, HS512. Refuses every form of a key pair's key.
    pub fn from_secret(bytes: &[u8]) -> Result<JwtKeys, String> {
        if let Some(form) = form::of_a_key(bytes) {
            return Err(format!(
                "is {form}, not a secret: with a public key anyone could sign tokens; pass it as PEM to \
                 --jwt-public-key-file"
            ));
        }
        let key = JwtKey {
            key: DecodingKey::from_secret(bytes),
            algorithms: &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            id: None,
        };
        Ok(JwtKeys { secret_bytes: Some(bytes.len()), ..JwtKeys::public(vec![key]) })
    }

    /// RS and PS for an RSA key, ES256 for P-256, ES384 for P-384, EdDSA for Ed25519. Each PEM block is a key; one that is
    /// unfit makes all of them so.
    pub fn from_public_pem(bytes: &[u8]) -> Result<JwtKeys, String> {
        let text = String::from_utf8_lossy(bytes);
        let mut keys = Vec::new();
        let mut rest = &*text;
        while let Some(begin) = rest.find(BEGIN) {
            let number = keys.len() + 1;
            let (block, behind) = block(&rest[begin..])
                .ok_or_else(|| format!("holds a PEM block without its end (block {number}); {EXPECTED}"))?;
            let key = public_key(block).map_err(|reason| match number {
                1 if !behind.contains(BEGIN) => reason,
                _ => format!("{reason} (block {number})"),
            })?;
            keys.push(key);
            rest = behind;
        }
        if keys.is_empty() {
            return Err(format!("holds no PEM block; {EXPECTED}"));
        }
        if text.matches(END).count() != keys.len() {
            return Err(format!("holds the end of a PEM block without its beginning; {EXPECTED}"));
        }
        Ok(JwtKeys::public(keys))
    }

    pub(super) fn public(keys: Vec<JwtKey>) -> JwtKeys {
        JwtKeys { keys, secret_bytes: None, skipped: Vec::new(), shows_private: false }
    }

    /// What is unwise about them, for the log.
    pub fn warning(&self) -> Option<&'static str> {
        let is_short = self.secret_bytes.is_some_and(|bytes| bytes < SECRET_BYTES);
        is_short.then_some("the secret in --jwt-secret-file is shorter than 32 bytes and may be guessed")
    }
}

/// The PEM block that `text` begins with, and what is behind it.
fn block(text: &str) -> Option<(&str, &str)> {
    let (label, _) = text.strip_prefix(BEGIN)?.split_once("-----")?;
    let end = format!("{END}{label}-----");
    let length = text.find(&end)? + end.len();
    let is_whole = !text[BEGIN.len()..length].contains(BEGIN);
    is_whole.then(|| text.split_at(length))
}

fn public_key(block: &str) -> Result<JwtKey, String> {
    let without_id = |key, algorithms| JwtKey { key, algorithms, id: None };
    let pem = block.as_bytes();
    let is_private = block[BEGIN.len()..].split_once("-----").is_some_and(|(label, _)| label.ends_with("PRIVATE KEY"));
    if is_private {
        return Err("holds a private key; expected the public one".to_owned());
    }
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        let bits = key.try_get_as_bytes().ok().and_then(|der| RsaParameters::public_modulus_len(der).ok());
        return match bits {
            Some(bits) if rsa_bits().contains(&bits) => Ok(without_id(key, RSA)),
            Some(bits) => Err(format!("holds an RSA key of {bits} bits; expected 2048 to 8192")),
            None => Err(format!("holds an RSA key that cannot be read; {EXPECTED}")),
        };
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        let point = key.try_get_as_bytes().unwrap_or_default();
        // The uncompressed point: one byte, and two coordinates. A point of another curve of that size is on neither.
        return match point.len() {
            65 if is_on(&ECDSA_P256_SHA256_FIXED, point) => Ok(without_id(key, P256)),
            97 if is_on(&ECDSA_P384_SHA384_FIXED, point) => Ok(without_id(key, P384)),
            33 | 49 => Err("holds an EC key in compressed form; expected the uncompressed one".to_owned()),
            _ => Err("holds an EC key of an unsupported curve, such as secp256k1 or P-521; expected P-256 or P-384"
                .to_owned()),
        };
    }
    match DecodingKey::from_ed_pem(pem) {
        Ok(key) if key.try_get_as_bytes().is_ok_and(|bytes| is_on(&ED25519, bytes)) => Ok(without_id(key, ED)),
        _ => Err(format!("holds no key that fits; {EXPECTED}")),
    }
}

/// How many bits an RSA key may have.
pub(super) fn rsa_bits() -> RangeInclusive<u32> {
    RSA_PKCS1_2048_8192_SHA256.min_modulus_len()..=RSA_PKCS1_2048_8192_SHA256.max_modulus_len()
}

/// Whether these bytes are a public key of this curve.
pub(super) fn is_on(curve: &'static dyn VerificationAlgorithm, point: &[u8]) -> bool {
    ParsedPublicKey::new(curve, point).is_ok()
}

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtKey").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    };
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key pair");
        let der: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        (der.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
    }

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
    }

    #[test]
    fn a_secret_of_less_than_32_bytes_is_taken_with_a_warning() {
        for secret in [
            &b"x"[..],
            b"0123456789abcdef0123456789abcdef",
            b"correct horse battery staple",
            b"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A",
            b"{not json",
            b"ssh-rsa is a word",
            b"\x30\x1e\x04\x1c0123456789012345678901234567",
            b"\xff\xfe\xfd",
            &[0x30; 64],
            &[0; 32],
            BASE64_STANDARD.encode([0x5a; 48]).as_bytes(),
        ] {
            assert!(JwtKeys::from_secret(secret).is_ok(), "{}", String::from_utf8_lossy(secret));
        }
        let is_short = |secret: &[u8]| JwtKeys::from_secret(secret).expect("a secret").warning().is_some();
        assert!(is_short(&[0xff; 31]) && !is_short(&[0xff; 32]));
    }

    #[test]
    fn a_key_that_can_never_verify_is_refused_with_its_reason() {
        let (k1, _) = ec(&ECDSA_P256K1_SHA256_ASN1_SIGNING);
        let (p521, _) = ec(&ECDSA_P521_SHA512_FIXED_SIGNING);
        let (p256, _) = ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let mut off = p256.clone();
        *off.last_mut().expect("a byte") ^= 1;
        let good = pem("PUBLIC KEY", &p256);
        let rsa = |bits: usize| pem("RSA PUBLIC KEY", &pkcs1(bits));
        for (text, reason) in [
            (pem("PUBLIC KEY", &k1), "unsupported curve"),
            (pem("PUBLIC KEY", &p521), "unsupported curve"),
            (pem("PUBLIC KEY", &off), "unsupported curve"),
            (rsa(512), "of 512 bits"),
            (rsa(1024), "of 1024 bits"),
            (rsa(2040), "of 2040 bits"),
            (rsa(8200), "of 8200 bits"),
            (pem("PRIVATE KEY", &p256), "a private key"),
            (pem("EC PRIVATE KEY", &p256), "a private key"),
            (pem("PUBLIC KEY", b"\x30\x00"), "no key that fits"),
            ("secret".to_owned(), "no PEM block"),
            ("{\"kty\":\"RSA\"}".to_owned(), "no PEM block"),
            (format!("{good}{}", pem("PUBLIC KEY", &k1)), "(block 2)"),
            (format!("{}{good}", rsa(1024)), "(block 1)"),
            (format!("{good}{}", &good[..good.len() - 30]), "without its end (block 2)"),
            (format!("{}{good}", &good[..good.len() - 30]), "without its end"),
            (format!("{}{good}", &good[30..]), "without its beginning"),
        ] {
            let told = JwtKeys::from_public_pem(text.as_bytes()).expect_err(&text);
            assert!(told.contains(reason), "{told}: {text}");
        }
        for (text, count) in [(good.clone(), 1), (format!("# one\n{good}\n# two\n{}{good}", rsa(2048)), 3)] {
            assert_eq!(JwtKeys::from_public_pem(text.as_bytes()).map(|keys| keys.keys.len()), Ok(count), "{text}");
        }
    }

    /// An RSA public key whose modulus has so many bits, a multiple of eight.
    fn pkcs1(bits: usize) -> Vec<u8> {
        let mut modulus = vec![0xc5; bits / 8];
        modulus.insert(0, 0);
        let der = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).expect("short").to_be_bytes();
            match content.len() {
                short @ 0..0x80 => [&[tag, short as u8][..], content].concat(),
                0x80..0x100 => [&[tag, 0x81, length[1]][..], content].concat(),
                _ => [&[tag, 0x82, length[0], length[1]][..], content].concat(),
            }
        };
        der(0x30, &[der(0x02, &modulus), der(0x02, &[1, 0, 1])].concat())
    }
}
