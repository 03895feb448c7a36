//! A cluster that asks for client certificates, and one whose nodes have certificates that signed themselves.

use serde_json::json;

use super::SOON;
use super::redis::self_signed;
use crate::harness::certificates::Authority;
use crate::harness::{Cluster, Redundant, Scratch, Sidecar, eventually, unique};

/// A sidecar that is connected to every master, and has granted a lock of each.
async fn serves(sidecar: &Sidecar, cluster: &Cluster) {
    let place = cluster.place();
    let is_ready = async || {
        let ready = sidecar.ops("/readyz").await;
        ready.status == 200 && ready.text().contains(&place)
    };
    eventually("all masters are known", SOON, is_ready).await;
    for master in cluster.masters() {
        let key = loop {
            let key = unique("mutual");
            let redis_key = format!("{{lockside:{}}}:lock:{key}", crc32fast::hash(key.as_bytes()) % 64);
            if cluster.master(&redis_key) == master {
                break key;
            }
        };
        eventually("it is granted", SOON, async || {
            let call = sidecar.call("POST", &format!("/v1/locks/{key}"));
            call.json(&json!({"ttlMs": 30_000})).send().await.status == 201
        })
        .await;
    }
}

/// Sets every node so.
fn set(cluster: &Cluster, settings: &[&str]) {
    for node in 0..cluster.size() {
        cluster.ask::<String>(node, "CONFIG", &[&["SET"], settings].concat()).unwrap();
    }
}

/// Files of a certificate and its key.
fn pair(scratch: &Scratch, authority: &Authority) -> [String; 2] {
    let (certificate, key) = authority.issue(&["lockside"]);
    [scratch.file("redis.crt", certificate), scratch.file("redis.key", key)]
}

/// The nodes trust these client certificates from now on, and one another as before.
fn trust(cluster: &Cluster, scratch: &Scratch, name: &str, clients: &Authority) {
    let cas = scratch.file(name, [Authority::shared().pem(), clients.pem()].concat());
    set(cluster, &["tls-ca-cert-file", &cas]);
}

#[tokio::test]
async fn a_client_certificate_is_sent_to_every_node_and_renewed() {
    let (cluster, scratch) = (Cluster::with_tls(&[]), Scratch::new());
    let (first, second) = (Authority::new(), Authority::new());
    trust(&cluster, &scratch, "first.pem", &first);
    set(&cluster, &["tls-auth-clients", "yes"]);
    let url = cluster.url();
    Sidecar::says_why_not(&["--redis-url", &url], "set --redis-cert-file and --redis-key-file").await;
    let elsewhere = Scratch::new();
    let [certificate, key] = pair(&elsewhere, &second);
    let flags = ["--redis-url", &url, "--redis-cert-file", &certificate, "--redis-key-file", &key];
    Sidecar::says_why_not(&flags, "does not accept the certificate of --redis-cert-file").await;

    let [certificate, key] = pair(&scratch, &first);
    let sidecar = Sidecar::start_at(&url, &["--redis-cert-file", &certificate, "--redis-key-file", &key]).await;
    serves(&sidecar, &cluster).await;

    // To a node that was connected to for its map alone.
    cluster.switch(0);
    eventually("another master", SOON, async || !cluster.masters().contains(&0)).await;
    serves(&sidecar, &cluster).await;

    // Only a new pair is good at the next connection.
    pair(&scratch, &second);
    let reloaded = || sidecar.log().matches("secret reloaded").count();
    eventually("it is read", SOON, async || reloaded() == 1).await;
    trust(&cluster, &scratch, "second.pem", &second);
    for node in 0..cluster.size() {
        cluster.ask::<i64>(node, "CLIENT", &["KILL", "USER", "lockside"]).unwrap();
    }
    serves(&sidecar, &cluster).await;
}

#[tokio::test]
async fn certificates_of_nodes_that_signed_themselves_are_trusted_where_they_are_the_very_ones() {
    let (cluster, scratch) = (Cluster::with_tls(&[]), Scratch::new());
    let pairs: Vec<(String, String)> = (0..cluster.size()).map(|_| self_signed("127.0.0.1")).collect();
    let bundle = |pairs: &[(String, String)]| pairs.iter().map(|(own, _)| own.as_str()).collect::<String>();
    let all = scratch.file("all.pem", bundle(&pairs));
    let among_nodes = scratch.file("nodes.pem", [Authority::shared().pem(), bundle(&pairs)].concat());
    set(&cluster, &["tls-ca-cert-file", &among_nodes]);
    for (node, (own, key)) in pairs.iter().enumerate() {
        let (own, key) = (scratch.file(&format!("{node}.pem"), own), scratch.file(&format!("{node}.key"), key));
        let files = ["SET", "tls-cert-file", &own, "tls-key-file", &key];
        cluster.ask::<String>(node, "CONFIG", &files).unwrap();
    }
    let url = cluster.url();
    let sidecar = Sidecar::start_at(&url, &["--redis-ca-file", &all]).await;
    serves(&sidecar, &cluster).await;

    let twins: Vec<(String, String)> = pairs.iter().map(|_| self_signed("127.0.0.1")).collect();
    let twins = scratch.file("twins.pem", bundle(&twins));
    let flags = ["--redis-url", &url, "--redis-ca-file", &twins];
    Sidecar::says_why_not(&flags, "the certificate of `127.0.0.1:").await;
}
