//! `DELETE ?force=true`: a lock is taken away from whoever holds it, by those who may.

use std::time::Duration;

use serde_json::json;

use super::{Native, Who, assert_done, assert_problem, editor, path, reader, token_of, without_id};
use crate::harness::{Answer, eventually, unique};

#[tokio::test]
async fn those_who_manage_locks_take_any_lease_and_its_holder_has_lost_it() {
    let native = Native::start(&[]).await;
    for holder in [reader("alice"), Who::System] {
        for taker in [editor("eve"), Who::System] {
            let key = unique("taken");
            let token = token_of(&native.granted(&holder, &key).await);
            assert_done(&native.force(&taker, &key).await);
            assert!(native.is_free(&key).await);
            assert_problem(&native.renew(&holder, &key, token, &json!({})).await, 410, "lost");
            assert_problem(&native.release(&holder, &key, token).await, 410, "lost");
            let next = native.granted(&reader("bob"), &key).await;
            assert!(token_of(&next) > token);
        }
    }
}

#[tokio::test]
async fn a_free_key_is_as_free_afterwards() {
    let native = Native::start(&[]).await;
    let key = unique("free");
    for taker in [editor("eve"), Who::System] {
        assert_done(&native.force(&taker, &key).await);
    }
    assert!(!native.log().contains(&key), "nothing was taken away");
}

#[tokio::test]
async fn without_the_permission_nothing_is_told_of_the_key() {
    let native = Native::start(&[]).await;
    let (free, held, own) = (unique("free"), unique("held"), unique("own"));
    native.granted(&reader("alice"), &held).await;
    native.granted(&reader("mallory"), &own).await;
    let mut bodies = Vec::new();
    for key in [&free, &held, &own] {
        let answer = native.force(&reader("mallory"), key).await;
        assert_problem(&answer, 403, "forbidden");
        bodies.push(without_id(&answer));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(!native.is_free(&held).await && !native.is_free(&own).await);
}

#[tokio::test]
async fn what_was_taken_away_is_logged_once_with_who_did_it() {
    let native = Native::start(&[]).await;
    let (key, eve) = (unique("logged"), unique("eve"));
    let token = token_of(&native.granted(&reader("alice"), &key).await);
    assert_problem(&native.force(&reader("mallory"), &key).await, 403, "forbidden");
    assert_done(&native.force(&editor(&eve), &key).await);
    assert_done(&native.force(&editor(&eve), &key).await);
    let lines = || native.log().lines().filter(|line| line.contains(&key)).map(str::to_owned).collect::<Vec<_>>();
    eventually("it is logged", Duration::from_secs(2), async || !lines().is_empty()).await;
    let lines = lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for word in [eve.as_str(), &token.to_string(), "alice", "\"user\""] {
        assert!(lines[0].contains(word), "{word}: {}", lines[0]);
    }
    assert!(!native.log().contains("mallory"));
}

#[tokio::test]
async fn a_delete_says_either_which_lease_or_force() {
    let native = Native::start(&[]).await;
    let key = unique("either");
    let token = token_of(&native.granted(&Who::System, &key).await);
    for query in [
        "".to_owned(),
        "?force=false".to_owned(),
        "?force=1".to_owned(),
        "?force=TRUE".to_owned(),
        "?force".to_owned(),
        "?force=true&force=false".to_owned(),
        format!("?token={token}&token={token}"),
        format!("?force=true&token={token}&restMs=5"),
        format!("?Token={token}"),
    ] {
        let answer = native.ask(&Who::System, "DELETE", &format!("{}{query}", path(&key))).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
    assert!(!native.is_free(&key).await);
    let unforced = format!("{}?force=false&token={token}", path(&key));
    assert_done(&native.ask(&Who::System, "DELETE", &unforced).send().await);
}

#[tokio::test]
async fn the_answer_says_whose_lease_it_was_and_who_has_the_lock_now() {
    let native = Native::start(&[]).await;
    let told = |answer: &Answer| {
        let names = ["lockside-released-owner", "lockside-released-token", "lockside-holder"];
        names.map(|name| answer.header(name).map(str::to_owned))
    };
    let key = unique("told");
    let lease = native.ask(&Who::System, "POST", &path(&key)).json(&json!({"owner": "büro 7"})).send().await;
    let first = token_of(&lease.json()).to_string();
    let waiter = native.ask(&Who::System, "POST", &path(&key)).json(&json!({"owner": "web-2", "waitMs": 20_000}));
    let force = async {
        let waits = async || native.look(&key).await["waiters"] == 1;
        eventually("web-2 waits", Duration::from_secs(10), waits).await;
        native.force(&editor("eve"), &key).await
    };
    let (granted, forced) = tokio::join!(waiter.send(), force);

    assert_eq!(granted.status, 201, "{}", granted.text());
    let expected = [Some("b%C3%BCro%207".to_owned()), Some(first), Some("web-2".to_owned())];
    assert_eq!(told(&forced), expected);
    let last = native.force(&editor("eve"), &key).await;
    let second = token_of(&granted.json()).to_string();
    assert_eq!(told(&last), [Some("web-2".to_owned()), Some(second), None]);
    assert_eq!(told(&native.force(&editor("eve"), &key).await), [None, None, None], "nobody had it");
}

#[tokio::test]
async fn a_reason_is_short_and_printable_and_only_of_a_force_release() {
    let native = Native::start(&[]).await;
    let key = unique("reason");
    let token = token_of(&native.granted(&Who::System, &key).await);
    let custom = format!("/cmn/leasable-locks/custom/{token}");
    for bad in ["a%0Ab", "a%00b", "a%C2%9Bb", &"x".repeat(201)] {
        for path in [format!("{}?force=true&reason={bad}", path(&key)), format!("{custom}?reason={bad}")] {
            let answer = native.ask(&Who::System, "DELETE", &path).send().await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            assert!(answer.text().contains("reason: expected"), "{path}: {}", answer.text());
        }
    }
    let released = format!("{}?token={token}&reason=x", path(&key));
    let answer = native.ask(&Who::System, "DELETE", &released).send().await;
    assert_problem(&answer, 400, "bad-request");
    assert!(!native.is_free(&key).await, "it is as it was");
    let answer = native.ask(&Who::System, "DELETE", &format!("{custom}?reason={}", "x".repeat(200))).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
