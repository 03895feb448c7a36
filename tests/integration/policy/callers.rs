//! Limits of every caller, by flags; and callers without credentials, who are one caller.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::quotas::{OPEN, assert_exceeded};
use super::{As, Guarded, path};
use crate::harness::http::Client;
use crate::harness::{Call, Sidecar, TestRedis, unique};

/// Each limit has a number of its own, and each is tried by a caller of its own.
const FLAGS: [&str; 10] = [
    "--caller-locks",
    "5",
    "--caller-waiters",
    "2",
    "--caller-holds",
    "3",
    "--caller-requests",
    "12",
    "--caller-ttl",
    "7s",
];

#[tokio::test]
async fn each_flag_sets_its_own_limit_of_every_caller() {
    let callers = ["locks", "waiters", "holds", "requests", "ttl"];
    let guarded = Guarded::start(OPEN, &callers, &FLAGS).await;

    let who = As::Token("locks");
    for _ in 0..5 {
        guarded.granted(&who, &unique("k"), json!({})).await;
    }
    assert_exceeded(&guarded.acquire(&who, &unique("k")).await, "locks", 5);

    let (who, key) = (As::Token("waiters"), unique("k"));
    let watch = || guarded.ask(&who, "GET", &format!("{}/events", path(&key)));
    let watching = [watch().open().await, watch().open().await];
    assert_eq!(watching.each_ref().map(|stream| stream.status), [200, 200]);
    assert_exceeded(&watch().send().await, "waiters", 2);

    let who = As::Token("holds");
    let hold = || guarded.ask(&who, "POST", &format!("{}/hold", path(&unique("k"))));
    let holding = [hold().open().await, hold().open().await, hold().open().await];
    assert_eq!(holding.each_ref().map(|stream| stream.status), [200, 200, 200]);
    assert_exceeded(&hold().send().await, "holds", 3);

    let who = As::Token("requests");
    let asked = join_all((0..100).map(|_| guarded.ask(&who, "GET", &path(&key)).send())).await;
    let (served, refused): (Vec<_>, Vec<_>) = asked.into_iter().partition(|answer| answer.status == 200);
    assert!(served.len() >= 12 && !refused.is_empty(), "{} of {}", served.len(), refused.len());
    refused.iter().for_each(|answer| assert_exceeded(answer, "requests", 12));

    let who = As::Token("ttl");
    assert_eq!(guarded.granted(&who, &unique("k"), json!({})).await["ttlMs"], 7000, "the default, shortened");
    assert_eq!(guarded.granted(&who, &unique("k"), json!({"ttlMs": 7000})).await["ttlMs"], 7000);
    let longer = guarded.ask(&who, "POST", &path(&unique("k"))).json(&json!({"ttlMs": 7001})).send().await;
    assert!(longer.status == 400 && longer.text().contains("a ttl of at most 7000 ms"), "{}", longer.text());
}

fn owned(number: usize) -> Value {
    json!({"owner": format!("caller-{number}"), "ttlMs": 60_000})
}

#[tokio::test]
async fn callers_without_credentials_are_one_caller_whatever_they_call_themselves_and_no_other() {
    let policy = "anonymous lock *\ntoken:* lock *\nanonymous limit locks=2\n";
    let guarded = Guarded::start(policy, &["anonymous"], &["--caller-locks", "1", "--anonymous", "full"]).await;
    let named = As::Token("anonymous");
    guarded.granted(&named, &unique("k"), owned(0)).await;
    let first = unique("k");
    let lease = guarded.granted(&As::Nobody, &first, owned(1)).await;
    guarded.granted(&As::Nobody, &unique("k"), owned(2)).await;
    for number in 1..4 {
        let refused = guarded.ask(&As::Nobody, "POST", &path(&unique("k"))).json(&owned(number)).send().await;
        assert_exceeded(&refused, "locks", 2);
    }
    assert_exceeded(&guarded.acquire(&named, &unique("k")).await, "locks", 1);
    assert_eq!(guarded.release(&As::Nobody, &first, &lease["token"]).await.status, 204);
    guarded.granted(&As::Nobody, &unique("k"), owned(3)).await;
}

/// On connections of their own, as from two pods.
#[tokio::test]
async fn callers_without_credentials_are_one_caller_without_a_policy_too() {
    let prefix = unique("anonymous");
    let flags = ["--anonymous", "full", "--caller-locks", "2", "--key-prefix", &prefix];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let acquire = async |number: usize| {
        let url = format!("http://{}{}", sidecar.api_address(), path(&unique("k")));
        Call::new(&Client::new(), "POST", &url).json(&owned(number)).send().await
    };
    assert_eq!([acquire(1).await.status, acquire(2).await.status], [201, 201]);
    assert_exceeded(&acquire(3).await, "locks", 2);
}
