//! `DELETE ?force=true`: a lock is taken away from whoever holds it, by those who may.

use std::time::Duration;

use serde_json::json;

use super::{Native, Who, assert_done, assert_problem, editor, path, reader, token_of, without_id};
use crate::harness::{eventually, unique};

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
        format!("?force=true&token={token}"),
        format!("?Token={token}"),
    ] {
        let answer = native.ask(&Who::System, "DELETE", &format!("{}{query}", path(&key))).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
    assert!(!native.is_free(&key).await);
    let unforced = format!("{}?force=false&token={token}", path(&key));
    assert_done(&native.ask(&Who::System, "DELETE", &unforced).send().await);
}
