//! What ends a bundle before it is whole undoes each of its leases.

use std::sync::Arc;
use std::time::Duration;

use lockside::lock::{Key, KeySpace};
use serde_json::json;

use super::{
    acquire, fleet, force, free_within, granted, held, held_within, is_held, keys, named, of, one, release,
    release_one, renew,
};
use super::{waiters_are, waits};
use crate::harness::{Cluster, Proxy, Redundant, TestRedis, eventually, unique};

/// No lease is left behind for longer than this.
const NO_ORPHAN: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_client_that_goes_while_it_waits_leaves_nothing() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    let token = held(&sidecar, &c).await;
    let waiting = waits(&sidecar, of(&[&a, &b, &c], json!({"ttlMs": 60_000, "waitMs": 60_000})));
    waiters_are(&sidecar, &c, 1).await;
    assert!(is_held(&sidecar, &a).await && is_held(&sidecar, &b).await);

    waiting.abort();

    free_within(&sidecar, &[&a, &b], NO_ORPHAN).await;
    waiters_are(&sidecar, &c, 0).await;
    release_one(&sidecar, &c, token).await;
    assert!(!is_held(&sidecar, &c).await);
}

#[tokio::test]
async fn a_lease_that_is_forced_while_another_is_waited_for_ends_the_bundle() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    held(&sidecar, &c).await;
    let waiting = waits(&sidecar, of(&[&a, &b, &c], json!({"ttlMs": 1500, "waitMs": 60_000, "owner": "me"})));
    waiters_are(&sidecar, &c, 1).await;
    force(&sidecar, &b).await;

    // At the next renewal at the latest.
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("soon").unwrap();

    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("held")), "{problem}");
    assert_eq!((&problem["key"], &problem["lost"]), (&json!(b), &json!([b])), "{problem}");
    free_within(&sidecar, &[&a, &b], NO_ORPHAN).await;
    waiters_are(&sidecar, &c, 0).await;
}

#[tokio::test]
async fn a_sidecar_that_is_stopped_undoes_what_a_waiting_bundle_has() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    let [a, b, _] = keys();
    held(&sidecars[1], &b).await;
    let waiting = waits(&sidecars[0], of(&[&a, &b], json!({"ttlMs": 60_000, "waitMs": 60_000})));
    waiters_are(&sidecars[1], &b, 1).await;

    sidecars[0].signal("TERM");

    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("draining")), "{}", answer.text());
    free_within(&sidecars[1], &[&a], NO_ORPHAN).await;
}

#[tokio::test]
async fn keys_of_a_sidecar_that_is_killed_between_two_legs_come_back_at_their_ttl() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    let [a, b, _] = keys();
    let token = held(&sidecars[1], &b).await;
    let (asked, body) = (Arc::clone(&sidecars[0]), of(&[&a, &b], json!({"ttlMs": 1500, "waitMs": 60_000})));
    let waiting = tokio::spawn(async move { asked.call("POST", "/v1/bundles").json(&body).try_send().await });
    held_within(&sidecars[1], &a).await;
    waiters_are(&sidecars[1], &b, 1).await;

    sidecars[0].signal("KILL");

    assert!(waiting.await.unwrap().is_err(), "its connection broke");
    free_within(&sidecars[1], &[&a], Duration::from_millis(1500) + NO_ORPHAN).await;
    release_one(&sidecars[1], &b, token).await;
    eventually("both are to be had", Duration::from_secs(5), async || {
        acquire(&sidecars[1], &of(&[&a, &b], json!({}))).await.status == 201
    })
    .await;
}

#[tokio::test]
async fn redis_that_is_cut_off_in_the_middle_leaves_no_orphan() {
    let redis = TestRedis::start(&[]);
    let proxy = Proxy::start(&redis);
    let through = Arc::new(crate::harness::Sidecar::start_at(&proxy.url(), &[]).await);
    let beside = crate::harness::Sidecar::start(&redis, &[]).await;
    let [a, b, _] = keys();
    let token = held(&beside, &b).await;
    let waiting = waits(&through, of(&[&a, &b], json!({"ttlMs": 60_000, "waitMs": 3000})));
    waiters_are(&beside, &b, 1).await;

    proxy.set(crate::harness::Fault::SwallowReplies);

    let answer = waiting.await.unwrap();
    assert!(answer.status >= 400, "{}", answer.text());
    proxy.mend();
    // Long before it would end by itself.
    free_within(&beside, &[&a], NO_ORPHAN).await;
    release_one(&beside, &b, token).await;
    eventually("both are to be had", Duration::from_secs(10), async || {
        acquire(&through, &of(&[&a, &b], json!({}))).await.status == 201
    })
    .await;
}

#[tokio::test]
async fn a_waiting_bundle_takes_one_seat() {
    let sidecars = fleet(TestRedis::shared(), 1, &["--max-waiters", "1"]).await;
    let (sidecar, [a, b, c]) = (&sidecars[0], keys());
    let tokens = [held(sidecar, &b).await, held(sidecar, &c).await];
    let waiting = waits(sidecar, of(&[&a, &b, &c], json!({"ttlMs": 60_000, "waitMs": 60_000})));
    waiters_are(sidecar, &b, 1).await;
    let other = acquire(sidecar, &of(&[&unique("other"), &b], json!({"waitMs": 1000}))).await;
    assert_eq!((other.status, &other.json()["code"]), (429, &json!("too-many-waiters")), "{}", other.text());
    release_one(sidecar, &b, tokens[0]).await;
    waiters_are(sidecar, &c, 1).await;
    release_one(sidecar, &c, tokens[1]).await;
    assert_eq!(waiting.await.unwrap().status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_keys_of_several_masters_are_all_had_or_none() {
    let cluster = Cluster::start(&[]);
    let sidecar = Arc::new(crate::harness::Sidecar::start_at(&cluster.url(), &[]).await);
    let names: Vec<String> = (0..8).map(|n| unique(&format!("k{n}")).to_string()).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for wait_ms in [0, 1000] {
        let bundle = granted(&sidecar, &all, json!({"waitMs": wait_ms, "ttlMs": 20_000})).await;
        let leases = named(&bundle);
        assert_eq!(renew(&sidecar, &leases, 60_000).await.status, 200);
        force(&sidecar, all[3]).await;
        let lost = renew(&sidecar, &leases, 60_000).await;
        assert_eq!((lost.status, &lost.json()["lost"]), (410, &json!([all[3]])), "{}", lost.text());
        assert_eq!(release(&sidecar, &leases).await.status, 410);

        let token = held(&sidecar, all[5]).await;
        let refused = acquire(&sidecar, &of(&all, json!({"waitMs": wait_ms}))).await;
        assert_eq!((refused.status, &refused.json()["key"]), (409, &json!(all[5])), "{}", refused.text());
        release_one(&sidecar, all[5], token).await;
        free_within(&sidecar, &all, NO_ORPHAN).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_does_not_answer_keeps_no_key_of_another_from_its_release() {
    let mut cluster = Cluster::start(&[]);
    let sidecar = Arc::new(crate::harness::Sidecar::start_at(&cluster.url(), &[]).await);
    let names: Vec<String> = (0..12).map(|n| unique(&format!("k{n}")).to_string()).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let bundle = granted(&sidecar, &all, json!({"ttlMs": 600_000})).await;
    cluster.freeze(cluster.masters()[0]);

    let answer = release(&sidecar, &named(&bundle)).await;

    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (504, &json!("outcome-unknown")), "{problem}");
    let unknown: Vec<&str> = problem["unknown"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    let known: Vec<&str> = all.iter().copied().filter(|key| !unknown.contains(key)).collect();
    assert!(!unknown.is_empty() && !known.is_empty(), "{problem}");
    free_within(&sidecar, &known, NO_ORPHAN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_freezes_while_a_bundle_waits_leaves_no_key_of_another_behind() {
    let mut cluster = Cluster::start(&[]);
    let sidecar = Arc::new(crate::harness::Sidecar::start_at(&cluster.url(), &[]).await);
    let frozen = cluster.masters()[0];
    let space = KeySpace::new("lockside");
    let is_of_frozen = |key: &str| cluster.master(&space.lock(&Key::parse(key).expect("a key"))) == frozen;
    let names: Vec<String> = (0..12).map(|n| unique(&format!("k{n:02}")).to_string()).collect();
    // All others are asked for before it.
    let awaited = (0..).map(|n| unique(&format!("last{n}"))).find(|key| !is_of_frozen(key)).expect("some key");
    let (lost, kept): (Vec<&str>, Vec<&str>) = names.iter().map(String::as_str).partition(|key| is_of_frozen(key));
    assert!(!lost.is_empty() && !kept.is_empty());
    let token = held(&sidecar, &awaited).await;
    let all: Vec<&str> = names.iter().map(String::as_str).chain([&*awaited]).collect();
    let waiting = waits(&sidecar, of(&all, json!({"ttlMs": 60_000, "waitMs": 3000})));
    waiters_are(&sidecar, &awaited, 1).await;
    for key in &kept {
        held_within(&sidecar, key).await;
    }

    cluster.freeze(frozen);

    let answer = waiting.await.unwrap();
    assert!(answer.status >= 400, "{}", answer.text());
    free_within(&sidecar, &kept, NO_ORPHAN).await;
    waiters_are(&sidecar, &awaited, 0).await;
    release_one(&sidecar, &awaited, token).await;
}

#[tokio::test]
async fn no_bundle_is_held_for_longer_than_the_longest_hold() {
    let sidecar = fleet(TestRedis::shared(), 1, &["--max-hold", "2s"]).await.remove(0);
    for wait_ms in [0, 1000] {
        let [a, b, _] = keys();
        let bundle = granted(&sidecar, &[&a, &b], json!({"ttlMs": 60_000, "waitMs": wait_ms})).await;
        assert!(bundle["validForMs"].as_u64().unwrap() <= 2000, "{bundle}");
        let renewed = renew(&sidecar, &named(&bundle), 60_000).await;
        assert!(renewed.status == 410 || renewed.json()["validForMs"].as_u64().unwrap() <= 2000, "{}", renewed.text());
        free_within(&sidecar, &[&a, &b], Duration::from_secs(5)).await;
    }
}
