//! Several keys at once: each needs its verb, and each takes a place of the caller's.

use serde_json::{Value, json};

use super::{As, Guarded, assert_denied, path};
use crate::harness::{Answer, eventually, unique};

/// Every key that begins with `a`, and none that begins with `b`.
const POLICY: &str = "token:all lock,read *\ntoken:ci lock a*\ntoken:ci limit locks=3 waiters=1 holds=1\n";

fn of(keys: &[&str], further: Value) -> Value {
    let mut body = further;
    body["keys"] = keys.iter().map(|key| json!({"key": key})).collect();
    body
}

async fn start() -> Guarded {
    Guarded::start(POLICY, &["all", "ci"], &[]).await
}

async fn state(guarded: &Guarded, key: &str) -> Value {
    guarded.ask(&As::Token("all"), "GET", &path(key)).send().await.json()
}

fn assert_exceeded(answer: &Answer, limit: &str) {
    assert_eq!((answer.status, answer.header("lockside-limit")), (429, Some(limit)), "{}", answer.text());
}

#[tokio::test]
async fn a_bundle_needs_lock_for_each_of_its_keys() {
    let (guarded, ci) = (start().await, As::Token("ci"));
    let [mine, other] = [unique("a"), unique("b")];
    let both = [mine.as_ref(), other.as_ref()];
    for at in ["/v1/bundles", "/v1/bundles/hold"] {
        assert_denied(&guarded.ask(&ci, "POST", at).json(&of(&both, json!({"waitMs": 1000}))).send().await, "lock");
    }
    let metrics = guarded.sidecar.ops("/metrics").await;
    assert!(!metrics.text().contains("acquire_all"), "redis was not asked");
    assert_eq!(
        (&state(&guarded, &mine).await["state"], &state(&guarded, &other).await["state"]),
        (&json!("free"), &json!("free"))
    );

    let all = guarded.ask(&As::Token("all"), "POST", "/v1/bundles").json(&of(&both, json!({}))).send().await.json();
    let leases: Value =
        all["leases"].as_array().unwrap().iter().map(|it| json!({"key": it["key"], "token": it["token"]})).collect();
    for (method, at) in [("PUT", "/v1/bundles"), ("DELETE", "/v1/bundles"), ("POST", "/v1/bundles/release")] {
        assert_denied(&guarded.ask(&ci, method, at).json(&json!({"leases": leases})).send().await, "lock");
    }
    assert_eq!(state(&guarded, &mine).await["state"], "held");
}

#[tokio::test]
async fn a_holder_that_the_caller_may_not_read_is_not_shown() {
    let (guarded, ci) = (start().await, As::Token("ci"));
    let [one, two] = [unique("a1"), unique("a2")];
    guarded.granted(&As::Token("all"), &two, json!({"owner": "a-secret-name"})).await;
    for wait_ms in [0, 200] {
        let body = of(&[&one, &two], json!({"waitMs": wait_ms}));
        let refused = guarded.ask(&ci, "POST", "/v1/bundles").json(&body).send().await;
        let problem = refused.json();
        assert_eq!((refused.status, &problem["key"], &problem["holder"]["owner"]), (409, &json!(two), &Value::Null));
        assert!(!refused.text().contains("a-secret-name"), "{problem}");
    }
}

#[tokio::test]
async fn each_key_counts_as_a_lock_and_a_bundle_as_one_waiter_and_one_hold() {
    let (guarded, ci) = (start().await, As::Token("ci"));
    let names: Vec<_> = (0..5).map(|_| unique("a")).collect();
    let names: Vec<&str> = names.iter().map(|name| name.as_ref()).collect();
    let acquire = |keys: &[&str], wait_ms: u64| {
        let body = of(keys, json!({"ttlMs": 60_000, "waitMs": wait_ms}));
        guarded.ask(&ci, "POST", "/v1/bundles").json(&body).send()
    };
    assert_exceeded(&acquire(&names[..4], 0).await, "locks");
    let bundle = acquire(&names[..2], 0).await;
    assert_eq!(bundle.status, 201, "what was reserved for four is given back: {}", bundle.text());
    assert_exceeded(&acquire(&names[2..4], 1000).await, "locks");
    let leases = &bundle.json()["leases"];
    let named: Value =
        leases.as_array().unwrap().iter().map(|it| json!({"key": it["key"], "token": it["token"]})).collect();
    let body = json!({"leases": named});
    assert_eq!(guarded.ask(&ci, "POST", "/v1/bundles/release").json(&body).send().await.status, 204);

    guarded.granted(&As::Token("all"), names[4], json!({"ttlMs": 60_000})).await;
    {
        let mut waiting = Box::pin(acquire(&[names[0], names[1], names[4]], 20_000));
        let limits = async {
            eventually("it waits", super::SOON, async || state(&guarded, names[4]).await["waiters"] == 1).await;
            assert_exceeded(&acquire(&names[2..3], 0).await, "locks");
        };
        tokio::select! { () = limits => {} answer = &mut waiting => panic!("{answer:?}") }
        // Here its client hangs up.
    }
    eventually("all is given back", super::SOON, async || {
        let free = acquire(&names[..3], 0).await;
        let leases = free.json()["leases"].as_array().cloned().unwrap_or_default();
        let named: Value = leases.iter().map(|it| json!({"key": it["key"], "token": it["token"]})).collect();
        guarded.ask(&ci, "DELETE", "/v1/bundles").json(&json!({"leases": named})).send().await;
        free.status == 201
    })
    .await;

    let hold = |keys: &[&str]| guarded.ask(&ci, "POST", "/v1/bundles/hold").json(&of(keys, json!({"ttlMs": 60_000})));
    let mut first = hold(&names[..2]).open().await;
    assert_eq!((first.status, &first.next().await.expect("a line")["event"]), (200, &json!("acquired")));
    assert_exceeded(&hold(&names[2..3]).send().await, "holds");
    drop(first);
    eventually("its place is given back", super::SOON, async || {
        let again = hold(&names[..3]).open().await;
        again.status == 200
    })
    .await;
}
