//! Tokens that would choose their own key or algorithm.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{claims, status, with_file, with_url};
use crate::harness::Sidecar;
use crate::harness::issuer::{Issuer, KEYS, Key, Page, set};
use crate::harness::jwt::{Pair, base64url};

/// A token with this very header, signed as `algorithm` whatever the header says.
fn forged(header: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(&claims()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

async fn refuses_confusion(sidecar: &Sidecar, rsa: &Key, ec: &Key) {
    let attacker = Key::new("rsa", Algorithm::RS256, Pair::rsa());
    let evil = Issuer::plain(Page::Json(set(&[&attacker]))).await;
    let secret = |bytes: &[u8]| EncodingKey::from_secret(bytes);
    let hs256 = |kid: Option<&str>, bytes: &[u8]| {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid});
        forged(&header, Algorithm::HS256, &secret(bytes))
    };
    let public = rsa.public();
    let modulus = public["n"].as_str().unwrap();
    let mut rows = vec![
        ("the PEM as a secret", hs256(Some("rsa"), rsa.pair.public_pem.as_bytes())),
        ("the PEM as a secret, no name", hs256(None, rsa.pair.public_pem.as_bytes())),
        ("the trimmed PEM as a secret", hs256(Some("rsa"), rsa.pair.public_pem.trim().as_bytes())),
        ("the JWK as a secret", hs256(Some("rsa"), public.to_string().as_bytes())),
        ("the modulus as a secret", hs256(Some("rsa"), modulus.as_bytes())),
        ("the secret of the set", hs256(Some("oct"), b"0123456789abcdef0123456789abcdef")),
        ("an empty secret", hs256(Some("rsa"), b"")),
    ];
    let evil_url = evil.url(KEYS);
    for (what, more) in [
        ("jwk", json!({"jwk": attacker.public()})),
        ("jku", json!({"jku": evil_url})),
        ("x5u", json!({"x5u": evil_url})),
        ("x5c", json!({"x5c": [base64url(b"certificate")]})),
    ] {
        for kid in [Some("rsa"), None] {
            let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": kid});
            header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            rows.push((what, forged(&header, Algorithm::RS256, &attacker.pair.private)));
        }
    }
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "ec"});
    rows.push(("an RS256 token on an EC key", forged(&header, Algorithm::RS256, &rsa.pair.private)));
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "rsa"});
    rows.push(("an ES256 token on an RSA key", forged(&header, Algorithm::ES256, &ec.pair.private)));
    for alg in ["none", "None", "NONE", ""] {
        for kid in ["rsa", "ec", "other"] {
            let header = base64url(json!({"alg": alg, "typ": "JWT", "kid": kid}).to_string().as_bytes());
            rows.push(("no algorithm", format!("{header}.{}.", base64url(claims().to_string().as_bytes()))));
        }
    }
    for (what, token) in rows {
        // A key that is not known is asked for first, now and then.
        let mut refused = status(sidecar, &token).await;
        while refused == 503 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            refused = status(sidecar, &token).await;
        }
        assert_eq!(refused, 401, "{what}: {token}");
    }
    assert_eq!(evil.fetches(KEYS), 0, "no token names where keys come from");

    // A good token whose header points elsewhere is verified by the key that is known.
    let header = json!({"alg": "RS256", "kid": "rsa", "jku": evil_url, "jwk": attacker.public(), "x5u": evil_url});
    assert_eq!(status(sidecar, &forged(&header, Algorithm::RS256, &rsa.pair.private)).await, 200);
    assert_eq!(evil.fetches(KEYS), 0);
    for key in [rsa, ec] {
        assert_eq!(status(sidecar, &key.sign(&claims())).await, 200);
    }
}

#[tokio::test]
async fn no_token_chooses_its_own_key_or_algorithm() {
    let (rsa, ec) = (Key::new("rsa", Algorithm::RS256, Pair::rsa()), Key::new("ec", Algorithm::ES256, Pair::p256()));
    let mut all = set(&[&rsa, &ec]);
    let oct = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": base64url(b"0123456789abcdef0123456789abcdef")});
    all["keys"].as_array_mut().unwrap().push(oct);
    refuses_confusion(&with_file(&all, &[]).await, &rsa, &ec).await;
    let (_issuer, sidecar) = with_url(&all, &[]).await;
    refuses_confusion(&sidecar, &rsa, &ec).await;
}
