//! Terms: `delayMs`, `minHoldMs`, `maxHoldMs`, `restMs`, and `--max-hold`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Native, Who, assert_done, assert_problem, left_ms, path, token_of};
use crate::harness::{API_TOKEN, Answer, editor, eventually, unique};

impl Native {
    async fn on(&self, key: &str, body: Value) -> Value {
        let answer = self.acquire(&Who::System, key, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    async fn rested(&self, key: &str, token: u64, rest_ms: u64) -> Answer {
        let path = format!("{}?token={token}&restMs={rest_ms}", path(key));
        self.ask(&Who::System, "DELETE", &path).send().await
    }

    async fn shown(&self, key: &str) -> Value {
        self.ask(&Who::System, "GET", &path(key)).send().await.json()
    }
}

/// What is left until the key gets free.
fn free_in(shown: &Value) -> u64 {
    shown["holder"]["validForMs"].as_u64().unwrap_or_else(|| panic!("{shown}"))
}

#[tokio::test]
async fn an_owner_is_promised_the_ttl_and_the_others_see_when_the_key_gets_free() {
    let native = Native::start(&[]).await;
    for (terms, promised, free) in [
        (json!({"ttlMs": 30_000, "delayMs": 5_000}), 30_000, 35_000),
        (json!({"ttlMs": 30_000, "minHoldMs": 60_000}), 30_000, 60_000),
        (json!({"ttlMs": 30_000, "maxHoldMs": 40_000}), 30_000, 30_000),
        (json!({"maxHoldMs": 10_000}), 10_000, 10_000),
        (json!({"maxHoldMs": 10_000, "delayMs": 7_000}), 10_000, 17_000),
        (json!({"ttlMs": 30_000, "delayMs": 0, "minHoldMs": 0}), 30_000, 30_000),
    ] {
        let key = unique("terms");
        let lease = native.on(&key, terms.clone()).await;
        let left = left_ms(&lease) as u64;
        assert!((promised - 5_000..promised).contains(&left), "{terms}: {lease}");
        assert_eq!(lease["ttlMs"], terms.get("ttlMs").cloned().unwrap_or(json!(30_000)), "{terms}");
        let shown = native.shown(&key).await;
        assert!((free - 5_000..=free).contains(&free_in(&shown)), "{terms}: {shown}");
        let until = |value: &Value| value["validUntil"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let apart = until(&shown["holder"]).as_millisecond() - until(&lease).as_millisecond();
        assert_eq!(apart, (free - promised) as i64, "{terms}");
    }
}

#[tokio::test]
async fn what_is_no_time_is_400_with_the_range_and_changes_nothing() {
    let native = Native::start(&["--max-ttl=5s", "--default-ttl=4s", "--admin-ttl=5s", "--max-hold=20s"]).await;
    let key = unique("bad");
    for (body, words) in [
        (json!({"delayMs": 1_001}), ["delayMs", "0 to 1000"]),
        (json!({"ttlMs": 5_000, "delayMs": 1}), ["delayMs", "0 to 0"]),
        (json!({"delayMs": -1}), ["delayMs", "0 to 1000"]),
        (json!({"minHoldMs": 5_001}), ["minHoldMs", "0 to 5000"]),
        (json!({"minHoldMs": "1"}), ["minHoldMs", "0 to 5000"]),
        (json!({"maxHoldMs": 0}), ["maxHoldMs", "2000 to 20000"]),
        (json!({"maxHoldMs": 20_001}), ["maxHoldMs", "2000 to 20000"]),
        (json!({"ttlMs": 3_000, "maxHoldMs": 2_999}), ["maxHoldMs", "ttlMs"]),
        (json!({"maxHoldMs": null}), ["maxHoldMs", "2000 to 20000"]),
    ] {
        for path in [path(&key), format!("{}/hold", path(&key))] {
            let answer = native.ask(&Who::System, "POST", &path).json(&body).send().await;
            assert_problem(&answer, 400, "bad-request");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(words.iter().all(|word| detail.contains(word)), "{body}: {detail}");
        }
    }
    assert!(native.is_free(&key).await);
    let token = token_of(&native.on(&key, json!({"delayMs": 1_000})).await);
    for query in
        [format!("token={token}&restMs=5001"), format!("token={token}&restMs=x"), "force=true&restMs=1".to_owned()]
    {
        let answer = native.ask(&Who::System, "DELETE", &format!("{}?{query}", path(&key))).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
    let renewed = native.renew(&Who::System, &key, token, &json!({"ttlMs": 4_001})).await;
    assert_problem(&renewed, 400, "bad-request");
    assert!(renewed.text().contains("1000 ms of delay"), "{}", renewed.text());
    assert_eq!(native.renew(&Who::System, &key, token, &json!({"ttlMs": 4_000})).await.status, 200);
}

#[tokio::test]
async fn behind_its_promise_a_lease_is_held_can_be_renewed_and_passes_no_fence() {
    let native = Native::start(&[]).await;
    let (key, again) = (unique("delay"), unique("attempt"));
    let body = json!({"ttlMs": 300, "delayMs": 60_000, "owner": "web-3"});
    let acquire = async || {
        let call = native.ask(&Who::System, "POST", &path(&key)).header("Idempotency-Key", &again);
        call.json(&body).send().await
    };
    let token = token_of(&acquire().await.json());
    assert_eq!(native.fence(&Who::System, &key, token).await.status, 200);
    let over = async || native.fence(&Who::System, &key, token).await.status == 409;
    eventually("the promise ends", Duration::from_secs(4), over).await;

    assert_eq!(native.shown(&key).await["state"], "held");
    assert_problem(&acquire().await, 409, "held");
    let reentrant = json!({"owner": "web-3", "reentrant": true, "ttlMs": 300});
    assert_problem(&native.acquire(&Who::System, &key, &reentrant).await, 409, "held");
    let renewed = native.renew(&Who::System, &key, token, &json!({"ttlMs": 20_000})).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert!((15_000..20_000).contains(&left_ms(&renewed.json())), "{}", renewed.text());
    assert_eq!(native.fence(&Who::System, &key, token).await.status, 200);
    assert_done(&native.release(&Who::System, &key, token).await);
    assert!(native.is_free(&key).await, "a release ends it at once");
}

#[tokio::test]
async fn a_rest_is_taken_is_nobodys_and_goes_by_force() {
    let native = Native::start(&["--dapr-stores=lockstore"]).await;
    let key = unique("rest");
    let token = token_of(&native.on(&key, json!({"minHoldMs": 60_000, "owner": "web-3"})).await);
    assert_done(&native.release(&Who::System, &key, token).await);

    let shown = native.shown(&key).await;
    assert_eq!((&shown["state"], &shown["holder"]["owner"]), (&json!("resting"), &json!("web-3")));
    assert!((50_000..=60_000).contains(&free_in(&shown)));
    for body in [json!({}), json!({"owner": "web-3"}), json!({"owner": "web-3", "reentrant": true})] {
        let answer = native.acquire(&Who::System, &key, &body).await;
        assert_problem(&answer, 409, "held");
        assert_eq!(answer.json()["state"], "resting", "{}", answer.text());
        assert!(answer.json()["detail"].as_str().unwrap().contains("rests"), "{}", answer.text());
    }
    assert_problem(&native.renew(&Who::System, &key, token, &json!({})).await, 410, "lost");
    assert_problem(&native.release(&Who::System, &key, token).await, 410, "lost");
    assert_problem(&native.fence(&Who::System, &key, token).await, 409, "lost");
    let lease = format!("/cmn/leasable-locks/{token}");
    for (method, path) in [("PUT", format!("{lease}?leasePeriod=5")), ("DELETE", lease)] {
        assert_eq!(native.ask(&Who::System, method, &path).send().await.status, 404, "{method}");
    }
    let listed = native.ask(&Who::System, "GET", &format!("/v1/locks?prefix={key}")).send().await.json();
    assert_eq!((&listed["locks"][0]["state"], &listed["locks"][0]["token"]), (&json!("resting"), &json!(token)));
    let leases = native.ask(&Who::System, "GET", &format!("/cmn/leasable-locks?prefix={key}")).send().await;
    assert_eq!(leases.json(), json!([]));

    let custom = native.ask(&Who::System, "DELETE", &format!("/cmn/leasable-locks/custom/{token}")).send().await;
    assert_eq!(custom.status, 200, "{}", custom.text());
    assert!(native.is_free(&key).await);
}

#[tokio::test]
async fn a_share_that_rests_counts_as_one_is_nobodys_and_goes_by_force_alone() {
    let native = Native::start(&[]).await;
    let key = unique("shared-rest");
    let body = json!({"limit": 2, "minHoldMs": 60_000, "owner": "web-3"});
    let token = token_of(&native.on(&key, body.clone()).await);
    let other = token_of(&native.on(&key, json!({"limit": 2, "owner": "web-4"})).await);
    assert_done(&native.release(&Who::System, &key, token).await);

    assert_eq!(native.shown(&key).await["sharedBy"], 2);
    for body in [body.clone(), json!({}), json!({"owner": "web-3", "limit": 2, "reentrant": true})] {
        let answer = native.acquire(&Who::System, &key, &body).await;
        assert_problem(&answer, 409, "held");
        assert_eq!(answer.json()["sharedBy"], 2, "{}", answer.text());
    }
    assert_problem(&native.renew(&Who::System, &key, token, &json!({})).await, 410, "lost");
    assert_problem(&native.release(&Who::System, &key, token).await, 410, "lost");
    assert_problem(&native.fence(&Who::System, &key, token).await, 409, "lost");
    let listed = native.ask(&Who::System, "GET", &format!("/v1/locks?prefix={key}")).send().await.json();
    let rows: Vec<_> = listed["locks"].as_array().unwrap().iter().map(|row| (&row["token"], &row["state"])).collect();
    assert_eq!(rows, [(&json!(token), &json!("resting")), (&json!(other), &json!("held"))]);

    // Alone it is what the key rests by.
    assert_done(&native.release(&Who::System, &key, other).await);
    let shown = native.shown(&key).await;
    assert_eq!((&shown["sharedBy"], &shown["holder"]["owner"]), (&json!(1), &json!("web-3")), "{shown}");
    assert_eq!((&shown["state"], &shown["holder"]["state"]), (&json!("resting"), &json!("resting")), "{shown}");
    assert!((50_000..=60_000).contains(&free_in(&shown)), "{shown}");
    assert_problem(&native.acquire(&Who::System, &key, &json!({})).await, 409, "held");
    let beside = token_of(&native.on(&key, json!({"limit": 2})).await);
    assert_done(&native.release(&Who::System, &key, beside).await);
    let one = format!("{}?force=true&token={token}", path(&key));
    assert_done(&native.ask(&Who::System, "DELETE", &one).send().await);
    assert!(native.is_free(&key).await);
}

#[tokio::test]
async fn a_waiter_has_the_key_when_the_rest_is_over_and_not_before() {
    let native = Native::start(&[]).await;
    let key = unique("line");
    let lease = native.on(&key, json!({"minHoldMs": 1_500, "ttlMs": 60_000})).await;
    let (begun, token) = (Instant::now(), token_of(&lease));
    let body = json!({"waitMs": 20_000});
    let waiting = native.acquire(&Who::System, &key, &body);
    let releasing = async {
        eventually("it waits", Duration::from_secs(4), async || native.shown(&key).await["waiters"] == 1).await;
        assert_done(&native.release(&Who::System, &key, token).await);
    };
    let (granted, ()) = tokio::join!(waiting, releasing);
    assert_eq!(granted.status, 201, "{}", granted.text());
    assert!(begun.elapsed() >= Duration::from_millis(1_450), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_release_with_a_rest_keeps_the_key_taken_from_then_on() {
    let native = Native::start(&[]).await;
    let (key, none) = (unique("rests"), unique("none"));
    let token = token_of(&native.on(&key, json!({"ttlMs": 1_000})).await);
    assert_done(&native.rested(&key, token, 60_000).await);
    let shown = native.shown(&key).await;
    assert_eq!(shown["state"], "resting");
    assert!((50_000..=60_000).contains(&free_in(&shown)), "{shown}");
    let token = token_of(&native.on(&none, json!({})).await);
    assert_done(&native.rested(&none, token, 0).await);
    assert!(native.is_free(&none).await, "0 is as absent");
}

#[tokio::test]
async fn a_lease_can_be_renewed_until_its_cap_and_no_longer_in_any_api() {
    let native = Native::start(&["--max-hold=2s"]).await;
    let key = unique("cap");
    let lease = native.on(&key, json!({"ttlMs": 60_000})).await;
    assert!((1..2_000).contains(&left_ms(&lease)), "{lease}");
    let token = token_of(&lease);
    let created = native.ask(&Who::System, "POST", "/cmn/leasable-locks");
    let lease = created.json(&json!({"key": unique("lease"), "leasePeriod": 60})).send().await.json();
    let until = |lease: &Value| lease["validUntil"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(until(&lease).as_millisecond() - jiff::Timestamp::now().as_millisecond() <= 2_000, "{lease}");
    let renewing = async || native.renew(&Who::System, &key, token, &json!({"ttlMs": 60_000})).await.status;
    let begun = Instant::now();
    while renewing().await == 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((1_500..4_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    eventually("the key gets free", Duration::from_secs(2), async || native.is_free(&key).await).await;
}

#[tokio::test]
async fn a_hold_at_its_cap_is_lost_for_that_reason_before_its_promise_ends() {
    let native = Native::start(&[]).await;
    let key = unique("hold");
    let body = json!({"ttlMs": 1_000, "maxHoldMs": 2_500});
    let call = native.call("POST", &format!("{}/hold", path(&key))).bearer(API_TOKEN).json(&body);
    let (begun, mut lines, mut last) = (Instant::now(), call.open().await, Value::Null);
    while let Some(line) = lines.next().await {
        last = line;
    }
    assert_eq!(last, json!({"event": "lost", "reason": "max-hold"}));
    // That it is before, and by how much, is the state machine's: here the machine may be busy.
    assert!((2_000..3_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let metrics = native.ops("/metrics").await;
    assert!(metrics.text().contains("lockside_holds_lost_total{reason=\"max-hold\"} 1"), "{}", metrics.text());
}

#[tokio::test]
async fn a_hold_that_closes_leaves_its_key_taken_for_the_delay() {
    let native = Native::start(&[]).await;
    for (terms, least, most) in [
        (json!({"ttlMs": 20_000, "delayMs": 2_000}), 1_900, 4_000),
        (json!({"ttlMs": 20_000, "minHoldMs": 2_000}), 1_500, 4_000),
        (json!({"ttlMs": 20_000}), 0, 1_000),
    ] {
        let key = unique("closed");
        let call = native.call("POST", &format!("{}/hold", path(&key))).bearer(API_TOKEN).json(&terms);
        let mut lines = call.open().await;
        assert_eq!(lines.next().await.unwrap()["event"], "acquired");
        drop(lines);
        let took = eventually("it gets free", Duration::from_secs(8), async || native.is_free(&key).await).await;
        assert!((least..most).contains(&took.as_millis()), "{terms}: {took:?}");
    }
}

#[tokio::test]
async fn a_hold_that_is_released_by_its_token_leaves_nothing_but_the_minimum() {
    let native = Native::start(&[]).await;
    for (terms, is_free) in [(json!({"delayMs": 60_000}), true), (json!({"minHoldMs": 60_000}), false)] {
        let key = unique("released");
        let call = native.call("POST", &format!("{}/hold", path(&key))).bearer(API_TOKEN).json(&terms);
        let mut lines = call.open().await;
        let token = token_of(&lines.next().await.unwrap());
        assert_done(&native.release(&Who::System, &key, token).await);
        assert_eq!(lines.news().await.unwrap()["event"], "released", "{terms}");
        assert_eq!(native.is_free(&key).await, is_free, "{terms}");
    }
}

#[tokio::test]
async fn an_admin_lock_is_created_anew_once_it_reached_its_cap() {
    let native = Native::start(&["--max-hold=2s"]).await;
    let target = json!({"route": "volume", "id": unique("admin")});
    let token = async || {
        let call = native.ask(&editor("alice"), "POST", "/admin/lock").json(&target);
        assert_eq!(call.send().await.status, 200);
        let listed = native.ask(&Who::System, "GET", "/v1/locks?prefix=volume").send().await.json();
        let locks = listed["locks"].as_array().unwrap().clone();
        locks.iter().find(|lock| lock["key"].as_str().unwrap().contains(target["id"].as_str().unwrap())).unwrap()["token"]
            .clone()
    };
    let first = token().await;
    assert_eq!(token().await, first, "the same until then");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_ne!(token().await, first);
}

#[tokio::test]
async fn an_answer_that_cannot_tell_of_the_cap_is_of_no_lease_beyond_it() {
    let native = Native::start(&["--max-hold=5s", "--dapr-stores=lockstore"]).await;
    let lock = async |seconds: u64| {
        let body = json!({"resourceId": unique("dapr"), "lockOwner": "o", "expiryInSeconds": seconds});
        native.ask(&Who::System, "POST", "/v1.0-alpha1/lock/lockstore").json(&body).send().await
    };
    let (fits, longer) = (lock(5).await, lock(6).await);
    assert_eq!((fits.status, fits.json()), (200, json!({"success": true})));
    assert_eq!(longer.status, 400, "{}", longer.text());
    assert!(longer.text().contains("expected 1 to 5 seconds"), "{}", longer.text());
}
