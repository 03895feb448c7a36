//! How a wait ends other than by a release: its time is over, the client hangs up, force, another dialect, a drain.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Fleet, OFFER, granted, patient, token};
use crate::harness::{TestRedis, eventually, jwt, unique};

#[tokio::test]
async fn a_wait_that_is_over_is_a_wait_timeout_and_leaves_no_place_in_line() {
    let fleet = Fleet::of(1).await;
    let first = fleet.hold(0, 30_000).await;
    let begun = Instant::now();

    let answer = fleet.acquire(0, json!({"waitMs": 300})).await;

    let took = begun.elapsed();
    assert!((300..5000).contains(&took.as_millis()), "{took:?}");
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("wait-timeout")), "{}", answer.text());
    assert_eq!(answer.json()["outcome"], "not-applied");
    assert_eq!(fleet.keys(TestRedis::shared(), "queue"), Vec::<String>::new());
    fleet.release(0, first).await;
    fleet.is_empty(TestRedis::shared()).await;
}

#[tokio::test]
async fn a_waiter_whose_client_hung_up_is_gone_at_once_and_the_next_is_served() {
    let fleet = Fleet::of(2).await;
    let first = fleet.hold(0, 30_000).await;
    let gone = fleet.join(0, patient()).await;
    let next = fleet.join(1, patient()).await;

    gone.abort();

    let took = fleet.waiters_are(1).await;
    println!("hang-up to gone: {took:?}");
    assert!(took < OFFER, "{took:?}");
    let released = Instant::now();
    fleet.release(0, first).await;
    let (answer, at) = granted(next).await;
    assert!(at - released < OFFER, "{:?}", at - released);
    fleet.release(1, token(&answer)).await;
    fleet.is_empty(TestRedis::shared()).await;
}

#[tokio::test]
async fn clients_that_hang_up_while_their_turn_comes_hold_nobody_up() {
    let fleet = Fleet::of(2).await;
    for round in 0..20 {
        let first = fleet.hold(0, 30_000).await;
        // A short lease: its answer may be on its way when the client hangs up, and then it is told, and lost.
        let gone = fleet.join(round % 2, json!({"ttlMs": 200, "waitMs": 30_000})).await;
        let next = fleet.join(1, patient()).await;
        let released = Instant::now();
        let (path, sidecar) = (format!("{}?token={first}", fleet.path()), std::sync::Arc::clone(&fleet.sidecars[0]));
        let releasing = tokio::spawn(async move { sidecar.call("DELETE", &path).send().await.status });
        if round % 3 > 0 {
            tokio::time::sleep(Duration::from_micros(500 * round as u64)).await;
        }
        gone.abort();
        assert_eq!(releasing.await.unwrap(), 204);
        let (answer, at) = granted(next).await;
        assert!(at - released < OFFER, "round {round}: {:?}", at - released);
        fleet.release(1, token(&answer)).await;
    }
    fleet.is_empty(TestRedis::shared()).await;
}

#[tokio::test]
async fn force_grants_the_next() {
    let fleet = Fleet::of(2).await;
    let lost = fleet.hold(0, 30_000).await;
    let waiting = fleet.join(1, patient()).await;

    let path = format!("{}?force=true", fleet.path());
    let forced = fleet.sidecars[0].call("DELETE", &path).cookie(&jwt::editor("alice")).send().await;
    assert_eq!(forced.status, 204, "{}", forced.text());

    let (answer, _) = granted(waiting).await;
    assert!(token(&answer) > lost);
}

#[tokio::test]
async fn a_lock_of_the_admin_dialect_removed_or_forced_grants_a_native_waiter() {
    let (alice, id) = (jwt::editor("alice"), unique("volume"));
    let fleet = Fleet { key: format!("route:{id}"), ..Fleet::of(2).await };
    let target = json!({"route": "route", "id": id});
    for forced in [false, true] {
        let locked = fleet.sidecars[0].call("POST", "/admin/lock").cookie(&alice).json(&target).send().await;
        assert_eq!(locked.status, 200, "{}", locked.text());
        let waiting = fleet.join(1, patient()).await;

        if forced {
            let held = fleet.sidecars[0].call("GET", &fleet.path()).send().await.json()["holder"]["token"].clone();
            let path = format!("/cmn/leasable-locks/custom/{held}");
            assert_eq!(fleet.sidecars[0].call("DELETE", &path).cookie(&alice).send().await.status, 200);
        } else {
            let removed = fleet.sidecars[0].call("DELETE", "/admin/remove-lock").cookie(&alice).json(&target);
            assert_eq!(removed.send().await.status, 200);
        }

        let (answer, _) = granted(waiting).await;
        fleet.release(1, token(&answer)).await;
    }
}

#[tokio::test]
async fn a_post_of_its_owner_never_shortens_a_lease() {
    let (alice, id) = (jwt::editor("alice"), unique("volume"));
    let fleet = Fleet::on(TestRedis::shared(), 1, &["--admin-ttl", "400ms"]).await;
    let fleet = Fleet { key: format!("route:{id}"), ..fleet };
    let sidecar = &fleet.sidecars[0];
    let body = json!({"key": fleet.key, "leasePeriod": 60});
    let created = sidecar.call("POST", "/cmn/leasable-locks").cookie(&alice).json(&body).send().await;
    assert_eq!(created.status, 201);

    let target = json!({"route": "route", "id": id});
    let body = json!({"key": fleet.key, "leasePeriod": 1});
    for (path, body) in [("/admin/lock", target), ("/cmn/leasable-locks", body)] {
        let renewed = sidecar.call("POST", path).cookie(&alice).json(&body).send().await;
        assert_eq!(renewed.status, 200, "{path}");
        let holder = sidecar.call("GET", &fleet.path()).send().await.json()["holder"].clone();
        assert!(holder["validForMs"].as_u64().unwrap() > 50_000, "{path}: {holder}");
    }
}

#[tokio::test]
async fn a_sidecar_that_is_being_stopped_sends_its_waiters_away_at_once() {
    let fleet = Fleet::of(2).await;
    fleet.hold(1, 30_000).await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(fleet.join(0, patient()).await);
    }
    let stopped = Instant::now();
    fleet.sidecars[0].signal("TERM");

    for one in waiting {
        let (answer, at) = one.await.unwrap();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("draining")), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(at - stopped < Duration::from_secs(1), "{:?}", at - stopped);
    }
    assert_eq!(fleet.waiters().await, 0);
    assert_eq!(fleet.keys(TestRedis::shared(), "queue"), Vec::<String>::new());
    let Fleet { mut sidecars, _scratch, .. } = fleet;
    let mut first = std::sync::Arc::into_inner(sidecars.remove(0)).expect("nobody else has it");
    assert_eq!(first.exit_code(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test]
async fn what_a_waiter_is_promised_counts_from_the_grant() {
    let fleet = Fleet::of(1).await;
    let first = fleet.hold(0, 30_000).await;
    let waiting = fleet.join(0, json!({"ttlMs": 5000, "waitMs": 30_000, "meta": {"n": [1]}, "owner": "web-1"})).await;
    // Some of its time goes by in line.
    eventually("two seconds", Duration::from_secs(5), async || {
        fleet.sidecars[0].call("GET", &fleet.path()).send().await.json()["holder"]["validForMs"].as_u64().unwrap()
            < 28_000
    })
    .await;

    fleet.release(0, first).await;
    let (answer, _) = granted(waiting).await;

    let valid_for_ms = answer.json()["validForMs"].as_u64().unwrap();
    // From the request on, it would be 3 s at most.
    let left = 3_001..=5_000;
    assert!(left.contains(&valid_for_ms), "{}", answer.text());
    assert_eq!((answer.json()["ttlMs"].as_u64(), answer.json()["owner"].as_str()), (Some(5000), Some("web-1")));
    let holder = fleet.sidecars[0].call("GET", &fleet.path()).send().await.json()["holder"].clone();
    assert_eq!(holder["meta"], json!({"n": [1]}));
    assert!(left.contains(&holder["validForMs"].as_u64().unwrap()), "{holder}");
    assert_eq!(fleet.keys(TestRedis::shared(), "queue").len(), 0, "it is taken, and none waits");
}
