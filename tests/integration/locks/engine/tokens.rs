//! Tokens rise over whatever a sidecar has been shown, also when Redis has lost its data and its clock has gone back.
//!
//! The clock of a real Redis cannot be set back here. So a lease is given a token as a clock that was a minute ahead would
//! have made it, a sidecar is shown it in one way, and then Redis loses everything: from there on it is the Redis of a
//! clock that went back by a minute.

use std::time::Duration;

use serde_json::{Value, json};

use super::{World, granted, path, patient, token};
use crate::harness::TestRedis;

/// The part of a token that a minute is.
const MINUTE: u64 = 60_000 * 64 * 64;

/// Makes the lease `token` one that was granted a minute from now, everywhere in Redis; its token.
fn from_a_minute_ahead(redis: &TestRedis, world: &World, key: &str, token: u64) -> u64 {
    let (ahead, lock) = (token + MINUTE, world.redis_key("lock", key));
    let record: String = redis.ask("GET", &[&lock]);
    assert!(record.contains(&token.to_string()), "the record names its token: {record}");
    let record = record.replace(&token.to_string(), &ahead.to_string());
    redis.ask::<String>("SET", &[&lock, &record, "KEEPTTL"]);
    let index = lock.replace(&format!(":lock:{key}"), ":tokens");
    redis.ask::<u64>("ZADD", &[&index, "XX", "CH", &ahead.to_string(), key]);
    let last = redis::cmd("ZADD").arg(&index).arg(ahead).arg(b"\xff").exec(&mut redis.connection());
    last.expect("the last token is raised");
    ahead
}

/// How a sidecar is shown a token.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Refusal,
    Look,
    List,
    LeasesList,
    Fence,
    Renewal,
    LeasesRenewal,
    Repetition,
    Reentry,
    Hold,
    Wait,
}

const WAYS: [Shown; 11] = [
    Shown::Refusal,
    Shown::Look,
    Shown::List,
    Shown::LeasesList,
    Shown::Fence,
    Shown::Renewal,
    Shown::LeasesRenewal,
    Shown::Repetition,
    Shown::Reentry,
    Shown::Hold,
    Shown::Wait,
];

impl Shown {
    /// Shows the lease to sidecar 1; the token that its caller is told.
    async fn to(self, world: &World, key: &str, ahead: u64) -> Option<u64> {
        let sidecar = &world.sidecars[1];
        let ask = async |method: &str, path: String, body: Value| {
            sidecar.call(method, &path).header("idempotency-key", "n-1").json(&body).send().await
        };
        let one = format!("{}?token={ahead}", path(key));
        let named = json!({"ttlMs": 60_000, "owner": "x"});
        match self {
            Shown::Refusal => {
                ask("POST", path(key), json!({"owner": "other"})).await.json()["holder"]["token"].as_u64()
            }
            Shown::Look => ask("GET", path(key), json!({})).await.json()["holder"]["token"].as_u64(),
            Shown::List => {
                let list = ask("GET", format!("/v1/locks?prefix={key}"), json!({})).await;
                list.json()["locks"][0]["token"].as_u64()
            }
            Shown::LeasesList => {
                let list = ask("GET", format!("/cmn/leasable-locks?prefix={key}"), json!({})).await;
                list.json()[0]["token"].as_u64()
            }
            Shown::Fence => {
                ask("GET", format!("{}/fence?token=64", path(key)), json!({})).await.json()["token"].as_u64()
            }
            Shown::Renewal => ask("PUT", one, json!({"ttlMs": 50_000})).await.json()["token"].as_u64(),
            Shown::LeasesRenewal => {
                let path = format!("/cmn/leasable-locks/{ahead}?leasePeriod=60");
                ask("PUT", path, json!({})).await.json()["token"].as_u64()
            }
            Shown::Repetition => ask("POST", path(key), named).await.json()["token"].as_u64(),
            Shown::Reentry => {
                let body = json!({"owner": "x", "reentrant": true});
                sidecar.call("POST", &path(key)).json(&body).send().await.json()["token"].as_u64()
            }
            Shown::Hold => {
                let path = format!("{}/hold", path(key));
                let call = sidecar.call("POST", &path).header("idempotency-key", "n-1").json(&named);
                let mut lines = call.open().await;
                let first = super::line(&mut lines, Duration::from_secs(5)).await["token"].as_u64();
                // It goes on until Redis has lost its data.
                tokio::spawn(async move { while lines.next().await.is_some() {} });
                first
            }
            Shown::Wait => {
                let answer = ask("POST", path(key), json!({"waitMs": 50, "owner": "other"})).await;
                assert_eq!(answer.status, 409, "{}", answer.text());
                // What it says of the holder is not needed: it has waited behind it.
                Some(ahead)
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_outranks_every_token_that_its_sidecar_was_shown_whatever_became_of_redis() {
    let mut wrong = Vec::new();
    let redis = TestRedis::start(&[]);
    for shown in WAYS {
        // A sidecar that was shown nothing else.
        let world = World::on(&redis, 2).await;
        let call = world.sidecars[0].call("POST", &path(&world.key)).header("idempotency-key", "n-1");
        let first = call.json(&json!({"ttlMs": 60_000, "owner": "x"})).send().await;
        let ahead = from_a_minute_ahead(&redis, &world, &world.key, token(&first));
        let told = shown.to(&world, &world.key, ahead).await;
        assert_eq!(told, Some(ahead), "{shown:?}: the sidecar tells it");
        redis.ask::<String>("FLUSHALL", &[]);

        let next = world.acquire(1, json!({"owner": "next"})).await;

        assert_eq!(next.status, 201, "{shown:?}: {}", next.text());
        if token(&next) <= ahead {
            wrong.push(shown);
        }
    }
    assert!(wrong.is_empty(), "a lower token than one that the sidecar was shown by {wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_outranks_the_token_of_a_turn_that_its_sidecar_had() {
    let redis = TestRedis::start(&[]);
    let world = World::on(&redis, 2).await;
    let held = world.held(0, 60_000).await;
    let ahead = from_a_minute_ahead(&redis, &world, &world.key, held);
    let waiting = world.join(1, None, patient("x")).await;
    // Its turn comes while Redis still knows the higher token.
    let path = format!("{}?token={ahead}", path(&world.key));
    assert_eq!(world.sidecars[0].call("DELETE", &path).send().await.status, 204);
    let (turn, _) = granted(waiting, Duration::from_secs(5)).await;
    redis.ask::<String>("FLUSHALL", &[]);

    let next = world.acquire(1, json!({"owner": "next"})).await;

    assert_eq!(next.status, 201, "{}", next.text());
    assert!(token(&next) > token(&turn), "{} after {}", next.text(), turn.text());
    assert!(token(&turn) > ahead, "a turn outranks the lease before it: {} after {ahead}", turn.text());
}
