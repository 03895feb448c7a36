//! Settings of TLS that `serve` refuses, and those that it takes.

use serde_json::json;

use super::Stand;
use crate::harness::certificates::Authority;
use crate::harness::{API_TOKEN, Scratch, jwt, lockside, unique};

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

/// Whether client certificates are asked for, where it listens, what else is set; the level of callers without a
/// credential, and what the list of locks is answered with: to a caller with a certificate where one is asked for, else
/// to one with nothing.
const LEVELS: [(bool, &str, &[&str], &str, u16); 12] = [
    (false, LOOPBACK, &[], "full", 200),
    (false, LOOPBACK, &["jwt"], "lock", 200),
    (false, LOOPBACK, &["token"], "none", 401),
    (false, LOOPBACK, &["--anonymous=none"], "none", 401),
    (false, BEYOND, &["token"], "none", 401),
    (false, BEYOND, &["jwt"], "none", 401),
    (false, BEYOND, &["--insecure"], "full", 200),
    (true, LOOPBACK, &[], "none", 200),
    (true, LOOPBACK, &["jwt", "token"], "none", 200),
    (true, BEYOND, &[], "none", 200),
    (true, BEYOND, &["jwt", "--anonymous=full"], "none", 200),
    (true, BEYOND, &["--insecure"], "none", 200),
];
const LOOPBACK: &str = "tls:127.0.0.1:0";
const BEYOND: &str = "tls:0.0.0.0:0";

#[tokio::test]
async fn what_callers_may_do_over_tls_follows_from_what_is_configured_and_is_said_at_start() {
    let scratch = Scratch::new();
    let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", API_TOKEN));
    for (has_clients, listen, settings, level, status) in LEVELS {
        let mut flags = vec!["--listen", listen];
        for setting in settings {
            match *setting {
                "jwt" => flags.extend(["--jwt-secret-file", &secret]),
                "token" => flags.extend(["--api-token-file", &token]),
                flag => flags.push(flag),
            }
        }
        let (stand, client) = if has_clients {
            let stand = Stand::with_clients(&flags).await;
            let client = stand.named("spiffe://cluster.test/a");
            (stand, client)
        } else {
            let stand = Stand::without_clients(&flags).await;
            let client = stand.client(None);
            (stand, client)
        };
        let answer = client.ask("GET", "/v1/locks", None).await.expect("answered");
        assert_eq!(answer.status, status, "{has_clients} {flags:?}: {}", answer.text());
        let log = stand.sidecar.log();
        assert!(log.contains(&format!("--anonymous {level}")), "{has_clients} {flags:?}: {log}");
    }
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
