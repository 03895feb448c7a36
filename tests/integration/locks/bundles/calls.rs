//! What each call answers.

use serde_json::{Value, json};

use super::{
    acquire, acquire_one, fleet, force, granted, held, is_held, keys, named, of, one, release, release_one, renew,
    waits,
};
use super::{free_within, held_within, look, waiters_are};
use crate::harness::{Answer, TestRedis, unique};
use std::time::Duration;

/// A problem's status and code, and the keys that it names.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) -> Value {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{problem}");
    problem
}

#[tokio::test]
async fn all_keys_are_granted_and_told_in_the_order_of_the_request() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    for wait_ms in [0, 1000] {
        let asked = json!({"ttlMs": 5000, "waitMs": wait_ms, "owner": "me", "meta": {"n": 1}});
        let bundle = granted(&sidecar, &[&b, &c, &a], asked).await;

        let leases = bundle["leases"].as_array().unwrap();
        let told: Vec<&Value> = leases.iter().map(|lease| &lease["key"]).collect();
        assert_eq!(told, [&json!(b), &json!(c), &json!(a)]);
        let least = leases.iter().map(|lease| lease["validForMs"].as_u64().unwrap()).min();
        assert_eq!(bundle["validForMs"].as_u64(), least);
        assert!((4000..5000).contains(&least.unwrap()), "{bundle}");
        for lease in leases {
            let holder = look(&sidecar, lease["key"].as_str().unwrap()).await["holder"].clone();
            assert_eq!((&holder["token"], &holder["owner"]), (&lease["token"], &json!("me")));
            assert_eq!((&holder["meta"], &holder["ttlMs"]), (&json!({"n": 1}), &json!(5000)));
        }
        assert_eq!(release(&sidecar, &named(&bundle)).await.status, 204);
        for key in [&a, &b, &c] {
            assert!(!is_held(&sidecar, key).await);
        }
    }
}

#[tokio::test]
async fn one_key_that_is_held_refuses_all_and_is_named_with_its_holder() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    let token = held(&sidecar, &b).await;
    for (wait_ms, code) in [(0, "held"), (200, "wait-timeout")] {
        let answer = acquire(&sidecar, &of(&[&c, &b, &a], json!({"waitMs": wait_ms}))).await;

        let problem = assert_problem(&answer, 409, code);
        assert_eq!((&problem["key"], &problem["holder"]["token"]), (&json!(b), &json!(token)), "{problem}");
        assert_eq!(problem["holder"]["owner"], "other");
        assert!((55..=60).contains(&answer.header("retry-after").unwrap().parse::<u32>().unwrap()));
        free_within(&sidecar, &[&a, &c], Duration::from_secs(3)).await;
    }
    let other = held(&sidecar, &a).await;
    let answer = acquire(&sidecar, &of(&[&c, &b, &a], json!({}))).await;
    assert_eq!(assert_problem(&answer, 409, "held")["key"], json!(a), "the first by bytes of those in the way");
    release_one(&sidecar, &a, other).await;
}

#[tokio::test]
async fn a_bundle_waits_for_one_key_after_another_and_renews_what_it_has() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    let token = held(&sidecar, &b).await;
    let waiting = waits(&sidecar, of(&[&b, &c, &a], json!({"ttlMs": 600, "waitMs": 60_000, "owner": "me"})));
    waiters_are(&sidecar, &b, 1).await;
    held_within(&sidecar, &a).await;
    let first = look(&sidecar, &a).await["holder"]["token"].clone();
    assert!(!is_held(&sidecar, &c).await, "its turn comes behind the one that is waited for");

    // Three times the ttl: what is there has been renewed.
    tokio::time::sleep(Duration::from_millis(1800)).await;
    assert_eq!(look(&sidecar, &a).await["holder"]["token"], first);
    release_one(&sidecar, &b, token).await;

    let bundle = waiting.await.unwrap();
    assert_eq!(bundle.status, 201, "{}", bundle.text());
    let bundle = bundle.json();
    assert_eq!(bundle["leases"][2]["token"], first);
    assert!(bundle["validForMs"].as_u64().unwrap() > 400, "all are renewed at the end: {bundle}");
    assert_eq!(release(&sidecar, &named(&bundle)).await.status, 204);
}

#[tokio::test]
async fn a_renewal_is_of_all_or_of_none() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    let bundle = granted(&sidecar, &[&c, &a, &b], json!({"ttlMs": 20_000, "owner": "me"})).await;
    let leases = named(&bundle);

    let renewed = renew(&sidecar, &leases, 60_000).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(named(&renewed.json()), leases, "in the order of the request");
    assert!((50_000..60_000).contains(&renewed.json()["validForMs"].as_u64().unwrap()));

    force(&sidecar, &b).await;
    let problem = assert_problem(&renew(&sidecar, &leases, 90_000).await, 410, "lost");
    assert_eq!(problem["lost"], json!([b]), "{problem}");
    for key in [&a, &c] {
        let left = look(&sidecar, key).await["holder"]["validForMs"].as_u64().unwrap();
        assert!(left <= 60_000, "neither renewed nor released: {left}");
    }
    let problem = assert_problem(&release(&sidecar, &leases).await, 410, "lost");
    assert_eq!(problem["lost"], json!([b]));
    for key in [&a, &c] {
        assert!(!is_held(&sidecar, key).await, "each lease is released by itself");
    }
}

#[tokio::test]
async fn post_release_does_what_delete_does() {
    let (sidecar, [a, b, _]) = (one().await, keys());
    let bundle = granted(&sidecar, &[&a, &b], json!({})).await;
    let body = json!({"leases": named(&bundle)});
    assert_eq!(sidecar.call("POST", "/v1/bundles/release").json(&body).send().await.status, 204);
    let again = sidecar.call("POST", "/v1/bundles/release").json(&body).send().await;
    assert_eq!(assert_problem(&again, 410, "lost")["lost"], json!([a, b]));
}

#[tokio::test]
async fn shared_keys_are_shared_and_the_mode_stands_at_each() {
    let (sidecar, [a, b, _]) = (one().await, keys());
    let body = json!({"keys": [{"key": b, "mode": "shared", "limit": 2}, {"key": a, "mode": "shared"}]});
    for wait_ms in [0, 100] {
        let body = json!({"keys": body["keys"], "waitMs": wait_ms});
        assert_eq!(acquire(&sidecar, &body).await.status, 201);
    }
    assert_eq!(look(&sidecar, &b).await["sharedBy"], 2);
    let full = assert_problem(&acquire(&sidecar, &body).await, 409, "held");
    assert_eq!((&full["key"], &full["sharedBy"]), (&json!(b), &json!(2)), "{full}");
    assert_eq!(look(&sidecar, &a).await["sharedBy"], 2, "none of a loser");
    let exclusive = assert_problem(&acquire(&sidecar, &of(&[&a, &b], json!({}))).await, 409, "held");
    assert_eq!(exclusive["key"], json!(a));
}

#[tokio::test]
async fn a_key_that_others_wait_for_is_not_taken_past_them() {
    let (sidecar, [a, b, _]) = (one().await, keys());
    let token = held(&sidecar, &b).await;
    let waiting = waits(&sidecar, of(&[&b], json!({"waitMs": 60_000})));
    waiters_are(&sidecar, &b, 1).await;
    release_one(&sidecar, &b, token).await;
    assert_eq!(acquire(&sidecar, &of(&[&a, &b], json!({}))).await.status, 409);
    assert_eq!(waiting.await.unwrap().status, 201);
    assert!(!is_held(&sidecar, &a).await);
}

#[tokio::test]
async fn a_repetition_is_told_of_the_same_leases_leg_by_leg() {
    let (sidecar, [a, b, c]) = (one().await, keys());
    let attempt = async |keys: &[&str], wait_ms: u64| {
        let body = of(keys, json!({"owner": "me", "ttlMs": 60_000, "waitMs": wait_ms}));
        sidecar.call("POST", "/v1/bundles").header("idempotency-key", "once").json(&body).send().await
    };
    for wait_ms in [0, 1000] {
        let first = attempt(&[&a, &b], wait_ms).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let again = attempt(&[&b, &a], wait_ms).await;
        assert_eq!(again.status, 200, "{}", again.text());
        assert_eq!(again.json()["leases"][1]["token"], first.json()["leases"][0]["token"]);

        let partly = attempt(&[&c, &a], wait_ms).await;
        assert_eq!((partly.status, &partly.json()["leases"][1]["token"]), (201, &first.json()["leases"][0]["token"]));
        release_one(&sidecar, &c, partly.json()["leases"][0]["token"].as_u64().unwrap()).await;

        let token = held(&sidecar, &c).await;
        assert_eq!(attempt(&[&a, &b, &c], wait_ms).await.status, 409);
        // What was told before stays when a repetition fails.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (key, at) in [(&a, 0), (&b, 1)] {
            assert_eq!(look(&sidecar, key).await["holder"]["token"], first.json()["leases"][at]["token"]);
        }
        release_one(&sidecar, &c, token).await;
        assert_eq!(release(&sidecar, &named(&first.json())).await.status, 204);
    }
}

#[tokio::test]
async fn two_sendings_of_an_attempt_that_wait_at_two_sidecars_are_told_of_the_same_leases() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    for mode in ["shared", "exclusive"] {
        let [a, b, _] = keys();
        let token = held(&sidecars[0], &b).await;
        let keys = json!([{"key": a}, {"key": b, "mode": mode}]);
        let body = json!({"keys": keys, "owner": "me", "ttlMs": 4500, "waitMs": 60_000});
        let send = |at: usize| {
            let (sidecar, body) = (std::sync::Arc::clone(&sidecars[at]), body.clone());
            tokio::spawn(async move {
                sidecar.call("POST", "/v1/bundles").header("idempotency-key", "once").json(&body).send().await
            })
        };
        let first = send(0);
        waiters_are(&sidecars[0], &b, 1).await;
        let lease = look(&sidecars[0], &a).await["holder"]["token"].clone();
        let second = send(1);
        waiters_are(&sidecars[0], &b, 2).await;
        // Longer than the ttl: each of them has renewed what is there.
        tokio::time::sleep(Duration::from_millis(5000)).await;
        assert!(!first.is_finished() && !second.is_finished(), "neither has lost anything");
        assert_eq!(look(&sidecars[0], &a).await["holder"]["token"], lease);
        release_one(&sidecars[0], &b, token).await;

        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        let tokens = |answer: &Answer| named(&answer.json());
        for answer in [&first, &second] {
            assert!(matches!(answer.status, 200 | 201), "{mode}: {}", answer.text());
            assert_eq!(tokens(answer)[0]["token"], lease, "{mode}");
        }
        assert_eq!(tokens(&first), tokens(&second), "{mode}");
        assert_eq!(release(&sidecars[1], &tokens(&second)).await.status, 204);
    }
}

#[tokio::test]
async fn when_the_first_of_two_sendings_goes_the_second_waits_on_with_what_was_there() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    let [a, b, _] = keys();
    let token = held(&sidecars[0], &b).await;
    let body = of(&[&a, &b], json!({"owner": "me", "ttlMs": 600, "waitMs": 60_000}));
    let send = |at: usize| {
        let (sidecar, body) = (std::sync::Arc::clone(&sidecars[at]), body.clone());
        tokio::spawn(async move {
            sidecar.call("POST", "/v1/bundles").header("idempotency-key", "once").json(&body).send().await
        })
    };
    let first = send(0);
    waiters_are(&sidecars[0], &b, 1).await;
    let lease = look(&sidecars[0], &a).await["holder"]["token"].clone();
    let second = send(1);
    waiters_are(&sidecars[0], &b, 2).await;
    first.abort();
    waiters_are(&sidecars[0], &b, 1).await;
    tokio::time::sleep(Duration::from_millis(1800)).await;
    release_one(&sidecars[0], &b, token).await;

    let second = second.await.unwrap();
    assert_eq!((second.status, &named(&second.json())[0]["token"]), (201, &lease), "{}", second.text());
    assert_eq!(release(&sidecars[1], &named(&second.json())).await.status, 204);
}

#[tokio::test]
async fn what_is_no_bundle_is_refused_and_nothing_is_taken() {
    let (sidecar, [a, b, _]) = (one().await, keys());
    let many: Vec<String> = (0..17).map(|_| unique("many").to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (body, reason) in [
        (json!({}), "missing field `keys`"),
        (json!({"keys": []}), "keys: expected 1 to 16 entries"),
        (of(&many, json!({})), "keys: expected 1 to 16 entries"),
        (of(&[&a, &b, &a], json!({})), "is there twice"),
        (of(&[&a, ""], json!({})), "keys[1].key: empty"),
        (json!({"keys": [a]}), "keys: "),
        (json!({"keys": [{"key": a, "mode": "both"}]}), "keys[0].mode: expected `exclusive` or `shared`"),
        (json!({"keys": [{"key": a, "limit": 0}]}), "keys[0].limit: expected an integer from 1 to 10000"),
        (json!({"keys": [{"key": a, "ttlMs": 1000}]}), "unknown field `ttlMs`"),
        (of(&[&a], json!({"reentrant": true})), "unknown field `reentrant`"),
        (of(&[&a], json!({"delayMs": 1})), "unknown field `delayMs`"),
        (of(&[&a], json!({"mode": "shared"})), "unknown field `mode`"),
        (of(&[&a], json!({"progress": true})), "unknown field `progress`"),
        (of(&[&a], json!({"ttlMs": 1})), "ttlMs: expected an integer"),
    ] {
        let problem = assert_problem(&acquire(&sidecar, &body).await, 400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{reason}: {problem}");
    }
    for (body, reason) in [
        (json!({"leases": []}), "leases: expected 1 to 16 entries"),
        (json!({"leases": [{"key": a}]}), "token"),
        (json!({"leases": [{"key": a, "token": 1}, {"key": a, "token": 2}]}), "is there twice"),
    ] {
        for method in ["PUT", "DELETE"] {
            let answer = sidecar.call(method, "/v1/bundles").json(&body).send().await;
            let problem = assert_problem(&answer, 400, "bad-request");
            assert!(problem["detail"].as_str().unwrap().contains(reason), "{reason}: {problem}");
        }
    }
    assert!(!is_held(&sidecar, &a).await && !is_held(&sidecar, &b).await);
    let answer = sidecar.call("GET", "/v1/bundles").send().await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, PUT, DELETE")));
}

#[tokio::test]
async fn a_token_that_no_lease_can_have_is_lost() {
    let (sidecar, [a, b, _]) = (one().await, keys());
    let token = held(&sidecar, &a).await;
    let leases = json!([{"key": a, "token": token}, {"key": b, "token": -1}]);
    assert_eq!(assert_problem(&renew(&sidecar, &leases, 90_000).await, 410, "lost")["lost"], json!([b]));
    assert!(is_held(&sidecar, &a).await);
    assert_eq!(assert_problem(&release(&sidecar, &leases).await, 410, "lost")["lost"], json!([b]));
    assert!(!is_held(&sidecar, &a).await);
    let again = acquire_one(&sidecar, &a, &json!({})).await;
    assert_eq!(again.status, 201);
}
