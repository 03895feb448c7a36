//! `GET /v1/locks/{key}` with a condition, at once and after a wait.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{Native, assert_problem, path, token_of};
use crate::harness::{Answer, Proxy, Sidecar, TestRedis, Who, eventually, unique};

/// Redis and a busy machine need no more for what is told at once.
const SOON: Duration = Duration::from_secs(2);

async fn ask(sidecar: &Sidecar, path: &str, tag: &str) -> Answer {
    sidecar.ask(&Who::System, "GET", path).header("if-none-match", tag).send().await
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("an ETag").to_owned()
}

#[tokio::test]
async fn the_tag_is_that_of_the_lease_and_no_renewal_and_no_waiter_changes_it() {
    let native = Native::start(&[]).await;
    let key = unique("tag");
    let show = async || native.ask(&Who::System, "GET", &path(&key)).send().await;
    assert_eq!(tag(&show().await), "\"0\"");
    let lease = native.granted(&Who::System, &key).await;
    let token = token_of(&lease);
    assert_eq!(tag(&show().await), format!("\"{token}\""));
    assert_eq!(show().await.header("cache-control"), Some("no-store"));
    assert_eq!(native.renew(&Who::System, &key, token, &json!({"ttlMs": 90_000})).await.status, 200);
    assert_eq!(tag(&show().await), format!("\"{token}\""));
    let rests = native.ask(&Who::System, "DELETE", &format!("{}?token={token}&restMs=60000", path(&key))).send().await;
    assert_eq!(rests.status, 204);
    assert_eq!(tag(&show().await), format!("\"{token}-rest\""));
    assert_eq!(native.force(&Who::System, &key).await.status, 204);
    assert_eq!(tag(&show().await), "\"0\"");
}

#[tokio::test]
async fn who_has_the_tag_already_is_told_so_without_a_body() {
    let native = Native::start(&[]).await;
    let key = unique("known");
    let token = token_of(&native.granted(&Who::System, &key).await);
    let own = format!("\"{token}\"");
    for asked in [&own, &format!("W/{own}"), &format!("\"1\", {own}"), "*"] {
        let answer = ask(&native, &path(&key), asked).await;
        assert_eq!((answer.status, answer.text(), tag(&answer)), (304, "", own.clone()), "{asked}");
    }
    for asked in ["\"0\"", "\"1\"", &token.to_string()] {
        let answer = ask(&native, &path(&key), asked).await;
        assert_eq!((answer.status, token_of(&answer.json()["holder"])), (200, token), "{asked}");
    }
}

#[tokio::test]
async fn a_wait_needs_a_condition_and_has_bounds() {
    let native = Native::start(&["--max-wait=90s"]).await;
    let key = unique("bounds");
    let answer = native.ask(&Who::System, "GET", &format!("{}?waitMs=10", path(&key))).send().await;
    assert_problem(&answer, 400, "bad-request");
    for wait in ["-1", "90001", "x", "1.5", ""] {
        let answer = ask(&native, &format!("{}?waitMs={wait}", path(&key)), "\"0\"").await;
        assert_problem(&answer, 400, "bad-request");
        assert!(answer.text().contains("waitMs: expected an integer from 0 to 90000"), "{}", answer.text());
    }
    let begun = Instant::now();
    assert_eq!(ask(&native, &format!("{}?waitMs=0", path(&key)), "\"0\"").await.status, 304);
    assert_eq!(ask(&native, &format!("{}?waitMs=300", path(&key)), "\"0\"").await.status, 304);
    // Among the reads, the waits would be the slowest ones.
    let metrics = native.ops("/metrics").await;
    let count = |operation| format!("lockside_request_duration_seconds_count{{operation=\"{operation}\"}}");
    assert!(metrics.text().contains(&count("wait")), "{}", metrics.text());
    assert!(!metrics.text().contains(&count("read")), "{}", metrics.text());
    assert!((Duration::from_millis(300)..SOON).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_wait_ends_when_the_lock_is_granted_released_or_expires() {
    let native = Native::start(&[]).await;
    let key = unique("changes");
    let waits = format!("{}?waitMs=60000", path(&key));
    let mut known = "\"0\"".to_owned();
    for ttl_ms in [60_000, 60_000, 400] {
        let wait = ask(&native, &waits, &known);
        let grant = async {
            waits_are(&native, 1).await;
            (token_of(&native.granted_for(&Who::System, &key, ttl_ms).await), Instant::now())
        };
        let (answer, (token, granted)) = tokio::join!(wait, grant);
        assert_eq!((answer.status, token_of(&answer.json()["holder"])), (200, token));
        assert!(granted.elapsed() < SOON);
        known = tag(&answer);
        let wait = ask(&native, &waits, &known);
        let end = async {
            waits_are(&native, 1).await;
            if ttl_ms > 1000 {
                native.release(&Who::System, &key, token).await;
            }
            Instant::now()
        };
        let (answer, ended) = tokio::join!(wait, end);
        assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("free")));
        assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
        known = tag(&answer);
    }
    waits_are(&native, 0).await;
}

/// What a wait is told of a change, and what the change came to.
async fn told_of<T>(native: &Native, waits: &str, known: &str, change: impl Future<Output = T>) -> (Answer, T) {
    let change = async {
        waits_are(native, 1).await;
        (change.await, Instant::now())
    };
    let (answer, (done, at)) = tokio::join!(ask(native, waits, known), change);
    assert!(answer.status == 200 && at.elapsed() < SOON, "{} after {:?}", answer.text(), at.elapsed());
    assert_ne!(tag(&answer), known);
    (answer, done)
}

#[tokio::test]
async fn a_wait_for_a_shared_key_ends_with_each_lease_that_begins_or_ends_and_not_with_a_renewal() {
    let native = Native::start(&[]).await;
    let key = unique("sharers");
    let waits = format!("{}?waitMs=60000", path(&key));
    let share = async |ttl_ms: u64| token_of(&native.shares(&key, json!({"mode": "shared", "ttlMs": ttl_ms})).await);
    let one = share(60_000).await;
    let known = tag(&native.ask(&Who::System, "GET", &path(&key)).send().await);
    let (answer, two) = told_of(&native, &waits, &known, share(60_000)).await;
    assert_eq!(answer.json()["sharedBy"], 2);

    let known = tag(&answer);
    let brief = format!("{}?waitMs=500", path(&key));
    let renewing = async {
        waits_are(&native, 1).await;
        native.renew(&Who::System, &key, one, &json!({"ttlMs": 90_000})).await.status
    };
    let (answer, renewed) = tokio::join!(ask(&native, &brief, &known), renewing);
    assert_eq!((answer.status, tag(&answer), renewed), (304, known.clone(), 200), "a renewal is no change");

    let (answer, _) = told_of(&native, &waits, &known, native.release(&Who::System, &key, one)).await;
    assert_eq!((&answer.json()["sharedBy"], token_of(&answer.json()["holder"])), (&json!(1), two));
    let (answer, _) = told_of(&native, &waits, &tag(&answer), share(400)).await;
    assert_eq!(answer.json()["sharedBy"], 2);
    let (answer, ()) = told_of(&native, &waits, &tag(&answer), tokio::time::sleep(Duration::from_millis(400))).await;
    assert_eq!((&answer.json()["sharedBy"], token_of(&answer.json()["holder"])), (&json!(1), two), "it expired");
    let (answer, _) = told_of(&native, &waits, &tag(&answer), native.release(&Who::System, &key, two)).await;
    assert_eq!((answer.json()["state"].as_str(), tag(&answer)), (Some("free"), "\"0\"".to_owned()));
}

#[tokio::test]
async fn a_wait_ends_with_a_lease_that_begins_or_ends_beyond_the_hundred_that_are_shown() {
    let native = Native::start(&[]).await;
    let key = unique("many");
    let waits = format!("{}?waitMs=60000", path(&key));
    let share = async |ttl_ms: u64| token_of(&native.shares(&key, json!({"mode": "shared", "ttlMs": ttl_ms})).await);
    join_all((0..103).map(|_| share(60_000))).await;
    let shown = native.ask(&Who::System, "GET", &path(&key)).send().await;
    assert_eq!((&shown.json()["sharedBy"], shown.json()["holders"].as_array().map(Vec::len)), (&json!(103), Some(100)));

    let (answer, _) = told_of(&native, &waits, &tag(&shown), share(1500)).await;
    assert_eq!(answer.json()["sharedBy"], 104);
    let (answer, ()) = told_of(&native, &waits, &tag(&answer), tokio::time::sleep(Duration::from_millis(1500))).await;
    assert_eq!(answer.json()["sharedBy"], 103, "it expired");
    let (answer, last) = told_of(&native, &waits, &tag(&answer), share(60_000)).await;
    let (answer, _) = told_of(&native, &waits, &tag(&answer), native.release(&Who::System, &key, last)).await;
    assert_eq!(answer.json()["sharedBy"], 103, "it was released");
}

#[tokio::test]
async fn a_wait_ends_when_a_share_is_released_and_rests_and_when_its_rest_is_over() {
    let native = Native::start(&[]).await;
    let key = unique("rests");
    let waits = format!("{}?waitMs=60000", path(&key));
    let share = async || token_of(&native.shares(&key, json!({"mode": "shared", "ttlMs": 60_000})).await);
    let (one, two) = (share().await, share().await);
    let rest = async |token: u64, rest_ms: u64| {
        let rest = format!("{}?token={token}&restMs={rest_ms}", path(&key));
        assert_eq!(native.ask(&Who::System, "DELETE", &rest).send().await.status, 204);
    };
    let states = |answer: &Answer| {
        let shown = answer.json();
        let holders = shown["holders"].as_array().expect("they share it").iter().map(|it| it["state"].clone());
        (shown["state"].clone(), holders.collect::<Vec<_>>())
    };
    let shown = native.ask(&Who::System, "GET", &path(&key)).send().await;
    assert_eq!(states(&shown), (json!("held"), vec![json!("held"), json!("held")]));
    assert_eq!(shown.json()["holder"], shown.json()["holders"][0]);

    let (answer, ()) = told_of(&native, &waits, &tag(&shown), rest(two, 60_000)).await;
    assert_eq!(states(&answer), (json!("held"), vec![json!("held"), json!("resting")]));
    assert_eq!(tag(&answer), format!("\"{two}-2-1-rest\""));
    let (answer, ()) = told_of(&native, &waits, &tag(&answer), rest(one, 1000)).await;
    assert_eq!(states(&answer), (json!("resting"), vec![json!("resting"), json!("resting")]));
    let (answer, ()) = told_of(&native, &waits, &tag(&answer), tokio::time::sleep(Duration::from_secs(1))).await;
    assert_eq!(states(&answer), (json!("resting"), vec![json!("resting")]));
    let refused = native.acquire(&Who::System, &key, &json!({})).await;
    assert_problem(&refused, 409, "held");
    assert_eq!((&refused.json()["state"], &refused.json()["holder"]["state"]), (&json!("resting"), &json!("resting")));
    let (answer, three) = told_of(&native, &waits, &tag(&answer), share()).await;
    assert_eq!(states(&answer), (json!("held"), vec![json!("resting"), json!("held")]));
    assert_eq!(tag(&answer), format!("\"{three}-2-1-rest\""));
}

async fn waits_are(sidecar: &Sidecar, count: u64) {
    let line = format!("\nlockside_waiters {count}\n");
    eventually("so many wait", SOON, async || sidecar.ops("/metrics").await.text().contains(&line)).await;
}

#[tokio::test]
async fn a_wait_takes_a_seat_of_those_who_wait_and_ends_with_the_drain() {
    let mut native = Native::start(&["--max-waiters=1", "--shutdown-grace=20s"]).await;
    let key = unique("seat");
    let waits = format!("{}?waitMs=60000", path(&key));
    let (first, second) = {
        let wait = ask(&native, &waits, "\"0\"");
        let then = async {
            waits_are(&native, 1).await;
            let refused = ask(&native, &waits, "\"0\"").await;
            native.signal("TERM");
            refused
        };
        tokio::join!(wait, then)
    };
    assert_eq!((second.status, second.json()["code"].as_str()), (429, Some("too-many-waiters")));
    assert_problem(&first, 503, "draining");
    assert_eq!(native.0.exit_code(Duration::from_secs(5)).await, Some(0), "the grace is not used up");
}

#[tokio::test]
async fn a_wait_that_ends_while_redis_is_unavailable_is_not_told_that_nothing_changed() {
    let redis = TestRedis::start(&[]);
    let proxy = Proxy::start(&redis);
    let native = Native::start_at(&proxy.url(), &["--redis-timeout=500ms"]).await;
    let key = unique("away");
    let waits = format!("{}?waitMs=3000", path(&key));
    let wait = ask(&native, &waits, "\"0\"");
    let fault = async {
        waits_are(&native, 1).await;
        proxy.set(crate::harness::Fault::SwallowRequests);
    };
    let (answer, ()) = tokio::join!(wait, fault);
    assert_eq!(answer.status, 503, "{}", answer.text());
}

#[tokio::test]
async fn waits_one_after_another_share_a_connection() {
    const WAITS: u64 = 6;
    let redis = TestRedis::start(&[]);
    let native = Native::start_at(&redis.url(), &[]).await;
    let waits = format!("{}?waitMs=200", path(&unique("polls")));
    // This counts itself, too.
    let connections = || {
        let stats: String = redis.ask("INFO", &["stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.expect("INFO has it").parse::<u64>().expect("a number")
    };
    assert_eq!(ask(&native, &waits, "\"0\"").await.status, 304);
    let before = connections();
    for _ in 0..WAITS {
        assert_eq!(ask(&native, &waits, "\"0\"").await.status, 304);
    }
    let opened = connections() - before - 1;
    assert!(opened < WAITS / 2, "{opened} connections for {WAITS} waits");
}
