//! A URL that names an issuer's discovery document.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{SOON, claims, following, status, unfit};
use crate::harness::issuer::{DISCOVERY, Issuer, KEYS, Key, Page, set};
use crate::harness::jwt::Pair;
use crate::harness::{Sidecar, TestRedis, eventually};

const ISSUER: &str = "https://issuer.test/realm";

fn key() -> Key {
    Key::new("a", Algorithm::ES256, Pair::p256())
}

fn of(issuer: &str) -> Value {
    let mut claims = claims();
    claims["iss"] = issuer.into();
    claims
}

/// An issuer with a document that names its keys.
async fn issuer(key: &Key) -> Issuer {
    let issuer = Issuer::plain(Page::Json(set(&[key]))).await;
    issuer.serve(DISCOVERY, Page::Json(json!({"issuer": ISSUER, "jwks_uri": issuer.url(KEYS), "more": []})));
    issuer
}

#[tokio::test]
async fn the_document_names_the_keys_and_what_issuer_tokens_must_have() {
    let key = key();
    let issuer = issuer(&key).await;
    for flags in [&[][..], &["--jwt-issuer", ISSUER]] {
        let sidecar = following(&issuer, DISCOVERY, flags).await;
        assert_eq!(status(&sidecar, &key.sign(&of(ISSUER))).await, 200);
        let mut several = claims();
        several["iss"] = json!([ISSUER]);
        for wrong in [several, of("https://issuer.test/other"), of(""), of("https://issuer.test/realm/"), claims()] {
            assert_eq!(status(&sidecar, &key.sign(&wrong)).await, 401, "{wrong}");
        }
        assert!(!sidecar.log().contains("--jwt-issuer and --jwt-audience are not set"), "{}", sidecar.log());
    }
}

#[tokio::test]
async fn a_document_of_another_issuer_is_refused() {
    let key = key();
    let issuer = issuer(&key).await;
    let flags = ["--jwks-url", &issuer.url(DISCOVERY), "--jwt-issuer", "https://issuer.test/mine"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    unfit(&sidecar, 1).await;
    eventually("it is told", SOON, async || sidecar.log().contains("is of the issuer `https://issuer.test/realm`"))
        .await;
    for claims in [of(ISSUER), of("https://issuer.test/mine")] {
        assert_eq!(status(&sidecar, &key.sign(&claims)).await, 503);
    }
    assert_eq!(issuer.fetches(KEYS), 0, "its keys are not asked for");

    // Its name is told shortened, on one line; what is told changes with it.
    let name = format!("a\n\u{1b}[31m{}", "x".repeat(100_000));
    issuer.serve(DISCOVERY, Page::Json(json!({"issuer": name, "jwks_uri": issuer.url(KEYS)})));
    let told = "`a\\n\\u{1b}[31mxxx";
    eventually("the name", SOON, async || sidecar.ops("/readyz").await.text().contains(told)).await;
    let readyz = sidecar.ops("/readyz").await.text().to_owned();
    assert!(readyz.len() < 2000 && readyz.contains("x…`"), "{readyz}");
    let log = sidecar.log();
    assert_eq!(log.matches("cannot fetch the JWT keys").count(), 2, "{log}");
}

#[tokio::test]
async fn a_document_that_names_another_issuer_is_followed_with_a_warning() {
    let key = key();
    let issuer = issuer(&key).await;
    let sidecar = following(&issuer, DISCOVERY, &["--jwks-refresh=1s"]).await;
    let other = "https://issuer.test/other";
    issuer.serve(DISCOVERY, Page::Json(json!({"issuer": other, "jwks_uri": issuer.url(KEYS)})));
    eventually("it is followed", SOON, async || status(&sidecar, &key.sign(&of(other))).await == 200).await;
    assert_eq!(status(&sidecar, &key.sign(&of(ISSUER))).await, 401);
    assert_eq!(sidecar.log().matches("the discovery document names another issuer").count(), 1, "{}", sidecar.log());
}

#[tokio::test]
async fn a_document_that_becomes_unfit_keeps_the_keys() {
    let (key, new) = (key(), Key::new("b", Algorithm::EdDSA, Pair::ed25519()));
    let issuer = issuer(&key).await;
    let sidecar = following(&issuer, DISCOVERY, &["--jwks-refresh=1s"]).await;
    let good = |keys: &str| json!({"issuer": ISSUER, "jwks_uri": issuer.url(keys)});
    for (bad, told) in [
        (json!({"issuer": ISSUER}), "no discovery document"),
        (json!({"jwks_uri": issuer.url(KEYS)}), "no discovery document"),
        (json!({"issuer": ISSUER, "jwks_uri": "http://issuer.test/keys"}), "http is for loopback only"),
        (json!({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}), "expected"),
        (json!({"issuer": ISSUER, "jwks_uri": issuer.url("/nowhere")}), "it answered 404"),
    ] {
        issuer.serve(DISCOVERY, Page::Json(bad.clone()));
        unfit(&sidecar, 1).await;
        eventually(told, SOON, async || sidecar.log().contains(told)).await;
        assert_eq!(status(&sidecar, &key.sign(&of(ISSUER))).await, 200, "{bad}");
        issuer.serve(DISCOVERY, Page::Json(good(KEYS)));
        unfit(&sidecar, 0).await;
    }
    issuer.serve("/new", Page::Json(set(&[&new])));
    issuer.serve(DISCOVERY, Page::Json(good("/new")));
    eventually("the keys moved", SOON, async || status(&sidecar, &new.sign(&of(ISSUER))).await == 200).await;
    assert_eq!(status(&sidecar, &key.sign(&of(ISSUER))).await, 401);
}
