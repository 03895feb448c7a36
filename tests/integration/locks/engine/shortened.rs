//! A lease that a hold was promised: what comes from the other APIs lengthens it, and a renewal that shortens it is told.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{AT_ONCE, World, line, lost_before, path};
use crate::harness::http::Lines;
use crate::harness::{Answer, Scratch, TestRedis, eventually, jwt, unique};

const TTL_MS: u64 = 20_000;

/// Two sidecars that know users, and whose admin locks last a second.
struct Users {
    world: World,
    alice: String,
    id: String,
    _scratch: Scratch,
}

impl Users {
    async fn start() -> Users {
        let (mut world, scratch, id) = (World::new(), Scratch::new(), unique("volume"));
        let secret = scratch.file("secret", jwt::SECRET);
        for _ in 0..2 {
            let flags = ["--jwt-secret-file", &secret, "--admin-ttl=1s"];
            world.add(&TestRedis::alone().url(), &flags).await;
        }
        world.key = format!("route:{id}");
        Users { world, alice: jwt::editor("alice"), id, _scratch: scratch }
    }

    async fn hold(&self) -> (Lines, Value) {
        let path = format!("{}/hold", path(&self.world.key));
        let call = self.world.sidecars[0].call("POST", &path).cookie(&self.alice);
        let mut lines = call.json(&json!({"ttlMs": TTL_MS})).open().await;
        assert_eq!(lines.status, 200);
        let first = line(&mut lines, Duration::from_secs(5)).await;
        (lines, first)
    }

    /// Each `POST` by which a user comes to a lease, for a second.
    async fn post(&self, api: &str) -> Answer {
        let call = self.world.sidecars[1].call("POST", api).cookie(&self.alice);
        match api {
            "/admin/lock" => call.json(&json!({"route": "route", "id": self.id})).send().await,
            _ => call.json(&json!({"key": self.world.key, "leasePeriod": 1})).send().await,
        }
    }

    async fn left_ms(&self) -> u64 {
        self.world.look().await["holder"]["validForMs"].as_u64().unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_of_the_admin_and_leases_apis_never_shortens_a_holds_lease() {
    join_all(["/admin/lock", "/cmn/leasable-locks"].map(async |api| {
        let users = Users::start().await;
        let (mut hold, _) = users.hold().await;
        let before = users.left_ms().await;

        let answer = users.post(api).await;

        assert_eq!(answer.status, 200, "{api}: {}", answer.text());
        let left = users.left_ms().await;
        assert!(left + 5000 > before, "{api}: {left} ms after {before} ms");
        let end = Instant::now() + Duration::from_secs(2);
        let (lost, ()) = tokio::join!(lost_before(&mut hold, end), users.world.is_not_granted_before(1, end));
        assert_eq!(lost, None, "{api}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_of_the_admin_and_leases_apis_never_shortens_a_lease_of_its_owner() {
    join_all(["/admin/lock", "/cmn/leasable-locks"].map(async |api| {
        let users = Users::start().await;
        let call = users.world.sidecars[0].call("POST", &path(&users.world.key)).cookie(&users.alice);
        let first = call.json(&json!({"ttlMs": TTL_MS})).send().await.json();

        let answer = users.post(api).await;

        assert_eq!(answer.status, 200, "{api}: {}", answer.text());
        if api != "/admin/lock" {
            let told = (&answer.json()["token"], answer.json()["validUntil"].as_str().map(str::to_owned));
            assert_eq!(told.0, &first["token"]);
            assert!(told.1.as_deref() >= first["validUntil"].as_str(), "{told:?} after {first}");
        }
        let left = users.left_ms().await;
        assert!(left > TTL_MS - 5000, "{api}: {left} ms");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_of_the_admin_and_leases_apis_lengthens_a_lease_of_its_owner() {
    join_all(["/admin/lock", "/cmn/leasable-locks"].map(async |api| {
        let users = Users::start().await;
        let call = users.world.sidecars[0].call("POST", &path(&users.world.key)).cookie(&users.alice);
        call.json(&json!({"ttlMs": 800})).send().await;
        // Long enough ago that a second from now is later than its end.
        eventually("half of it is over", Duration::from_secs(2), async || users.left_ms().await < 400).await;

        assert_eq!(users.post(api).await.status, 200, "{api}");

        assert!(users.left_ms().await > 500, "{api}: {} ms", users.left_ms().await);
    }))
    .await;
}

/// The hold hears of it, so that what it counts on is never more than Redis keeps.
async fn a_renewal_for_two_seconds_is_told(api: &str, at: usize) {
    let users = Users::start().await;
    let (mut hold, first) = users.hold().await;
    let put = match api {
        "native" => format!("{}?token={}", path(&users.world.key), first["token"]),
        _ => format!("/cmn/leasable-locks/{}?leasePeriod=2", first["token"]),
    };
    // A sidecar's first hold makes it listen to the others, which takes a moment.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let call = users.world.sidecars[at].call("PUT", &put).cookie(&users.alice);
    let call = if api == "native" { call.json(&json!({"ttlMs": 2000})) } else { call };
    let renewed = call.send().await;
    assert_eq!(renewed.status, 200, "{api}: {}", renewed.text());

    let told = line(&mut hold, AT_ONCE).await;

    let lock = users.world.redis_key("lock", &users.world.key);
    let left_ms: i64 = TestRedis::alone().ask("PTTL", &[&lock]);
    assert_eq!(told["event"], "renewed", "{api} at {at}");
    let valid_for_ms = told["validForMs"].as_i64().expect("milliseconds");
    assert!(valid_for_ms < left_ms + 500, "{api} at {at}: told {valid_for_ms} ms, Redis keeps it for {left_ms} ms");
    // And it goes on: renewed in time, from the shorter end.
    let end = Instant::now() + Duration::from_secs(3);
    let (lost, ()) = tokio::join!(lost_before(&mut hold, end), users.world.is_not_granted_before(1, end));
    assert_eq!(lost, None, "{api} at {at}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_shortens_a_holds_lease_is_told_to_the_hold_at_once() {
    tokio::join!(
        a_renewal_for_two_seconds_is_told("native", 0),
        a_renewal_for_two_seconds_is_told("native", 1),
        a_renewal_for_two_seconds_is_told("leases", 0),
        a_renewal_for_two_seconds_is_told("leases", 1),
    );
}
