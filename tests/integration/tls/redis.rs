//! A Redis, and sentinels, that ask for a client certificate; and one whose certificate signed itself.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::SOON;
use crate::harness::certificates::Authority;
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, free_port, server, unique};

async fn grants(sidecar: &Sidecar) {
    let path = format!("/v1/locks/{}", unique("mutual"));
    let lease = sidecar.call("POST", &path).json(&json!({"ttlMs": 30_000})).send().await;
    assert_eq!(lease.status, 201, "{}", lease.text());
}

/// A Redis that asks for client certificates, and the files of one for it.
fn strict() -> (TestRedis, Scratch, [String; 2]) {
    let redis = TestRedis::with_tls(&["localhost"], &[]);
    redis.ask::<String>("CONFIG", &["SET", "tls-auth-clients", "yes"]);
    let scratch = Scratch::new();
    let (certificate, key) = Authority::shared().issue(&["lockside"]);
    let files = [scratch.file("redis.crt", certificate), scratch.file("redis.key", key)];
    (redis, scratch, files)
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_renewed() {
    let (redis, scratch, [certificate, key]) = strict();
    let flags = ["--redis-cert-file", &certificate, "--redis-key-file", &key];
    let sidecar = Sidecar::start(&redis, &flags).await;
    grants(&sidecar).await;

    // Only a new pair is good at the next connection.
    let other = Authority::new();
    let (renewed, renewed_key) = other.issue(&["lockside"]);
    scratch.file("redis.crt", renewed);
    scratch.file("redis.key", renewed_key);
    let reloaded = || sidecar.log().matches("secret reloaded").count();
    eventually("it is read", SOON, async || reloaded() == 1).await;
    let ca = scratch.file("ca.pem", other.pem());
    redis.ask::<String>("CONFIG", &["SET", "tls-ca-cert-file", &ca]);
    redis.ask::<i64>("CLIENT", &["KILL", "TYPE", "normal", "USER", "lockside"]);
    eventually("it is ready", SOON, async || sidecar.ops("/readyz").await.status == 200).await;
    eventually("it is granted", SOON, async || {
        let path = format!("/v1/locks/{}", unique("mutual"));
        sidecar.call("POST", &path).json(&json!({})).send().await.status == 201
    })
    .await;
}

#[tokio::test]
async fn without_one_or_with_a_wrong_one_the_flags_are_named() {
    let (redis, scratch, [certificate, key]) = strict();
    Sidecar::says_why_not(&["--redis-url", &redis.url()], "set --redis-cert-file and --redis-key-file").await;
    let (foreign, foreign_key) = Authority::new().issue(&["lockside"]);
    let (foreign, foreign_key) = (scratch.file("foreign.crt", foreign), scratch.file("foreign.key", foreign_key));
    let flags = ["--redis-url", &redis.url(), "--redis-cert-file", &foreign, "--redis-key-file", &foreign_key];
    Sidecar::says_why_not(&flags, "does not accept the certificate of --redis-cert-file").await;
    let sidecar = Sidecar::start(&redis, &["--redis-cert-file", &certificate, "--redis-key-file", &key]).await;
    grants(&sidecar).await;
}

/// A sentinel that speaks TLS alone, and asks for client certificates.
struct Sentinel {
    child: Child,
    port: String,
    _scratch: Scratch,
}

impl Sentinel {
    fn start(master: &str) -> Sentinel {
        let (port, scratch) = (free_port(), Scratch::new());
        let (certificate, key) = Authority::shared().issue(&["localhost"]);
        let (certificate, key) = (scratch.file("crt", certificate), scratch.file("key", key));
        let ca = scratch.file("ca", Authority::shared().pem());
        let tls = format!("tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {ca}\n");
        let own = format!("port 0\ntls-port {port}\ntls-auth-clients yes\ntls-replication yes\n");
        let watched = format!(
            "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel monitor main localhost {master} 1\n"
        );
        let config = scratch.file("sentinel.conf", format!("{tls}{own}{watched}dir {}\n", scratch.path("")));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", &server(), &config, "--sentinel"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server starts");
        Sentinel { child, port, _scratch: scratch }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_sentinels_too() {
    let (redis, _scratch, [certificate, key]) = strict();
    let sentinel = Sentinel::start(redis.tls_port());
    let url = format!("rediss-sentinel://localhost:{}?master=main", sentinel.port);
    let flags = ["--redis-cert-file", &certificate, "--redis-key-file", &key];
    let sidecar = Sidecar::start_at(&url, &flags).await;
    grants(&sidecar).await;
}

/// A certificate that signed itself, and its key.
pub fn self_signed(name: &str) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_where_it_is_the_very_one() {
    let (port, scratch) = (free_port(), Scratch::new());
    let (own, key) = self_signed("localhost");
    let (own, key) = (scratch.file("own.pem", own), scratch.file("own.key", key));
    let tls = ["--tls-port", &port, "--tls-cert-file", &own, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let _redis = TestRedis::start_with(&[&tls[..], &["--tls-ca-cert-file", &own]].concat(), None);
    let url = format!("rediss://localhost:{port}");
    // Without the ACL user of the harness, whom this Redis has not.
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--log-format", "json"]);
    command.args(["--redis-url", &url, "--redis-ca-file", &own]);
    let sidecar = Sidecar::of(command);
    eventually("it is ready", SOON, async || sidecar.ops("/readyz").await.status == 200).await;
    grants(&sidecar).await;
    let twin = scratch.file("twin.pem", self_signed("localhost").0);
    Sidecar::says_why_not(&["--redis-url", &url, "--redis-ca-file", &twin], &format!("`localhost:{port}`")).await;
    let address = format!("rediss://127.0.0.1:{port}");
    Sidecar::says_why_not(&["--redis-url", &address, "--redis-ca-file", &own], "is not for this name").await;
}
