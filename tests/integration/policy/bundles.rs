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

    let all = guarded.ask(&As::Token("all"), "POST", "/v1/bundles").json(&of(&both, json!({}))).send().await;
    let leases = named(&all);
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
async fn a_hold_of_several_keys_shows_no_holder_that_the_caller_may_not_read() {
    let guarded = Guarded::start("token:all lock,read *\ntoken:ci lock a*\n", &["all", "ci"], &[]).await;
    let [one, two] = [unique("a1"), unique("a2")];
    let body = json!({"owner": "a-secret-name", "meta": {"of": "a-secret-place"}, "ttlMs": 60_000});
    let lease = guarded.granted(&As::Token("all"), &two, body).await;
    for (name, is_shown) in [("ci", false), ("all", true)] {
        let who = As::Token(name);
        let hold = |body: Value| guarded.ask(&who, "POST", "/v1/bundles/hold").json(&of(&[&one, &two], body));
        let shows = |line: &Value, what: &str| {
            assert_eq!(line["key"], json!(two), "{what}: {line}");
            assert!(line["holder"]["validForMs"].as_u64().is_some_and(|left| left <= 60_000), "{what}: {line}");
            let told = line.to_string();
            let secrets = ["a-secret-name".to_owned(), "a-secret-place".to_owned(), lease["token"].to_string()];
            assert!(secrets.iter().all(|secret| told.contains(secret) == is_shown), "{what}: {line}");
        };
        let refused = hold(json!({})).send().await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        shows(&refused.json(), "409");
        let mut stream = hold(json!({"progress": true, "waitMs": 500})).open().await;
        let (mut waiting, mut refused) = (0, None);
        while let Some(line) = stream.next().await {
            match line["event"].as_str().unwrap() {
                "waiting" if line["holder"] != Value::Null => {
                    shows(&line, "waiting");
                    waiting += 1;
                }
                "refused" => refused = Some(line),
                _ => assert_eq!(line["event"], "waiting"),
            }
        }
        assert!(waiting > 0, "a line with the holder");
        shows(&refused.expect("a refusal"), "refused");
    }
}

/// Leases as a request names them.
fn named(bundle: &Answer) -> Value {
    let bundle = bundle.json();
    let leases = bundle["leases"].as_array().unwrap().iter();
    leases.map(|it| json!({"key": it["key"], "token": it["token"]})).collect()
}

#[tokio::test]
async fn leases_of_ones_own_are_released_together_although_the_policy_no_longer_allows_their_keys() {
    let guarded = Guarded::start("token:all lock,read *\ntoken:ci lock a*\n", &["all", "ci"], &[]).await;
    let (all, ci) = (As::Token("all"), As::Token("ci"));
    let routes = [("DELETE", "/v1/bundles"), ("POST", "/v1/bundles/release")];
    let mut bundles = Vec::new();
    for _ in routes {
        let keys = [unique("a"), unique("a")];
        let body = of(&[&keys[0], &keys[1]], json!({"ttlMs": 60_000}));
        let bundle = guarded.ask(&ci, "POST", "/v1/bundles").json(&body).send().await;
        assert_eq!(bundle.status, 201, "{}", bundle.text());
        bundles.push((keys, named(&bundle)));
    }
    let others = unique("a");
    let lease = guarded.granted(&all, &others, json!({"ttlMs": 60_000})).await;

    guarded.rewrite("token:all lock,read *\n", &ci, &unique("a"), 403).await;

    for ((method, at), (keys, leases)) in routes.into_iter().zip(bundles) {
        assert_denied(&guarded.ask(&ci, "PUT", "/v1/bundles").json(&json!({"leases": leases})).send().await, "lock");
        // Beside one of another caller none is released.
        let mut mixed = leases.clone();
        mixed.as_array_mut().unwrap().push(json!({"key": others, "token": lease["token"]}));
        assert_denied(&guarded.ask(&ci, method, at).json(&json!({"leases": mixed})).send().await, "lock");
        for key in keys.iter().chain([&others]) {
            assert_eq!(state(&guarded, key).await["state"], "held", "{method} {key}");
        }
        let released = guarded.ask(&ci, method, at).json(&json!({"leases": leases})).send().await;
        assert_eq!(released.status, 204, "{method}: {}", released.text());
        for key in &keys {
            assert_eq!(state(&guarded, key).await["state"], "free", "{method} {key}");
        }
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
    let body = json!({"leases": named(&bundle)});
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
