//! Settings of TLS that `serve` refuses, and those that it takes.

use serde_json::json;

use super::Stand;
use crate::harness::certificates::Authority;
use crate::harness::{Scratch, lockside, unique};

#[tokio::test]
async fn what_does_not_belong_together_is_refused_by_its_flag() {
    let scratch = Scratch::new();
    let (certificate, key) = Authority::shared().issue(&["localhost"]);
    let (_, foreign) = Authority::shared().issue(&["localhost"]);
    let (certificate, key) = (scratch.file("crt", certificate), scratch.file("key", key));
    let (foreign, none) = (scratch.file("foreign", foreign), scratch.file("none", "none"));
    let tls = "--listen=tls:127.0.0.1:0";
    let pair = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
    let redis = ["--redis-cert-file", &certificate, "--redis-key-file", &key];
    for (flags, says) in [
        (vec![tls], "--listen: `tls:127.0.0.1:0` needs a certificate"),
        (vec![tls, "--tls-cert-file", &certificate], "--tls-cert-file: given without its key"),
        (vec![tls, "--tls-key-file", &key], "--tls-key-file: given without its certificate"),
        (vec![tls, "--tls-cert-file", &certificate, "--tls-key-file", &foreign], "is not the key of the certificate"),
        (vec![tls, "--tls-cert-file", &none, "--tls-key-file", &key], "holds no certificate"),
        (vec![tls, "--tls-cert-file", &certificate, "--tls-key-file", &none], "holds no private key"),
        ([&[tls, "--tls-client-ca-file", &none], &pair[..]].concat(), "--tls-client-ca-file: "),
        ([&["--listen=127.0.0.1:0"], &pair[..]].concat(), "--tls-cert-file: given, but no listener speaks TLS"),
        (vec!["--tls-client-ca-file", &certificate], "--tls-client-ca-file: given, but no listener speaks TLS"),
        (vec!["--ops-listen=tls:127.0.0.1:0"], "--ops-listen: "),
        (vec!["--dapr-grpc-listen=tls:127.0.0.1:0"], "--dapr-grpc-listen: "),
        (vec!["--listen=tls:/socket"], "expected ip:port such as 127.0.0.1:7420, tls:ip:port, or unix:/path"),
        (redis.to_vec(), "--redis-cert-file: given, but --redis-url asks for no TLS"),
        (
            vec![
                "--redis-url=rediss://localhost:1",
                "--redis-ca-file",
                &certificate,
                "--redis-cert-file",
                &certificate,
            ],
            "--redis-cert-file: given without its key",
        ),
    ] {
        let ops = if flags[0].starts_with("--ops-listen") { &[][..] } else { &["--ops-listen=127.0.0.1:0"] };
        let run = lockside(&[&["serve"], ops, &flags].concat()).await;
        assert_eq!(run.code, Some(64), "{flags:?}: {}", run.output());
        assert!(run.stderr.contains(says), "{flags:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn beyond_loopback_a_listener_is_open_to_authenticated_callers_without_insecure() {
    let stand = Stand::with_clients(&["--listen", "tls:0.0.0.0:0"]).await;
    let path = format!("/v1/locks/{}", unique("beyond"));
    let granted = stand.named("spiffe://cluster.test/a").ask("POST", &path, Some(&json!({}))).await.expect("answered");
    assert_eq!(granted.status, 201, "{}", granted.text());
    assert!(stand.sidecar.log().contains("--anonymous none"), "{}", stand.sidecar.log());
}

#[tokio::test]
async fn tls_alone_authenticates_no_one() {
    let scratch = Scratch::new();
    let (certificate, key) = Authority::shared().issue(&["localhost"]);
    let pair = ["--tls-cert-file", &scratch.file("crt", certificate), "--tls-key-file", &scratch.file("key", key)];
    let ca = ["--tls-client-ca-file", &scratch.file("ca", Authority::shared().pem())];
    for flags in [
        [&["--listen=tls:0.0.0.0:0"], &pair[..]].concat(),
        // The certificates are asked for on the other listener.
        [&["--listen=tls:127.0.0.1:0,0.0.0.0:0"], &pair[..], &ca[..]].concat(),
    ] {
        let run = lockside(&[&["serve", "--ops-listen=127.0.0.1:0"], &flags[..]].concat()).await;
        assert_eq!(run.code, Some(64), "{flags:?}: {}", run.output());
        assert!(run.stderr.contains("no authentication is configured"), "{}", run.stderr);
    }
}
