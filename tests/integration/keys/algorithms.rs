//! Every algorithm that is served verifies by a set from a file, from a URL, and by a PEM file with several keys.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{claims, status, with_file, with_url};
use crate::harness::issuer::{Issuer, KEYS, Key, Page, set};
use crate::harness::jwt::Pair;
use crate::harness::{Scratch, Sidecar, TestRedis, certificates::Authority};

/// A key of each kind, and the algorithms that it may sign by.
fn kinds() -> Vec<(Key, Vec<Algorithm>)> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    vec![
        (Key::new("rsa", RS256, Pair::rsa()), vec![RS256, RS384, RS512, PS256, PS384, PS512]),
        (Key::new("p256", ES256, Pair::p256()), vec![ES256]),
        (Key::new("p384", ES384, Pair::p384()), vec![ES384]),
        (Key::new("ed", EdDSA, Pair::ed25519()), vec![EdDSA]),
    ]
}

/// The set of all, without what narrows an RSA key to one algorithm.
fn set_of(kinds: &[(Key, Vec<Algorithm>)]) -> Value {
    let mut all = set(&kinds.iter().map(|(key, _)| key).collect::<Vec<_>>());
    all["keys"][0].as_object_mut().unwrap().remove("alg").unwrap();
    all
}

/// A token of each key by each of its algorithms, with and without the name of the key.
async fn all_verify(sidecar: &Sidecar, kinds: Vec<(Key, Vec<Algorithm>)>) {
    for (mut key, algorithms) in kinds {
        for algorithm in algorithms {
            key.algorithm = algorithm;
            for name in [Some(key.name), None] {
                let token = key.sign_as(name, &claims());
                assert_eq!(status(sidecar, &token).await, 200, "{algorithm:?} {name:?}");
                let (signed, signature) = token.rsplit_once('.').unwrap();
                let first = if signature.starts_with('A') { "B" } else { "A" };
                let forged = format!("{signed}.{first}{}", &signature[1..]);
                assert_eq!(status(sidecar, &forged).await, 401, "forged: {algorithm:?} {name:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_algorithm_verifies_by_a_set_from_a_file() {
    let kinds = kinds();
    let sidecar = with_file(&set_of(&kinds), &[]).await;
    all_verify(&sidecar, kinds).await;
}

#[tokio::test]
async fn every_algorithm_verifies_by_a_set_from_a_url() {
    let kinds = kinds();
    let (issuer, sidecar) = with_url(&set_of(&kinds), &[]).await;
    all_verify(&sidecar, kinds).await;
    assert_eq!(issuer.fetches(KEYS), 1, "no token named a key that is not there");
}

#[tokio::test]
async fn every_algorithm_verifies_by_one_pem_file_with_several_keys() {
    let (kinds, scratch) = (kinds(), Scratch::new());
    let all: String = kinds.iter().map(|(key, _)| key.pair.public_pem.as_str()).collect();
    let file = scratch.file("keys.pem", all);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-public-key-file", &file]).await;
    all_verify(&sidecar, kinds).await;
}

#[tokio::test]
async fn a_set_is_fetched_over_https_from_whom_the_ca_file_trusts() {
    let key = Key::new("a", Algorithm::ES256, Pair::p256());
    let issuer = Issuer::secure(Page::Json(set(&[&key]))).await;
    let scratch = Scratch::new();
    let trusted = scratch.file("ca.pem", Authority::shared().pem());
    let sidecar = super::following(&issuer, KEYS, &["--jwks-ca-file", &trusted]).await;
    assert_eq!(status(&sidecar, &key.sign(&claims())).await, 200);

    let other = scratch.file("other.pem", Authority::new().pem());
    let flags = ["--jwks-url", &issuer.url(KEYS), "--jwks-ca-file", &other];
    let untrusting = Sidecar::start(TestRedis::shared(), &flags).await;
    super::unfit(&untrusting, 1).await;
    assert_eq!(status(&untrusting, &key.sign(&claims())).await, 503);
}

#[tokio::test]
async fn an_alg_of_a_key_leaves_only_that_algorithm() {
    let mut key = Key::new("rsa", Algorithm::PS384, Pair::rsa());
    let sidecar = with_file(&set(&[&key]), &[]).await;
    assert_eq!(status(&sidecar, &key.sign(&claims())).await, 200);
    for other in [Algorithm::PS256, Algorithm::RS384, Algorithm::RS256] {
        key.algorithm = other;
        assert_eq!(status(&sidecar, &key.sign(&claims())).await, 401, "{other:?}");
    }
}

#[tokio::test]
async fn keys_without_names_verify_tokens_that_name_one() {
    let key = Key::new("a", Algorithm::EdDSA, Pair::ed25519());
    let mut all = set(&[&key]);
    all["keys"][0].as_object_mut().unwrap().remove("kid").unwrap();
    let sidecar = with_file(&json!({"keys": all["keys"], "extra": 7}), &[]).await;
    for name in [Some("anything"), None] {
        assert_eq!(status(&sidecar, &key.sign_as(name, &claims())).await, 200, "{name:?}");
    }
}
