//! Streams of events: of a key, and of all locks whose keys begin alike.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Native, assert_problem, path, token_of};
use crate::harness::http::Lines;
use crate::harness::{Who, eventually, jwt, reader, unique};

/// Redis and a busy machine need no more for what is told at once.
const SOON: Duration = Duration::from_secs(5);

async fn open(native: &Native, path: &str) -> Lines {
    let lines = native.ask(&Who::System, "GET", path).open().await;
    assert_eq!(lines.status, 200);
    lines
}

/// The next event, which must come soon.
async fn next(lines: &mut Lines) -> (String, Value) {
    tokio::time::timeout(SOON, lines.event()).await.expect("an event in time").expect("the stream goes on")
}

/// The states that come first, up to `synced`.
async fn states(lines: &mut Lines) -> Vec<Value> {
    let mut states = Vec::new();
    loop {
        match next(lines).await {
            (name, data) if name == "state" => states.push(data),
            (name, data) => {
                assert_eq!((name.as_str(), data), ("synced", json!({})));
                return states;
            }
        }
    }
}

#[tokio::test]
async fn the_state_comes_first_and_then_what_happens() {
    let native = Native::start(&[]).await;
    let key = unique("events");
    let mut lines = open(&native, &format!("{}/events", path(&key))).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(lines.headers.get(name).and_then(|value| value.to_str().ok()), Some(value));
    }
    assert_eq!(states(&mut lines).await, [json!({"key": key, "state": "free", "waiters": 0, "token": 0})]);

    let body = json!({"ttlMs": 60_000, "owner": "web-3", "meta": {"a": 1}});
    let lease = native.acquire(&Who::System, &key, &body).await.json();
    let token = token_of(&lease);
    let (name, granted) = next(&mut lines).await;
    assert_eq!((name.as_str(), &granted["key"], &granted["token"]), ("granted", &json!(key), &json!(token)));
    assert_eq!((&granted["holder"]["owner"], &granted["holder"]["meta"]), (&json!("web-3"), &json!({"a": 1})));
    assert_eq!(native.renew(&Who::System, &key, token, &json!({"ttlMs": 90_000})).await.status, 200);
    native.release(&Who::System, &key, token).await;
    assert_eq!(next(&mut lines).await, ("released".to_owned(), json!({"key": key, "token": token})));

    let token = token_of(&native.granted_for(&Who::System, &key, 300).await);
    assert_eq!(next(&mut lines).await.0, "granted");
    assert_eq!(next(&mut lines).await, ("expired".to_owned(), json!({"key": key, "token": token})));

    let token = token_of(&native.granted(&Who::System, &key).await);
    assert_eq!(next(&mut lines).await.0, "granted");
    native.force(&Who::System, &key).await;
    assert_eq!(next(&mut lines).await, ("forced".to_owned(), json!({"key": key, "token": token})));
}

#[tokio::test]
async fn a_lease_that_ends_sooner_than_it_did_is_told_of_at_its_end() {
    let native = Native::start(&[]).await;
    let key = unique("shorter");
    let mut lines = open(&native, &format!("{}/events", path(&key))).await;
    states(&mut lines).await;
    let token = token_of(&native.granted(&Who::System, &key).await);
    assert_eq!(next(&mut lines).await.0, "granted");
    assert_eq!(native.renew(&Who::System, &key, token, &json!({"ttlMs": 200})).await.status, 200);
    assert_eq!(next(&mut lines).await.0, "expired");
}

#[tokio::test]
async fn who_waits_is_counted_and_the_next_holder_is_told_of() {
    let native = Native::start(&[]).await;
    let key = unique("queue");
    let held = token_of(&native.granted(&Who::System, &key).await);
    let mut lines = open(&native, &format!("{}/events", path(&key))).await;
    assert_eq!(token_of(&states(&mut lines).await[0]), held);
    let body = json!({"ttlMs": 60_000, "waitMs": 60_000, "owner": "next"});
    let wait = native.acquire(&Who::System, &key, &body);
    let told = async {
        assert_eq!(next(&mut lines).await, ("waiting".to_owned(), json!({"key": key, "token": held, "waiters": 1})));
        native.release(&Who::System, &key, held).await;
        let mut names = Vec::new();
        loop {
            let (name, data) = next(&mut lines).await;
            names.push(name.clone());
            if name == "granted" {
                assert_eq!(data["holder"]["owner"], "next");
                return (names, token_of(&data));
            }
        }
    };
    let (granted, (names, token)) = tokio::join!(wait, told);
    assert_eq!(token_of(&granted.json()), token);
    assert!(names == ["released", "granted"] || names == ["granted"], "{names:?}");
}

#[tokio::test]
async fn a_rest_is_told_as_released_and_ends_as_expired() {
    let native = Native::start(&[]).await;
    let key = unique("rest");
    let token = token_of(&native.granted(&Who::System, &key).await);
    let mut lines = open(&native, &format!("{}/events", path(&key))).await;
    states(&mut lines).await;
    let rest = format!("{}?token={token}&restMs=500", path(&key));
    assert_eq!(native.ask(&Who::System, "DELETE", &rest).send().await.status, 204);
    let (name, data) = next(&mut lines).await;
    assert_eq!((name.as_str(), &data["state"], token_of(&data)), ("released", &json!("resting"), token));
    assert_eq!(next(&mut lines).await, ("expired".to_owned(), json!({"key": key, "token": token})));
}

#[tokio::test]
async fn a_rest_of_a_share_is_told_as_released_and_ends_as_expired_or_forced_while_others_share_the_key() {
    let native = Native::start(&[]).await;
    let key = unique("shared-rest");
    let share = async |owner: &str| {
        token_of(&native.shares(&key, json!({"mode": "shared", "ttlMs": 60_000, "owner": owner})).await)
    };
    share("stays").await;
    let tokens = [share("one").await, share("two").await];
    let mut lines = open(&native, &format!("{}/events", path(&key))).await;
    states(&mut lines).await;
    let rest = |token: u64, rest_ms: u64| format!("{}?token={token}&restMs={rest_ms}", path(&key));
    for (token, (owner, rest_ms)) in tokens.into_iter().zip([("one", 1000), ("two", 60_000)]) {
        assert_eq!(native.ask(&Who::System, "DELETE", &rest(token, rest_ms)).send().await.status, 204);
        let (name, data) = next(&mut lines).await;
        assert_eq!((name.as_str(), &data["state"], token_of(&data)), ("released", &json!("resting"), token), "{data}");
        let holder = &data["holder"];
        assert_eq!((&holder["owner"], &holder["state"]), (&json!(owner), &json!("resting")), "{data}");
    }
    // States that are told now show it as what it is.
    let shown = states(&mut open(&native, &format!("{}/events", path(&key))).await).await.remove(0);
    let holders: Vec<&Value> = shown["holders"].as_array().unwrap().iter().map(|holder| &holder["state"]).collect();
    assert_eq!((&shown["state"], &holders[holders.len() - 1]), (&json!("held"), &&json!("resting")), "{shown}");

    let ended = |token: u64| json!({"key": key, "token": token});
    assert_eq!(next(&mut lines).await, ("expired".to_owned(), ended(tokens[0])));
    let force = format!("{}?force=true&token={}", path(&key), tokens[1]);
    assert_eq!(native.ask(&Who::System, "DELETE", &force).send().await.status, 204);
    assert_eq!(next(&mut lines).await, ("forced".to_owned(), ended(tokens[1])));
    let released = share("three").await;
    assert_eq!(next(&mut lines).await.0, "granted");
    native.release(&Who::System, &key, released).await;
    assert_eq!(next(&mut lines).await, ("released".to_owned(), ended(released)));
}

#[tokio::test]
async fn how_a_lease_ends_is_told_also_beyond_the_hundred_that_are_shown() {
    let native = Native::start(&[]).await;
    let key = unique("many");
    let share = async |ttl_ms: u64| token_of(&native.shares(&key, json!({"mode": "shared", "ttlMs": ttl_ms})).await);
    join_all((0..100).map(|_| share(60_000))).await;
    let tokens = [share(1500).await, share(60_000).await, share(60_000).await];
    let mut lines = open(&native, &format!("{}/events", path(&key))).await;
    assert_eq!(states(&mut lines).await[0]["sharedBy"], 103);

    let ended = |name: &str, token: u64| (name.to_owned(), json!({"key": key, "token": token}));
    assert_eq!(next(&mut lines).await, ended("expired", tokens[0]));
    native.release(&Who::System, &key, tokens[1]).await;
    assert_eq!(next(&mut lines).await, ended("released", tokens[1]));
    let force = format!("{}?force=true&token={}", path(&key), tokens[2]);
    assert_eq!(native.ask(&Who::System, "DELETE", &force).send().await.status, 204);
    assert_eq!(next(&mut lines).await, ended("forced", tokens[2]));
    // One that begins there is told of when it ends: no event could say who has it.
    let later = share(60_000).await;
    let one = token_of(&native.look(&key).await["holder"]);
    native.release(&Who::System, &key, one).await;
    assert_eq!(next(&mut lines).await, ended("released", one));
    native.release(&Who::System, &key, later).await;
    assert_eq!(next(&mut lines).await, ended("released", later));
}

#[tokio::test]
async fn a_prefix_is_told_of_its_own_keys_alone() {
    let native = Native::start(&[]).await;
    let prefix = unique("prefix");
    let (one, two, other) = (format!("{prefix}-1"), format!("{prefix}-2"), unique("other"));
    let first = token_of(&native.granted(&Who::System, &one).await);
    native.granted(&Who::System, &other).await;
    let mut lines = open(&native, &format!("/v1/events?prefix={prefix}-")).await;
    let begun = states(&mut lines).await;
    assert_eq!((begun.len(), token_of(&begun[0])), (1, first), "{begun:?}");
    let unseen = native.granted(&Who::System, &unique("other")).await;
    let second = token_of(&native.granted(&Who::System, &two).await);
    let (name, data) = next(&mut lines).await;
    assert_eq!((name.as_str(), token_of(&data)), ("granted", second), "and not {unseen}");
    native.release(&Who::System, &one, first).await;
    assert_eq!(next(&mut lines).await, ("released".to_owned(), json!({"key": one, "token": first})));
    let mut all = open(&native, "/v1/events").await;
    assert!(states(&mut all).await.iter().any(|state| token_of(state) == second));
    // Those that come later are told the states that are known.
    let mut again = open(&native, &format!("/v1/events?prefix={prefix}-")).await;
    assert_eq!(states(&mut again).await.iter().map(token_of).collect::<Vec<_>>(), [second]);
}

#[tokio::test]
async fn a_head_is_answered_and_unknown_parameters_and_callers_are_refused() {
    let native = Native::start(&["--anonymous=none"]).await;
    let key = unique("refused");
    for path in [format!("{}/events", path(&key)), "/v1/events".to_owned()] {
        let head = native.ask(&Who::System, "HEAD", &path).send().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_problem(&native.ask(&Who::System, "GET", &format!("{path}?x=1")).send().await, 400, "bad-request");
        assert_problem(&native.ask(&Who::Nobody, "GET", &path).send().await, 401, "unauthorized");
        assert_problem(&native.ask(&Who::System, "POST", &path).send().await, 405, "method-not-allowed");
    }
    assert!(!native.ops("/metrics").await.text().contains("lockside_watchers{kind=\"key\"} 1"));
}

#[tokio::test]
async fn more_watchers_than_there_may_be_are_refused_until_one_has_gone() {
    let native = Native::start(&["--max-watchers=2"]).await;
    let events = format!("{}/events", path(&unique("many")));
    let (first, second) = (open(&native, &events).await, open(&native, "/v1/events").await);
    let metrics = native.ops("/metrics").await;
    for kind in ["key", "prefix"] {
        assert!(metrics.text().contains(&format!("lockside_watchers{{kind=\"{kind}\"}} 1\n")), "{}", metrics.text());
    }

    let refused = native.ask(&Who::System, "GET", &events).send().await;

    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("too-many-requests")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(first);
    eventually("a place is free", SOON, async || {
        native.ops("/metrics").await.text().contains("lockside_watchers{kind=\"key\"} 0\n")
    })
    .await;
    drop((open(&native, &events).await, second));
}

#[tokio::test]
async fn a_stream_ends_with_the_drain_at_once() {
    let mut native = Native::start(&["--shutdown-grace=20s"]).await;
    let mut lines = open(&native, "/v1/events").await;
    states(&mut lines).await;
    native.signal("TERM");
    let ended = async { while lines.event().await.is_some() {} };
    tokio::time::timeout(SOON, ended).await.expect("it ends");
    assert_eq!(native.0.exit_code(SOON).await, Some(0), "the grace is not used up");
}

#[tokio::test]
async fn a_stream_ends_with_the_credential_of_its_caller() {
    let native = Native::start(&[]).await;
    let key = unique("credential");
    let leeway = 30;
    let claims = json!({"sub": "alice", "exp": jwt::seconds(3) - leeway});
    let secret = jsonwebtoken::EncodingKey::from_secret(jwt::SECRET.as_bytes());
    let short = Who::User(jwt::sign(&claims, jsonwebtoken::Algorithm::HS256, &secret));
    let events = format!("{}/events", path(&key));
    let mut ends = native.ask(&short, "GET", &events).open().await;
    let mut stays = native.ask(&reader("bob"), "GET", &events).open().await;
    assert_eq!((ends.status, stays.status), (200, 200));
    states(&mut stays).await;
    let ended = async { while ends.event().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(8), ended).await.expect("it ends");
    native.granted(&Who::System, &key).await;
    assert_eq!(next(&mut stays).await.0, "granted");
}
