//! Tokens and keys, good ones and forged ones.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The HMAC secret of the tests' sidecars.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Seconds since 1970, moved by `offset`.
pub fn seconds(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("a near future") + offset
}

/// Claims of a user who may manage locks, good for an hour.
pub fn editor_claims(id: &str) -> Value {
    json!({"sub": id, "name": format!("Name of {id}"), "permissions": ["manage-locks"], "exp": seconds(3600)})
}

/// A good token of a user who may manage locks.
pub fn editor(id: &str) -> String {
    signed(&editor_claims(id))
}

/// A good token of a user without any permission.
pub fn reader(id: &str) -> String {
    signed(&json!({"sub": id, "exp": seconds(3600)}))
}

/// HS256 with [`SECRET`].
pub fn signed(claims: &Value) -> String {
    sign(claims, Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()))
}

pub fn sign(claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    encode(&Header::new(algorithm), claims, key).expect("a signed token")
}

/// A key pair for signing, and its public half as PEM.
pub struct Pair {
    pub private: EncodingKey,
    pub public_pem: String,
    pub private_pem: String,
}

impl Pair {
    pub fn rsa() -> Pair {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
        let private: Pkcs8V1Der = pair.as_der().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Pair::new(private.as_ref(), public.as_ref(), EncodingKey::from_rsa_pem)
    }

    pub fn p256() -> Pair {
        Pair::ec(&ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub fn p384() -> Pair {
        Pair::ec(&ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Pair {
        let pair = EcdsaKeyPair::generate(algorithm).expect("an EC key");
        let private = pair.to_pkcs8v1().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Pair::new(private.as_ref(), public.as_ref(), EncodingKey::from_ec_pem)
    }

    pub fn ed25519() -> Pair {
        let pair = Ed25519KeyPair::generate().expect("an Ed25519 key");
        let private = pair.to_pkcs8v1().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Pair::new(private.as_ref(), public.as_ref(), EncodingKey::from_ed_pem)
    }

    fn new(private: &[u8], public: &[u8], read: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>) -> Pair {
        let private_pem = pem("PRIVATE KEY", private);
        let private = read(private_pem.as_bytes()).expect("a signing key");
        Pair { private, public_pem: pem("PUBLIC KEY", public), private_pem }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der, b"+/", true);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// base64url without padding, as in a token.
pub fn base64url(bytes: &[u8]) -> String {
    base64(bytes, b"-_", false)
}

fn base64(bytes: &[u8], last_two: &[u8; 2], padded: bool) -> String {
    let alphabet = |index: u32| match index {
        0..26 => char::from(b'A' + index as u8),
        26..52 => char::from(b'a' + (index - 26) as u8),
        52..62 => char::from(b'0' + (index - 52) as u8),
        _ => char::from(last_two[(index - 62) as usize]),
    };
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = (0..4).map(|digit| alphabet(bits >> (18 - 6 * digit) & 63));
        text.extend(digits.take(chunk.len() + 1));
        if padded {
            text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
        }
    }
    text
}
