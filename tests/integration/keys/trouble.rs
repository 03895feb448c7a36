//! An issuer in trouble: what was fetched last stays in use, and the metric says so.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{SOON, claims, status, unfit, with_url};
use crate::harness::eventually;
use crate::harness::issuer::{KEYS, Key, Page, set, whole};
use crate::harness::jwt::Pair;

#[tokio::test]
async fn a_fetch_that_fails_keeps_the_last_keys() {
    let key = Key::new("a", Algorithm::ES256, Pair::p256());
    let good = set(&[&key]);
    let (issuer, sidecar) = with_url(&good, &["--jwks-refresh=1s"]).await;
    let token = key.sign(&claims());
    issuer.serve("/elsewhere", Page::Json(good.clone()));
    let mut long = good.clone();
    long["padding"] = "x".repeat(1024 * 1024).into();
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n", {
        long.to_string().len()
    });
    let redirect = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let half = whole(&good.to_string());
    for (what, page, told) in [
        ("an error", Page::Raw(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n".to_vec()), "it answered 500"),
        ("a redirect", Page::Raw(redirect.to_vec()), "it answered 302"),
        ("no content", Page::Raw(b"HTTP/1.1 204 x\r\n\r\n".to_vec()), "it answered 204"),
        ("more than 1 MiB", Page::Json(long.clone()), "longer than 1048576 bytes"),
        ("more than 1 MiB in chunks", Page::Raw(chunked.into_bytes()), "longer than 1048576 bytes"),
        ("broken JSON", Page::Raw(whole("{\"keys\": [")), "holds no JWK set"),
        ("no usable key", Page::Json(json!({"keys": [{"kty": "oct", "k": "AAAA"}]})), "holds no usable key"),
        ("half an answer", Page::Raw(half[..half.len() - 9].to_vec()), "cannot fetch"),
        ("no HTTP", Page::Raw(b"+PONG\r\n".to_vec()), "cannot fetch"),
        ("no answer", Page::Silence, "no whole answer within 5 s"),
    ] {
        issuer.serve(KEYS, page);
        unfit(&sidecar, 1).await;
        assert_eq!(status(&sidecar, &token).await, 200, "{what}");
        eventually(what, SOON, async || sidecar.log().contains(told)).await;
        assert_eq!(sidecar.ops("/readyz").await.status, 200, "{what}");
        issuer.serve(KEYS, Page::Json(good.clone()));
        unfit(&sidecar, 0).await;
        assert_eq!(status(&sidecar, &token).await, 200, "{what}");
    }
    assert_eq!(issuer.fetches("/elsewhere"), 0, "no redirect is followed");
    let log = sidecar.log();
    assert_eq!(log.matches("keeping the previous ones").count(), 10, "once each: {log}");
    assert_eq!(log.matches("JWT keys fetched").count(), 1, "they never changed: {log}");
}

#[tokio::test]
async fn a_slow_answer_is_taken_within_five_seconds() {
    let (old, new) = (Key::new("a", Algorithm::ES256, Pair::p256()), Key::new("b", Algorithm::ES256, Pair::p256()));
    let (issuer, sidecar) = with_url(&set(&[&old]), &["--jwks-refresh=1s"]).await;
    issuer.serve(KEYS, Page::Slow(Duration::from_secs(4), set(&[&new])));
    let token = new.sign_as(None, &claims());
    eventually("the new key is known", SOON, async || status(&sidecar, &token).await == 200).await;
    let log = sidecar.log();
    assert!(!log.contains("cannot fetch"), "{log}");
}

#[tokio::test]
async fn keys_of_no_use_are_skipped_and_key_limits_hold() {
    let key = Key::new("good", Algorithm::ES256, Pair::p256());
    let mut all = set(&[&key]);
    let modulus = |bytes: usize| crate::harness::jwt::base64url(&vec![0xc5; bytes]);
    let others = [
        json!({"kty": "oct", "k": "AAAA", "kid": "good", "alg": "HS256"}),
        json!({"kty": "RSA", "n": modulus(128), "e": "AQAB", "kid": "short"}),
        json!({"kty": "RSA", "n": modulus(1025), "e": "AQAB", "kid": "long"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "curve"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "new"}),
    ];
    all["keys"].as_array_mut().unwrap().extend(others);
    let (issuer, sidecar) = with_url(&all, &[]).await;
    assert_eq!(status(&sidecar, &key.sign(&claims())).await, 200);
    let log = sidecar.log();
    assert!(log.contains("\"keys\":1") && log.contains("\"skipped\":5"), "{log}");
    assert!(!log.contains("private key"), "{log}");
    assert_eq!(issuer.fetches(KEYS), 1);

    let mut private = key.public();
    private["d"] = "AAAA".into();
    issuer.serve(KEYS, Page::Json(json!({"keys": [private]})));
    sidecar.signal("HUP");
    eventually("a warning", SOON, async || sidecar.log().contains("the set holds a private key")).await;
    assert_eq!(status(&sidecar, &key.sign(&claims())).await, 200);
}
