//! From a JWK set (RFC 7517) to the keys that verify tokens. Keys that are of no use here are skipped, since a set may have
//! some for other services; a set without a usable key is refused.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::keys::{ED, JwtKey, JwtKeys, P256, P384, RSA, is_on, rsa_bits};

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl JwtKeys {
    /// The usable keys of a set: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519, for verifying signatures.
    pub fn from_jwk_set(bytes: &[u8]) -> Result<JwtKeys, String> {
        let set: Set =
            serde_json::from_slice(bytes).map_err(|_| "holds no JWK set; expected JSON: {\"keys\": […]}".to_owned())?;
        let keys: Vec<JwtKey> = set.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err("holds no usable key; expected a public key for signatures: RSA of 2048 to 8192 bits, P-256, \
                        P-384 or Ed25519"
                .to_owned());
        }
        Ok(JwtKeys::public(keys))
    }
}

/// The key, if it may verify signatures by an algorithm that is served.
fn usable(key: Value) -> Option<JwtKey> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let common = &jwk.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !is_for_signatures {
        return None;
    }
    let (key, fitting) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => (rsa_key(&rsa.n, &rsa.e)?, RSA),
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => (ec_key(&ECDSA_P256_SHA256_FIXED, &ec.x, &ec.y)?, P256),
            EllipticCurve::P384 => (ec_key(&ECDSA_P384_SHA384_FIXED, &ec.x, &ec.y)?, P384),
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            let point = decoded(&pair.x)?;
            (is_on(&ED25519, &point).then(|| DecodingKey::from_ed_der(&point))?, ED)
        }
        _ => return None,
    };
    let algorithms = match common.key_algorithm {
        None => fitting,
        Some(algorithm) => only(Algorithm::try_from(algorithm).ok()?, fitting)?,
    };
    Some(JwtKey { key, algorithms, id: jwk.common.key_id.map(Into::into) })
}

/// That one of the algorithms.
fn only(algorithm: Algorithm, of: &'static [Algorithm]) -> Option<&'static [Algorithm]> {
    let place = of.iter().position(|fitting| *fitting == algorithm)?;
    Some(&of[place..=place])
}

fn rsa_key(n: &str, e: &str) -> Option<DecodingKey> {
    let (n, e) = (decoded(n)?, decoded(e)?);
    // Some issuers keep the zero byte of the number's sign.
    let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
    let bits = u32::try_from(n.len() * 8).ok()?.checked_sub(n.first()?.leading_zeros())?;
    let parsed = PublicKeyComponents { n, e: &e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
    (rsa_bits().contains(&bits) && parsed.is_ok()).then(|| DecodingKey::from_rsa_raw_components(n, &e))
}

fn ec_key(curve: &'static dyn VerificationAlgorithm, x: &str, y: &str) -> Option<DecodingKey> {
    let point = [&[4][..], &decoded(x)?, &decoded(y)?].concat();
    is_on(curve, &point).then(|| DecodingKey::from_ec_der(&point))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair,
    };
    use serde_json::json;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn ec(curve: &str, algorithm: &'static EcdsaSigningAlgorithm) -> Value {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key pair");
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
    }

    fn rsa(bits: usize) -> Value {
        json!({"kty": "RSA", "n": text(&vec![0xc5; bits / 8]), "e": "AQAB"})
    }

    /// The key with further members.
    fn with(mut key: Value, members: &[(&str, Value)]) -> Value {
        members.iter().for_each(|(name, value)| key[*name] = value.clone());
        key
    }

    fn algorithms(keys: &[Value]) -> Option<Vec<&'static [Algorithm]>> {
        let set = json!({"keys": keys}).to_string();
        let keys = JwtKeys::from_jwk_set(set.as_bytes()).ok()?.keys;
        Some(keys.into_iter().map(|key| key.algorithms).collect())
    }

    fn p256() -> Value {
        ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    fn ed25519() -> Value {
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
    }

    #[test]
    fn the_algorithms_of_a_key_follow_from_its_type_and_its_alg() {
        let p384 = ec("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING);
        for (key, expected) in [
            (rsa(2048), RSA),
            (rsa(8192), RSA),
            (p256(), P256),
            (p384, P384),
            (ed25519(), ED),
            (with(rsa(2048), &[("alg", json!("PS384"))]), &[Algorithm::PS384][..]),
            (with(p256(), &[("alg", json!("ES256")), ("use", json!("sig"))]), P256),
            (with(ed25519(), &[("alg", json!("EdDSA")), ("key_ops", json!(["verify"]))]), ED),
            (with(rsa(2048), &[("n", json!(text(&[vec![0], vec![0xc5; 256]].concat())))]), RSA),
        ] {
            assert_eq!(algorithms(std::slice::from_ref(&key)), Some(vec![expected]), "{key}");
        }
    }

    #[test]
    fn a_key_of_no_use_is_skipped_and_a_set_of_such_keys_is_refused() {
        let off = with(p256(), &[("y", json!(text(&[7; 32])))]);
        for key in [
            json!({"kty": "oct", "k": text(&[1; 32])}),
            json!({"kty": "oct", "k": text(&[1; 32]), "alg": "HS256", "use": "sig"}),
            with(rsa(2048), &[("use", json!("enc"))]),
            with(p256(), &[("key_ops", json!(["sign"]))]),
            with(p256(), &[("key_ops", json!([]))]),
            with(p256(), &[("alg", json!("HS256"))]),
            with(p256(), &[("alg", json!("RS256"))]),
            with(p256(), &[("alg", json!("ES512"))]),
            with(p256(), &[("alg", json!("none"))]),
            with(p256(), &[("crv", json!("secp256k1"))]),
            with(p256(), &[("crv", json!("P-521"))]),
            with(p256(), &[("crv", json!("P-384"))]),
            with(ed25519(), &[("crv", json!("X25519"))]),
            with(ed25519(), &[("x", json!("AA"))]),
            with(rsa(2048), &[("kty", json!("NEW"))]),
            with(rsa(2048), &[("e", json!("AA"))]),
            with(rsa(2048), &[("n", json!("?"))]),
            with(rsa(2048), &[("n", Value::Null)]),
            rsa(1024),
            rsa(2040),
            rsa(8200),
            off,
            json!({}),
            json!(7),
        ] {
            assert_eq!(algorithms(std::slice::from_ref(&key)), None, "{key}");
            assert_eq!(algorithms(&[key.clone(), p256()]), Some(vec![P256]), "{key}");
        }
        for text in ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}", "null", "<html>", "{\"keys\":[{\"kty\""] {
            let problem = JwtKeys::from_jwk_set(text.as_bytes()).expect_err(text);
            assert!(problem.contains("expected"), "{problem}");
        }
    }
}
