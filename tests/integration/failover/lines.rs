//! Who waits and who holds when another server becomes the master, or a slot another's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::blows::{Blow, strike};
use super::load::redis_key;
use super::{BEYOND, LONGEST};
use crate::harness::{Answer, Cluster, Redundant, Sidecar, Trio, eventually, unique};

/// A key that a stream holds, and one that is held by a caller while another waits for it, both at one master.
struct Line {
    sidecar: Sidecar,
    prefix: String,
    held: String,
    wanted: String,
}

impl Line {
    async fn on(redis: &impl Redundant) -> Line {
        let prefix = unique("line");
        let sidecar = Sidecar::start_at(&redis.url(), &["--key-prefix", &prefix]).await;
        let held = unique("held");
        let master = redis.master(&redis_key(&prefix, &held));
        let wanted = loop {
            let wanted = unique("wanted");
            if redis.master(&redis_key(&prefix, &wanted)) == master {
                break wanted;
            }
        };
        Line { sidecar, prefix, held, wanted }
    }

    fn redis_keys(&self) -> [String; 2] {
        [&self.held, &self.wanted].map(|key| redis_key(&self.prefix, key))
    }

    /// Has `happen` come over those who hold and wait; the waiter is served afterwards, and the stream goes on.
    async fn outlives(&self, happen: impl FnOnce()) {
        let Line { sidecar, held, wanted, .. } = self;
        let call = sidecar.call("POST", &format!("/v1/locks/{held}/hold")).json(&json!({"ttlMs": 30_000}));
        let mut hold = call.open().await;
        let acquired = hold.next().await.expect("a first line");
        assert_eq!(acquired["event"], "acquired");
        let path = format!("/v1/locks/{wanted}");
        let first = sidecar.call("POST", &path).json(&json!({"ttlMs": 60_000})).send().await.json();
        let call = sidecar.call("POST", &path).json(&json!({"ttlMs": 5000, "waitMs": 60_000}));
        let send = call.send();
        tokio::pin!(send);
        let waits = async || sidecar.call("GET", &path).send().await.json()["waiters"] == 1;
        tokio::select! {
            answer = &mut send => panic!("answered early: {}", answer.text()),
            _ = eventually("it waits", Duration::from_secs(5), waits) => {}
        }
        happen();
        let release = format!("{path}?token={}", first["token"]);
        let released = async || matches!(sidecar.call("DELETE", &release).send().await.status, 204 | 410);
        let came_back = tokio::select! {
            // The master went before it had heard of the lock: then it may be granted at once.
            answer = &mut send => { was_granted_after(&first, &answer); Duration::ZERO }
            took = eventually("released at the new master", LONGEST, released) => {
                let begun = Instant::now();
                let answer = tokio::time::timeout(Duration::from_secs(10), send).await.expect("served in time");
                was_granted_after(&first, &answer);
                println!("released after {took:?}, and the waiter was granted {:?} later", begun.elapsed());
                assert!(begun.elapsed() < Duration::from_secs(5), "a second, where its message is lost");
                took
            }
        };
        assert!(came_back < BEYOND * 2, "{came_back:?}");
        let look = sidecar.call("GET", &format!("/v1/locks/{held}")).send().await.json();
        assert_eq!(look["state"], "held", "{look}");
        assert_eq!(look["holder"]["token"], acquired["token"], "the stream's own");
        drop(hold);
        let free = async || sidecar.call("GET", &format!("/v1/locks/{held}")).send().await.json()["state"] == "free";
        eventually("free once the stream has ended", Duration::from_secs(5), free).await;
    }
}

fn was_granted_after(first: &Value, answer: &Answer) {
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answer.json()["token"].as_u64() > first["token"].as_u64(), "{} after {first}", answer.text());
}

async fn outlive<R: Redundant>(blow: Blow) {
    let mut redis = R::start(&[]);
    let line = Line::on(&redis).await;
    let [held, wanted] = line.redis_keys();
    line.outlives(|| {
        // What a master tells nobody dies with it.
        redis.is_replicated(&held);
        redis.is_replicated(&wanted);
        let took = strike(&mut redis, &held, blow);
        println!("{blow:?}: redis took {took:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_and_a_hold_outlive_a_switch_by_sentinels() {
    outlive::<Trio>(Blow::Switched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_and_a_hold_outlive_a_switch_in_a_cluster() {
    outlive::<Cluster>(Blow::Switched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_and_a_hold_outlive_a_master_of_a_cluster_that_is_killed() {
    outlive::<Cluster>(Blow::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_and_a_hold_outlive_a_master_of_a_cluster_that_is_frozen() {
    outlive::<Cluster>(Blow::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_and_a_hold_outlive_the_move_of_their_slots() {
    let cluster = Cluster::start(&[]);
    let line = Line::on(&cluster).await;
    line.outlives(|| {
        for key in line.redis_keys() {
            let to = (cluster.master(&key) + 1) % Cluster::MASTERS;
            cluster.move_slot(&key, to);
        }
    })
    .await;
}
