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

/// Most usable keys of a set.
const MOST_KEYS: usize = 100;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl JwtKeys {
    /// The usable keys of a set: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519, for verifying signatures.
    pub fn from_jwk_set(bytes: &[u8]) -> Result<JwtKeys, String> {
        let set: Set =
            serde_json::from_slice(bytes).map_err(|_| "holds no JWK set; expected JSON: {\"keys\": […]}".to_owned())?;
        let shows_private = set.keys.iter().any(is_private);
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for key in set.keys {
            match usable(key) {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(reason),
            }
        }
        if keys.is_empty() {
            return Err("holds no usable key; expected a public key for signatures: RSA of 2048 to 8192 bits, P-256, \
                        P-384 or Ed25519"
                .to_owned());
        }
        if keys.len() > MOST_KEYS {
            // A token without `kid` is tried with each.
            return Err(format!("holds {} usable keys; expected at most {MOST_KEYS}", keys.len()));
        }
        let mut set = JwtKeys::public(keys);
        (set.skipped, set.shows_private) = (skipped, shows_private);
        Ok(set)
    }

    /// The usable keys of a set in a file, which has no private ones.
    pub fn from_jwk_file(bytes: &[u8]) -> Result<JwtKeys, String> {
        let keys = JwtKeys::from_jwk_set(bytes)?;
        match keys.shows_private {
            true => Err("holds a private key (`d`); expected public ones alone".to_owned()),
            false => Ok(keys),
        }
    }
}

/// Whether it has the private half of a key pair.
fn is_private(key: &Value) -> bool {
    key.get("d").is_some()
}

const MALFORMED: &str = "malformed, or of an unknown type, curve or algorithm";
const UNSUPPORTED: &str = "of an unsupported type, curve or algorithm";
const UNFIT: &str = "not a point of its curve, or an RSA key that is not of 2048 to 8192 bits";

/// The key, if it may verify signatures by an algorithm that is served; else why not.
fn usable(key: Value) -> Result<JwtKey, &'static str> {
    let jwk: Jwk = serde_json::from_value(key).map_err(|_| MALFORMED)?;
    let common = &jwk.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !is_for_signatures {
        return Err("not for verifying signatures (`use`, `key_ops`)");
    }
    let (key, fitting) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => (rsa_key(&rsa.n, &rsa.e).ok_or(UNFIT)?, RSA),
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => (ec_key(&ECDSA_P256_SHA256_FIXED, &ec.x, &ec.y).ok_or(UNFIT)?, P256),
            EllipticCurve::P384 => (ec_key(&ECDSA_P384_SHA384_FIXED, &ec.x, &ec.y).ok_or(UNFIT)?, P384),
            _ => return Err(UNSUPPORTED),
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            let point = decoded(&pair.x).filter(|point| is_on(&ED25519, point)).ok_or(UNFIT)?;
            (DecodingKey::from_ed_der(&point), ED)
        }
        _ => return Err(UNSUPPORTED),
    };
    let algorithms = match common.key_algorithm {
        None => fitting,
        Some(algorithm) => {
            let algorithm = Algorithm::try_from(algorithm).ok();
            algorithm.and_then(|algorithm| only(algorithm, fitting)).ok_or("of an `alg` that does not fit its type")?
        }
    };
    Ok(JwtKey { key, algorithms, id: jwk.common.key_id.map(Into::into) })
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
    // An even exponent, and 1, are of no RSA key.
    let exponent = &e[e.iter().take_while(|byte| **byte == 0).count()..];
    let is_exponent = exponent.last().is_some_and(|byte| byte % 2 == 1) && exponent != [1];
    let parsed = PublicKeyComponents { n, e: &e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
    (is_exponent && rsa_bits().contains(&bits) && parsed.is_ok()).then(|| DecodingKey::from_rsa_raw_components(n, &e))
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
    fn a_private_key_is_refused_in_a_file_and_noticed_elsewhere() {
        let read = |keys: &[Value]| json!({"keys": keys}).to_string();
        let private = with(ed25519(), &[("d", json!("AAAA"))]);
        for keys in [&[private.clone()][..], &[p256(), private.clone()]] {
            let text = read(keys);
            assert!(JwtKeys::from_jwk_file(text.as_bytes()).is_err_and(|problem| problem.contains("private key")));
            assert!(JwtKeys::from_jwk_set(text.as_bytes()).is_ok_and(|keys| keys.shows_private));
        }
        let text = read(&[p256()]);
        assert!(JwtKeys::from_jwk_file(text.as_bytes()).is_ok_and(|keys| !keys.shows_private));
    }

    #[test]
    fn a_set_has_at_most_a_hundred_usable_keys() {
        let (key, other) = (ed25519(), json!({"kty": "oct", "k": "AAAA"}));
        let many = |count| [vec![key.clone(); count], vec![other.clone(); 9]].concat();
        assert_eq!(algorithms(&many(100)).map(|keys| keys.len()), Some(100));
        let problem = JwtKeys::from_jwk_set(json!({"keys": many(101)}).to_string().as_bytes()).expect_err("too many");
        assert!(problem.contains("holds 101 usable keys; expected at most 100"), "{problem}");
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
            with(rsa(2048), &[("e", json!("AQ"))]),
            with(rsa(2048), &[("e", json!("AAE"))]),
            with(rsa(2048), &[("e", json!("AQAA"))]),
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
