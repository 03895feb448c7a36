//! `--min-replicas`: a promise that counts only once replicas have it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::LONGEST;
use super::blows::{Blow, strike};
use super::load::Load;
use crate::harness::history::Fault;
use crate::harness::{Cluster, Redundant, Sidecar, TestRedis, Trio, eventually, free_port, unique};

const COUNTS: [&str; 4] = ["--min-replicas", "1", "--replica-timeout", "300ms"];

/// A master and its one replica.
fn pair() -> (TestRedis, TestRedis) {
    let (port, own) = (free_port(), free_port());
    let master = TestRedis::start_with(&["--port", &port, "--repl-diskless-sync-delay", "0"], None);
    let address = format!("127.0.0.1 {port}");
    let replica = TestRedis::start_with(&["--port", &own, "--replicaof", &address], None);
    let begun = Instant::now();
    while !master.ask::<String>("INFO", &["replication"]).contains("state=online") {
        assert!(begun.elapsed() < Duration::from_secs(10), "the replica does not follow");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Online, it may still take a second until it says what it has.
    let mut connection = master.connection();
    redis::cmd("SET").arg(&["written", "again"]).query::<()>(&mut connection).unwrap();
    let count: u32 = redis::cmd("WAIT").arg(&["1", "10000"]).query(&mut connection).unwrap();
    assert_eq!(count, 1, "the replica says what it has");
    (master, replica)
}

#[tokio::test]
async fn a_grant_that_too_few_replicas_have_is_taken_back_and_a_renewal_is_unknown() {
    let (master, replica) = pair();
    let prefix = unique("counts");
    let sidecar = Sidecar::start(&master, &[&COUNTS[..], &["--key-prefix", &prefix]].concat()).await;
    let body = json!({"ttlMs": 60_000, "owner": "web-3"});
    let lease = sidecar.call("POST", "/v1/locks/before").json(&body).send().await;
    assert_eq!(lease.status, 201, "{}", lease.text());
    let shared = json!({"ttlMs": 60_000, "owner": "web-3", "mode": "shared"});
    let share = sidecar.call("POST", "/v1/locks/before-too").json(&shared).send().await;
    assert_eq!(share.status, 201, "{}", share.text());
    let before = [("before", lease), ("before-too", share)]
        .map(|(key, lease)| format!("/v1/locks/{key}?token={}", lease.json()["token"]));
    let locks = |redis: &TestRedis| redis.ask::<Vec<String>>("KEYS", &[&format!("{{{prefix}:*}}:lock:*")]).len();
    assert_eq!(locks(&replica), 2, "the replica has them by the time of the answer");

    replica.signal("STOP");
    for (body, name) in [(&body, None), (&body, Some("named")), (&shared, None), (&shared, Some("named-share"))] {
        let call = sidecar.call("POST", "/v1/locks/during").json(body);
        let call = if let Some(name) = name { call.header("idempotency-key", name) } else { call };
        let refused = call.send().await;
        assert_eq!(
            (refused.status, refused.json()["outcome"].as_str()),
            (503, Some("not-applied")),
            "{}",
            refused.text()
        );
        assert_eq!(refused.json()["code"], "redis-refused", "it was reached");
        assert_eq!(locks(&master), 2, "taken back before the answer: {body}");
    }
    let several = json!({"keys": [{"key": "during"}, {"key": "during-too", "mode": "shared"}], "ttlMs": 60_000});
    let refused = sidecar.call("POST", "/v1/bundles").json(&several).send().await;
    assert_eq!((refused.status, refused.json()["outcome"].as_str()), (503, Some("not-applied")), "{}", refused.text());
    assert_eq!(locks(&master), 2, "each key is rolled back before the answer");
    // A share that is refused leaves those beside it.
    let beside = sidecar.call("POST", "/v1/locks/before-too").json(&shared).send().await;
    assert_eq!((beside.status, beside.json()["outcome"].as_str()), (503, Some("not-applied")), "{}", beside.text());
    let shown = sidecar.call("GET", "/v1/locks/before-too").send().await.json();
    assert_eq!(shown["sharedBy"], 1, "{shown}");
    for lease in &before {
        let renewal = sidecar.call("PUT", lease).json(&json!({})).send().await;
        assert_eq!((renewal.status, renewal.json()["outcome"].as_str()), (504, Some("unknown")), "{}", renewal.text());
    }
    // What promises nothing waits for nobody.
    let held = sidecar.call("POST", "/v1/locks/before").json(&body).send().await;
    assert_eq!(held.status, 409, "{}", held.text());
    let metrics = sidecar.ops("/metrics").await;
    assert!(metrics.text().contains("error=\"unreplicated\""), "{}", metrics.text());

    replica.signal("CONT");
    let granted = async || sidecar.call("POST", "/v1/locks/during").json(&body).send().await.status == 201;
    eventually("granted again", Duration::from_secs(10), granted).await;
    for lease in &before {
        assert_eq!(sidecar.call("PUT", lease).json(&json!({})).send().await.status, 200, "{lease}");
    }
}

#[tokio::test]
async fn without_replicas_no_grant_counts_and_lockside_is_not_ready() {
    let (master, mut replica) = pair();
    let sidecar = Sidecar::start(&master, &COUNTS).await;
    replica.kill();
    let expected = "--min-replicas asks for 1 replicas, and redis has 0";
    eventually(expected, Duration::from_secs(20), async || {
        let ready = sidecar.ops("/readyz").await;
        ready.status == 503 && ready.text().contains(expected)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waiting_for_a_replica_costs() {
    let (master, _replica) = pair();
    let mut medians = Vec::new();
    for flags in [&[][..], &COUNTS] {
        let sidecar = Sidecar::start(&master, flags).await;
        let mut took = Vec::new();
        for _ in 0..100 {
            let begun = Instant::now();
            let path = format!("/v1/locks/{}", unique("cost"));
            let lease = sidecar.call("POST", &path).json(&json!({"ttlMs": 1000})).send().await;
            took.push(begun.elapsed());
            assert_eq!(lease.status, 201);
        }
        took.sort();
        medians.push(took[took.len() / 2]);
    }
    println!("an acquire, alone: {:?}; on one replica: {:?}", medians[0], medians[1]);
    assert!(medians[1] < medians[0] + Duration::from_millis(50), "{medians:?}");
}

/// How often each blow falls: `make failover` has more.
fn rounds() -> usize {
    std::env::var("FAILOVERS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// Blow after blow under load; every fault that a checker finds.
async fn after<R: Redundant>(blows: &[Blow], flags: &[&str]) -> Vec<Fault> {
    let mut redis = R::start(&["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"]);
    let load = Load::on(&redis, flags).await;
    for _ in 0..rounds() {
        for blow in blows {
            load.next_grant(LONGEST).await;
            let took = strike(&mut redis, &load.redis_key("0"), *blow);
            let beyond = load.served("0", LONGEST).await;
            println!("{blow:?}: redis took {took:?}, lockside {beyond:?} more");
            redis.settled();
        }
    }
    load.next_grant(LONGEST).await;
    let count = load.history.len();
    let faults = load.end().await;
    println!("{count} stretches, {} failovers, {} faults", rounds() * blows.len(), faults.len());
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_replica_no_two_hold_a_key_when_masters_die() {
    assert_eq!(after::<Trio>(&[Blow::Killed, Blow::Frozen], &COUNTS).await, []);
}

/// A switch by hand in a cluster waits until the replica has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_replica_no_two_hold_a_key_when_masters_of_a_cluster_die_or_are_switched() {
    assert_eq!(after::<Cluster>(&[Blow::Killed, Blow::Frozen, Blow::Switched], &COUNTS).await, []);
}

/// A switch by sentinels picks a replica that the last grant may not have reached yet, where another one has it and only one
/// counts; so all of them must.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_all_replicas_no_two_hold_a_key_when_masters_are_switched() {
    let counts = ["--min-replicas", "2", "--replica-timeout", "300ms"];
    assert_eq!(after::<Trio>(&[Blow::Switched], &counts).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_replica_tokens_rise_when_masters_are_switched() {
    let faults = after::<Trio>(&[Blow::Switched], &COUNTS).await;
    assert!(faults.iter().all(Fault::may_follow_a_loss), "{faults:?}");
}
