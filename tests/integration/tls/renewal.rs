//! Files that are renewed while the sidecar runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::{SOON, Stand};
use crate::harness::certificates::Authority;
use crate::harness::{Secure, eventually, unique};

const JOB: &str = "spiffe://cluster.test/ns/jobs/sa/importer";

/// Whether the listener shows this certificate.
async fn shows(client: &Secure, pem: &str) -> bool {
    let stream = client.shake().await.expect("a handshake");
    let shown = stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone();
    shown == CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_under_load_without_a_failed_request() {
    let stand = Stand::with_clients(&[]).await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, stop, count) = (stand.named(JOB), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                let mut kept = client.connect().await.expect("connected");
                while !stop.load(Ordering::Relaxed) {
                    let path = format!("/v1/locks/{}", unique("renewed"));
                    let answer = kept.ask("POST", &path, Some(&json!({"ttlMs": 1000}))).await.expect("answered");
                    assert_eq!(answer.status, 201, "{}", answer.text());
                    assert_eq!(client.ask("GET", &path, None).await.expect("answered").status, 200);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let client = stand.named(JOB);
    for _ in 0..3 {
        let (certificate, key) = Authority::shared().issue(&["localhost"]);
        stand.scratch.file("tls.crt", &certificate);
        stand.scratch.file("tls.key", &key);
        eventually("it is shown", SOON, async || shows(&client, &certificate).await).await;
    }
    let asked = count.load(Ordering::Relaxed);
    eventually("they go on", SOON, async || count.load(Ordering::Relaxed) > asked + 8).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no request failed");
    }
}

#[tokio::test]
async fn a_pair_that_does_not_fit_keeps_the_old_one() {
    let stand = Stand::without_clients(&[]).await;
    let [unfit, fit] = [1, 0].map(|value| format!("lockside_secret_file_unfit{{flag=\"tls-cert-file\"}} {value}"));
    let read = |name: &str| std::fs::read_to_string(stand.scratch.path(name)).expect("a file");
    let (old, old_key) = (read("tls.crt"), read("tls.key"));
    let client = stand.client(None);
    let (new, key) = Authority::shared().issue(&["localhost"]);
    for (certificate, key) in [(new.as_str(), old_key.as_str()), (&old, &key), ("no PEM", &old_key), (&old, "none")] {
        stand.scratch.file("tls.crt", certificate);
        stand.scratch.file("tls.key", key);
        eventually("it is told", SOON, async || stand.metric(&unfit).await).await;
        assert!(shows(&client, &old).await);
        stand.scratch.file("tls.crt", &old);
        stand.scratch.file("tls.key", &old_key);
        eventually("it is taken back", SOON, async || stand.metric(&fit).await).await;
    }
    let log = stand.sidecar.log();
    assert!(log.contains("is not the key of the certificate in"), "{log}");
    stand.scratch.file("tls.crt", &new);
    stand.scratch.file("tls.key", &key);
    eventually("the new one is shown", SOON, async || shows(&client, &new).await).await;
}

#[tokio::test]
async fn a_ca_that_is_taken_away_ends_what_its_certificates_began() {
    let other = Authority::new();
    let stand = Stand::start(&[Authority::shared().pem(), other.pem()], &[]).await;
    let clients = [stand.client(Some(&other.issue_to(JOB))), stand.named(JOB)];
    let keys = [unique("leaving"), unique("staying")];
    let mut held = Vec::new();
    for (client, key) in clients.iter().zip(&keys) {
        let mut connection = client.connect().await.expect("connected");
        let path = format!("/v1/locks/{key}/hold");
        let mut lines = connection.open("POST", &path, &json!({"ttlMs": 1500})).await;
        assert_eq!(lines.news().await.expect("a line")["event"], "acquired");
        held.push((lines, connection));
    }
    let mut kept = clients[0].connect().await.expect("connected");
    assert_eq!(kept.ask("GET", "/v1/locks", None).await.expect("answered").status, 200);
    stand.scratch.file("clients.pem", Authority::shared().pem());
    eventually("no new connection", SOON, async || clients[0].ask("GET", "/v1/locks", None).await.is_err()).await;
    let refused = kept.ask("GET", "/v1/locks", None).await.expect("answered");
    assert_eq!(refused.status, 401, "{}", refused.text());
    let (lines, _) = &mut held[0];
    let lost = loop {
        let line = lines.news().await.expect("a last line");
        if line["event"] != "renewed" {
            break line;
        }
    };
    assert_eq!((&lost["event"], &lost["reason"]), (&json!("lost"), &json!("unauthorized")), "{lost}");
    let state = clients[1].ask("GET", &format!("/v1/locks/{}", keys[1]), None).await.expect("answered");
    assert_eq!(state.json()["state"], "held", "{}", state.text());
}

#[tokio::test]
async fn a_ca_file_that_is_none_keeps_the_old_one() {
    let stand = Stand::with_clients(&[]).await;
    let unfit = r#"lockside_secret_file_unfit{flag="tls-client-ca-file"} 1"#;
    assert!(stand.metric(&unfit.replace("} 1", "} 0")).await);
    stand.scratch.file("clients.pem", "none");
    eventually("it is told", SOON, async || stand.metric(unfit).await).await;
    assert_eq!(stand.named(JOB).ask("GET", "/v1/locks", None).await.expect("answered").status, 200);
    assert!(stand.client(None).ask("GET", "/v1/locks", None).await.is_err());
}
