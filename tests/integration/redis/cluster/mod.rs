//! A cluster: what it is asked, and what is said where Redis is none, or not as the settings say.

mod lines;
mod messages;
mod partial;
mod several;

use std::time::Duration;

use crate::harness::certificates::Authority;
use crate::harness::topology::ACL_USER;
use crate::harness::{
    Cluster, Redundant, Scratch, Sidecar, TestRedis, cluster, eventually, free_port, lockside, unique,
};

/// A free key of a master, by its path.
fn path_at(cluster: &Cluster, master: usize) -> String {
    loop {
        let key = unique("at");
        let redis_key = format!("{{lockside:{}}}:lock:{key}", crc32fast::hash(key.as_bytes()) % 64);
        if cluster.master(&redis_key) == master {
            return format!("/v1/locks/{key}");
        }
    }
}

/// A sidecar that is connected to every master: it is ready as soon as it is to one.
async fn sidecar_at_all(cluster: &Cluster, flags: &[&str]) -> Sidecar {
    let (sidecar, place) = (Sidecar::start_at(&cluster.url(), flags).await, cluster.place());
    let knows_all = async || sidecar.ops("/readyz").await.text().contains(&place);
    eventually("all masters are known", Duration::from_secs(10), knows_all).await;
    sidecar
}

#[tokio::test]
async fn a_plain_redis_is_no_cluster() {
    let port = free_port();
    let _redis = TestRedis::start_with(&["--port", &port], None);
    let url = format!("redis-cluster://127.0.0.1:{port}");
    Sidecar::says_why_not(&["--redis-url", &url], "is no node of a cluster; use redis:// for one redis").await;
}

#[tokio::test]
async fn a_cluster_that_is_made_later_is_found() {
    let port = cluster::free_port().to_string();
    let args = ["--port", &port, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
    let redis = TestRedis::start_with(&args, None);
    let sidecar = Sidecar::spawn(&["--redis-url".to_owned(), format!("redis-cluster://127.0.0.1:{port}")]);
    let says = async |text: &str| {
        let is_said = async || sidecar.ops("/readyz").await.text().contains(text);
        eventually(text, Duration::from_secs(10), is_said).await;
    };
    says("16384 slots have no master").await;
    redis.ask::<()>("CLUSTER", &["ADDSLOTSRANGE", "0", "16383"]);
    says("ready\nredis: a cluster, its masters ").await;
    // Made anew at the same address.
    // No key may be left, and lockside probes.
    eventually("it is reset", Duration::from_secs(10), async || {
        let mut connection = redis.connection();
        redis::cmd("FLUSHALL").query::<()>(&mut connection).unwrap();
        redis::cmd("CLUSTER").arg("RESET").arg("HARD").query::<()>(&mut connection).is_ok()
    })
    .await;
    says("16384 slots have no master").await;
    redis.ask::<()>("CLUSTER", &["ADDSLOTSRANGE", "0", "16383"]);
    says("ready\nredis: a cluster, its masters ").await;
    assert_eq!(sidecar.call("POST", "/v1/locks/later").send().await.status, 201);
}

#[tokio::test]
async fn a_node_of_a_cluster_is_not_one_redis() {
    let cluster = Cluster::start(&[]);
    let url = format!("redis://127.0.0.1:{}", cluster.port(0));
    Sidecar::says_why_not(&["--redis-url", &url], "redis-cluster://").await;
}

#[tokio::test]
async fn a_cluster_has_no_databases_and_no_raw_keys() {
    for (url, flags, named) in [
        ("redis-cluster://127.0.0.1:1/1", &[][..], "--redis-url"),
        ("redis-cluster://127.0.0.1:1", &["--raw-keys"], "--raw-keys"),
    ] {
        let run = lockside(&[&["serve", "--redis-url", url][..], flags].concat()).await;
        assert_eq!(run.code, Some(64), "{url}: {}", run.stderr);
        assert!(run.stderr.contains(named) && run.stderr.to_lowercase().contains("cluster has"), "{}", run.stderr);
    }
}

#[tokio::test]
async fn a_cluster_speaks_tls_and_knows_its_user() {
    let cluster = Cluster::with_tls(&[]);
    let (url, scratch) = (cluster.url(), Scratch::new());
    let wrong = scratch.file("password", "a wrong one");
    let expected = "fix --redis-username or --redis-password-file (WRONGPASS";
    Sidecar::says_why_not(&["--redis-url", &url, "--redis-password-file", &wrong], expected).await;
    let other = scratch.file("other.pem", Authority::new().pem());
    let expected = "pass the CA file with --redis-ca-file";
    Sidecar::says_why_not(&["--redis-url", &url, "--redis-ca-file", &other], expected).await;

    let sidecar = Sidecar::start_at(&url, &[]).await;
    assert!(sidecar.ops("/readyz").await.text().contains(&cluster.place()));
    are_granted(&sidecar, &cluster).await;
    for master in cluster.masters() {
        let clients: String = cluster.ask(master, "CLIENT", &["LIST"]).unwrap();
        assert!(clients.contains(&format!(" user={ACL_USER} ")), "{clients}");
    }

    cluster.switch(0);
    eventually("another master", Duration::from_secs(10), async || !cluster.masters().contains(&0)).await;
    let place = async || sidecar.ops("/readyz").await.text().contains(&cluster.place());
    eventually("the next master is known", Duration::from_secs(10), place).await;
    are_granted(&sidecar, &cluster).await;

    for node in 0..cluster.size() {
        cluster.ask::<()>(node, "ACL", &["SETUSER", ACL_USER, "-cluster", "-cluster|nodes"]).unwrap();
    }
    Sidecar::says_why_not(&["--redis-url", &url], "+cluster|nodes").await;
}

/// Takes a lock of each master.
async fn are_granted(sidecar: &Sidecar, cluster: &Cluster) {
    for master in cluster.masters() {
        let path = path_at(cluster, master);
        let lease = sidecar.call("POST", &path).json(&serde_json::json!({"ttlMs": 1000})).send().await;
        assert_eq!(lease.status, 201, "{}", lease.text());
    }
}
