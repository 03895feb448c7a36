//! Several locks that live as long as one connection.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{acquire, acquire_one, fleet, force, free_within, held, held_within, is_held, keys, of, one, release_one};
use crate::harness::http::Lines;
use crate::harness::{Sidecar, TestRedis, eventually};

async fn hold(sidecar: &Sidecar, keys: &[&str], further: Value) -> Lines {
    sidecar.call("POST", "/v1/bundles/hold").json(&of(keys, further)).open().await
}

async fn acquired(sidecar: &Sidecar, keys: &[&str], further: Value) -> (Lines, Value) {
    let mut lines = hold(sidecar, keys, further).await;
    assert_eq!(lines.status, 200);
    let first = lines.next().await.expect("a line");
    assert_eq!(first["event"], "acquired", "{first}");
    (lines, first)
}

/// The lines that follow, without signs of life and renewals, up to the end of the stream.
async fn last_words(mut lines: Lines) -> Vec<Value> {
    let mut words = Vec::new();
    while let Some(line) = lines.news().await {
        if line["event"] != "renewed" {
            words.push(line);
        }
    }
    words
}

#[tokio::test]
async fn a_hold_keeps_all_its_keys_and_tells_of_each_renewal_once() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    let (mut lines, first) = acquired(&sidecar, &[&c, &a, &b], json!({"ttlMs": 900, "owner": "me"})).await;
    let told: Vec<&Value> = first["leases"].as_array().unwrap().iter().map(|lease| &lease["key"]).collect();
    assert_eq!(told, [&json!(c), &json!(a), &json!(b)]);
    assert!((1..900).contains(&first["validForMs"].as_u64().unwrap()), "{first}");

    let begun = Instant::now();
    for _ in 0..10 {
        let line = tokio::time::timeout(Duration::from_secs(2), lines.next()).await.unwrap().unwrap();
        assert_eq!(line["event"], "renewed", "{line}");
        assert!((1..900).contains(&line["validForMs"].as_u64().unwrap()), "{line}");
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "one line for all: {:?}", begun.elapsed());
    for key in [&a, &b, &c] {
        assert_eq!(acquire_one(&sidecar, key, &json!({})).await.status, 409);
    }
    drop(lines);
    free_within(&sidecar, &[&a, &b, &c], Duration::from_secs(3)).await;
}

/// The leases are renewed at different times, and each by itself says little.
#[tokio::test]
async fn no_line_is_further_from_the_one_before_than_two_seconds() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    // One after another: renewed in one step, they would nearly be renewed as one.
    let (mut lines, _) = acquired(&sidecar, &[&a, &b, &c], json!({"ttlMs": 8000, "waitMs": 1000})).await;
    let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    let mut said = Vec::new();
    while begun.elapsed() < Duration::from_secs(9) {
        let line = lines.next().await.expect("a line");
        longest = longest.max(last.elapsed());
        last = Instant::now();
        said.push(line["event"].as_str().unwrap().to_owned());
    }
    // On a busy machine a line is late.
    assert!(longest < Duration::from_millis(2500), "{longest:?}: {said:?}");
    assert!(said.len() < 12, "one line for all: {said:?}");
}

#[tokio::test]
async fn when_one_lease_is_lost_the_others_are_released_at_once() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    let (lines, _) = acquired(&sidecar, &[&a, &b, &c], json!({"ttlMs": 60_000})).await;

    force(&sidecar, &b).await;

    assert_eq!(last_words(lines).await, [json!({"event": "lost", "reason": "forced", "key": b})]);
    free_within(&sidecar, &[&a, &b, &c], Duration::from_secs(3)).await;
}

#[tokio::test]
async fn when_one_lease_is_released_by_its_token_the_others_are_released() {
    for through_another in [false, true] {
        let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
        let [a, b, _] = keys();
        let (lines, first) = acquired(&sidecars[0], &[&a, &b], json!({"ttlMs": 60_000})).await;

        let token = first["leases"][1]["token"].as_u64().unwrap();
        release_one(&sidecars[usize::from(through_another)], &b, token).await;

        assert_eq!(last_words(lines).await, [json!({"event": "released", "key": b})]);
        free_within(&sidecars[0], &[&a, &b], Duration::from_secs(3)).await;
    }
}

#[tokio::test]
async fn a_hold_that_waits_says_for_which_key() {
    let (sidecar, [a, b, _]) = (one().await, keys());
    let token = held(&sidecar, &b).await;
    let mut lines = hold(&sidecar, &[&b, &a], json!({"ttlMs": 900, "waitMs": 60_000, "progress": true})).await;
    let line = lines.next().await.unwrap();
    assert_eq!((&line["event"], &line["key"]), (&json!("waiting"), &json!(b)), "{line}");
    held_within(&sidecar, &a).await;
    let told = async {
        loop {
            let line = lines.next().await.expect("a line");
            if line["position"] == 1 {
                return line;
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.expect("told of its position");
    assert_eq!((&told["key"], &told["holder"]["token"]), (&json!(b), &json!(token)), "{told}");

    release_one(&sidecar, &b, token).await;
    let first = loop {
        let line = lines.next().await.unwrap();
        if line["event"] != "waiting" {
            break line;
        }
    };
    assert_eq!((&first["event"], &first["leases"][0]["key"]), (&json!("acquired"), &json!(b)), "{first}");
}

#[tokio::test]
async fn a_hold_that_is_refused_says_why_and_holds_nothing() {
    let (sidecar, [a, b, _]) = (one().await, keys());
    held(&sidecar, &b).await;
    let refused = sidecar.call("POST", "/v1/bundles/hold").json(&of(&[&a, &b], json!({}))).send().await;
    let problem = refused.json();
    assert_eq!((refused.status, &problem["code"], &problem["key"]), (409, &json!("held"), &json!(b)));

    let mut refused = hold(&sidecar, &[&a, &b], json!({"waitMs": 1500, "progress": true})).await;
    let last = loop {
        match refused.next().await.unwrap() {
            line if line["event"] == "waiting" => {}
            line => break line,
        }
    };
    assert_eq!((&last["event"], &last["code"], &last["key"]), (&json!("refused"), &json!("wait-timeout"), &json!(b)));
    free_within(&sidecar, &[&a], Duration::from_secs(3)).await;
    let answer = sidecar.call("POST", "/v1/bundles/hold").json(&of(&[&a], json!({"ttlMs": 20}))).send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test]
async fn a_sidecar_that_is_stopped_says_so_once_and_leaves_nothing() {
    let sidecars = fleet(TestRedis::shared(), 2, &["--shutdown-grace", "2s"]).await;
    let [a, b, _] = keys();
    let (lines, _) = acquired(&sidecars[0], &[&a, &b], json!({"ttlMs": 60_000})).await;

    sidecars[0].signal("TERM");

    let words = last_words(lines).await;
    assert_eq!(words.len(), 2, "{words:?}");
    assert_eq!((&words[0]["event"], &words[1]["event"]), (&json!("draining"), &json!("lost")));
    assert_eq!(words[1]["reason"], "draining");
    free_within(&sidecars[1], &[&a, &b], Duration::from_secs(3)).await;
}

#[tokio::test]
async fn keys_of_a_killed_sidecar_come_back_at_their_ttl() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    let [a, b, _] = keys();
    let (_lines, _) = acquired(&sidecars[0], &[&a, &b], json!({"ttlMs": 1500})).await;
    sidecars[0].signal("KILL");
    eventually("both are to be had", Duration::from_secs(4), async || {
        acquire(&sidecars[1], &of(&[&a, &b], json!({}))).await.status == 201
    })
    .await;
    assert!(is_held(&sidecars[1], &a).await);
}
