//! The index entries of expired leases: gone within a minute, whichever sidecars live, and for the cost of one sweep.

use std::time::Duration;

use lockside::lock::Key;
use serde_json::json;

use crate::harness::{Sidecar, TestRedis, eventually};

const SHARDS: u64 = 64;

/// Entries of so many leases that are no more, as a sidecar that died leaves them; their keys.
fn leave_entries(redis: &TestRedis, count: u64) -> Vec<String> {
    let keys: Vec<String> = (0..count).map(|number| format!("dead-{number}")).collect();
    let mut pipe = redis::pipe();
    for (number, key) in keys.iter().enumerate() {
        let shard = Key::parse(key).unwrap().shard();
        let token = (1000 + number) * 64 + shard.index();
        pipe.cmd("ZADD").arg(format!("{{lockside:{shard}}}:tokens")).arg(token).arg(key).ignore();
    }
    pipe.exec(&mut redis.connection()).unwrap();
    keys
}

fn entries(redis: &TestRedis) -> u64 {
    (0..SHARDS).map(|shard| redis.entries(&format!("{{lockside:{shard}}}:tokens")) as u64).sum()
}

#[tokio::test]
async fn entries_of_expired_leases_are_swept_within_a_minute_whichever_sidecars_live_for_the_cost_of_one_sweep() {
    const SIDECARS: usize = 5;
    const HELD: u64 = 32;
    let redis = TestRedis::start(&[]);
    let mut sidecars = Vec::new();
    for _ in 0..SIDECARS {
        sidecars.push(Sidecar::start(&redis, &[]).await);
    }
    // Long ones in every other shard or so: no shard's last lease ends.
    for number in 0..HELD {
        let body = json!({"ttlMs": 3_600_000});
        assert_eq!(sidecars[0].call("POST", &format!("/v1/locks/held-{number}")).json(&body).send().await.status, 201);
    }
    // The first one may be the one that sweeps.
    leave_entries(&redis, 4800);
    sidecars.remove(0);
    // A sweep may have begun meanwhile.
    assert!(entries(&redis) > HELD, "all were swept before the first one ended");
    let took = eventually("only what is held is left", Duration::from_secs(60), async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        entries(&redis) == HELD
    })
    .await;
    println!("4,800 entries swept after {took:?}");

    redis.ask::<String>("CONFIG", &["RESETSTAT"]);
    tokio::time::sleep(Duration::from_secs(55)).await;
    // At most three tours, each of 64 shards with a page, and now and then the question for a mark.
    let (pages, looks) = (redis.calls("zrangebyscore"), redis.calls("exists"));
    println!("{} sidecars: {pages} pages and {looks} looks at keys in 55 s", SIDECARS - 1);
    assert!((SHARDS..=3 * SHARDS + 60).contains(&pages), "{pages} pages");
    assert!(looks <= 3 * SHARDS + 60, "{looks} looks");
}

#[tokio::test]
async fn an_entry_that_a_sweep_sees_while_its_key_is_granted_again_stays() {
    let redis = TestRedis::start(&[]);
    let keys = leave_entries(&redis, 600);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let held = 200;
    for key in keys.iter().step_by(3) {
        let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 600_000})).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    eventually("what is left is what is held", Duration::from_secs(60), async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        entries(&redis) <= held
    })
    .await;
    let page = sidecar.call("GET", "/v1/locks?limit=10000").send().await.json();
    assert_eq!(page["locks"].as_array().unwrap().len() as u64, held, "each that is held is listed");
}
