//! A bundle whose hold is at one sidecar, and is repeated or released at another.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{fleet, free_within, held_within, named, of};
use crate::harness::http::Lines;
use crate::harness::{Cluster, Redundant, Sidecar, TestRedis, unique};

/// The hold of an attempt of this name, and its first line.
async fn hold(sidecar: &Sidecar, name: &str, body: &Value) -> (Lines, Value) {
    let call = sidecar.call("POST", "/v1/bundles/hold").header("idempotency-key", name);
    let mut lines = call.json(body).open().await;
    assert_eq!(lines.status, 200);
    let first = lines.next().await.expect("a line");
    assert_eq!(first["event"], "acquired", "{first}");
    (lines, first)
}

fn tokens(acquired: &Value) -> BTreeMap<String, u64> {
    let leases = acquired["leases"].as_array().expect("leases").iter();
    leases.map(|lease| (lease["key"].to_string(), lease["token"].as_u64().expect("a token"))).collect()
}

fn several(count: usize) -> Vec<String> {
    (0..count).map(|n| unique(&format!("k{n}")).to_string()).collect()
}

/// The leases are taken over one after another, and the sidecar that had them hears of the first before the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_the_hold_moves_to_the_successor_with_all_its_tokens() {
    let cluster = Cluster::start(&[]);
    let [old, successor] = [
        Sidecar::start_at(&cluster.url(), &["--shutdown-grace", "10s"]).await,
        Sidecar::start_at(&cluster.url(), &[]).await,
    ];
    let names = several(16);
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let body = of(&keys, json!({"ttlMs": 60_000, "owner": "me"}));
    let (mut lines, first) = hold(&old, "once", &body).await;
    for round in 0..9 {
        if round == 8 {
            old.signal("TERM");
            assert_eq!(lines.news().await.expect("a line")["event"], "draining");
        }
        let there = if round % 2 == 0 { &successor } else { &old };
        let (moved, again) = hold(there, "once", &body).await;
        assert_eq!(tokens(&again), tokens(&first), "round {round}");
        // The client has what it asked for, and closes the connection that it had.
        lines = moved;
    }
    held_within(&successor, keys[15]).await;
    drop(lines);
    free_within(&successor, &keys, Duration::from_secs(3)).await;
}

/// The sidecar that has the hold hears of the first release, and is not to be faster with the others.
#[tokio::test]
async fn a_release_at_another_sidecar_finds_all_its_leases() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    let names = several(3);
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    for round in 0..50 {
        let body = of(&keys, json!({"ttlMs": 60_000, "owner": "me"}));
        let (mut lines, first) = hold(&sidecars[0], &format!("round {round}"), &body).await;

        let release = sidecars[1].call("POST", "/v1/bundles/release").json(&json!({"leases": named(&first)}));
        let answer = release.send().await;

        assert_eq!(answer.status, 204, "round {round}: {}", answer.text());
        assert_eq!(lines.news().await.expect("a line")["event"], "released");
    }
}
