//! Redis over TLS: who it must be, and what is said where it is not.

use std::time::Duration;

use serde_json::json;

use crate::harness::certificates::Authority;
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, free_port, unique};

#[tokio::test]
async fn a_lock_is_granted_over_tls_to_an_acl_user() {
    let redis = TestRedis::with_tls(&["localhost"], &[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let (key, path) = (unique("tls"), format!("/v1/locks/{}", unique("tls")));
    let lease = sidecar.call("POST", &path).json(&json!({"ttlMs": 30_000})).send().await;
    assert_eq!(lease.status, 201, "{key}: {}", lease.text());
    let clients: String = redis.ask("CLIENT", &["LIST"]);
    let ours: Vec<&str> = clients.lines().filter(|line| line.contains(" user=lockside ")).collect();
    let port = format!(" laddr=127.0.0.1:{} ", redis.tls_port());
    let port6 = format!(" laddr=[::1]:{} ", redis.tls_port());
    assert!(!ours.is_empty() && ours.iter().all(|line| line.contains(&port) || line.contains(&port6)), "{clients}");
}

#[tokio::test]
async fn whoever_is_not_vouched_for_is_not_spoken_to() {
    let redis = TestRedis::with_tls(&["localhost"], &[]);
    let scratch = Scratch::new();
    let other = scratch.file("other.pem", Authority::new().pem());
    Sidecar::says_why_not(
        &["--redis-url", &redis.url(), "--redis-ca-file", &other],
        "pass the CA file with --redis-ca-file",
    )
    .await;
    let url = format!("rediss://127.0.0.1:{}", redis.tls_port());
    Sidecar::says_why_not(&["--redis-url", &url], "is not for this name").await;
    let clients: String = redis.ask("CLIENT", &["LIST"]);
    assert!(!clients.contains(" user=lockside "), "no password was sent: {clients}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate_is_named_with_what_to_change() {
    let redis = TestRedis::with_tls(&["localhost"], &[]);
    redis.ask::<String>("CONFIG", &["SET", "tls-auth-clients", "yes"]);
    let sentence = format!("`localhost:{}` requires a client certificate", redis.tls_port());
    Sidecar::says_why_not(&["--redis-url", &redis.url()], &sentence).await;
}

#[tokio::test]
async fn a_server_whose_certificate_is_that_of_a_ca_is_named_with_what_to_change() {
    let (port, scratch) = (free_port(), Scratch::new());
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = scratch.file("own.pem", params.self_signed(&key).unwrap().pem());
    let key = scratch.file("own.key", key.serialize_pem());
    let tls = ["--tls-port", &port, "--tls-cert-file", &own, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let _redis = TestRedis::start_with(&[&tls[..], &["--tls-ca-cert-file", &own]].concat(), None);
    let sentence = format!("the certificate of `localhost:{port}` is that of a CA, such as one that signed itself");
    Sidecar::says_why_not(&["--redis-url", &format!("rediss://localhost:{port}")], &sentence).await;
}

#[tokio::test]
async fn a_wrong_password_says_what_to_mend() {
    let redis = TestRedis::with_tls(&["localhost"], &[]);
    let scratch = Scratch::new();
    let wrong = scratch.file("password", "a wrong one");
    let expected = "fix --redis-username or --redis-password-file (WRONGPASS";
    Sidecar::says_why_not(&["--redis-url", &redis.url(), "--redis-password-file", &wrong], expected).await;
}

#[tokio::test]
async fn a_port_that_speaks_otherwise_says_which_scheme_to_use() {
    let port = free_port();
    let redis = TestRedis::with_tls(&["localhost"], &["--port", &port]);
    Sidecar::says_why_not(
        &["--redis-url", &format!("rediss://localhost:{port}")],
        "does not use TLS; use redis:// instead of rediss://",
    )
    .await;
    let url = format!("redis://localhost:{}", redis.tls_port());
    Sidecar::says_why_not(&["--redis-url", &url], "uses TLS; use rediss:// instead of redis://").await;
}

#[tokio::test]
async fn a_connection_over_tls_comes_back() {
    let mut redis = TestRedis::with_tls(&["localhost"], &[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    redis.kill();
    let away = async || sidecar.ops("/readyz").await.status == 503;
    eventually("not ready", Duration::from_secs(5), away).await;
    redis.up();
    let back = async || sidecar.ops("/readyz").await.status == 200;
    let took = eventually("ready again", Duration::from_secs(10), back).await;
    println!("ready again after {took:?}");
}
