//! Whose lease it is: who may renew it, release it, and take it away.

use std::time::Duration;

use serde_json::json;

use super::{API_TOKEN, Leases, PATH, Who, assert_message, editor, reader, token_of};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt, unique};

#[tokio::test]
async fn nobody_but_its_user_renews_or_releases_a_users_lease() {
    let leases = Leases::start(&[]).await;
    let alice = reader("alice");
    let token = token_of(&leases.granted(&alice, &unique("own"), 30).await);
    for other in [reader("bob"), editor("bob"), reader("alic"), reader("Alice"), reader("system"), Who::System] {
        assert_message(&leases.renew(&other, token, 60).await, 403);
        assert_message(&leases.release(&other, token).await, 403);
    }
    assert_eq!(leases.renew(&alice, token, 60).await.status, 200);
    assert_message(&leases.release(&alice, token).await, 200);
    assert_message(&leases.release(&alice, token).await, 404);
}

#[tokio::test]
async fn any_system_caller_renews_and_releases_a_system_lease_and_no_user_does() {
    let (leases, elsewhere) = (Leases::start(&[]).await, Leases::start(&[]).await);
    let token = token_of(&leases.granted(&Who::System, &unique("system"), 30).await);
    for user in [reader("alice"), editor("alice"), editor("system")] {
        assert_message(&leases.renew(&user, token, 60).await, 403);
        assert_message(&leases.release(&user, token).await, 403);
    }
    let renewed = elsewhere.renew(&Who::System, token, 60).await;
    assert_eq!((renewed.status, token_of(&renewed.json())), (200, token));
    assert_message(&elsewhere.release(&Who::System, token).await, 200);
    assert_message(&leases.release(&Who::System, token).await, 404);
}

#[tokio::test]
async fn a_user_by_cookie_and_by_header_is_one_user() {
    let leases = Leases::start(&[]).await;
    let token = token_of(&leases.granted(&reader("alice"), &unique("header"), 30).await);
    let path = format!("{PATH}/{token}");
    assert_message(&leases.call("DELETE", &path).bearer(&jwt::reader("bob")).send().await, 403);
    assert_message(&leases.call("DELETE", &path).bearer(&jwt::reader("alice")).send().await, 200);
}

#[tokio::test]
async fn a_custom_removal_takes_any_lease_and_its_holder_is_told_so() {
    let leases = Leases::start(&[]).await;
    for holder in [reader("alice"), Who::System] {
        for remover in [editor("eve"), Who::System] {
            let key = unique("taken");
            let token = token_of(&leases.granted(&holder, &key, 30).await);
            assert_message(&leases.remove(&remover, token).await, 200);
            assert_message(&leases.remove(&remover, token).await, 404);
            assert_message(&leases.renew(&holder, token, 30).await, 404);
            assert_message(&leases.release(&holder, token).await, 404);
            leases.granted(&reader("bob"), &key, 30).await;
        }
    }
}

#[tokio::test]
async fn a_custom_removal_is_logged_once_with_who_did_it() {
    let leases = Leases::start(&[]).await;
    let (key, eve) = (unique("logged"), unique("eve"));
    let token = token_of(&leases.granted(&reader("alice"), &key, 30).await);
    assert_message(&leases.remove(&reader("mallory"), token).await, 403);
    assert_message(&leases.remove(&editor(&eve), token).await, 200);
    assert_message(&leases.remove(&editor(&eve), token).await, 404);
    let of_removal = || leases.log().lines().filter(|line| line.contains(&eve)).map(str::to_owned).collect::<Vec<_>>();
    eventually("the removal is logged", Duration::from_secs(2), async || !of_removal().is_empty()).await;
    let lines = of_removal();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for word in [key.as_str(), &token.to_string(), "alice"] {
        assert!(lines[0].contains(word), "{word}: {}", lines[0]);
    }
    assert!(!leases.log().contains("mallory"), "what was refused took nothing away");
}

#[tokio::test]
async fn the_permission_may_be_a_word_of_a_string_or_of_scope() {
    let leases = Leases::start(&[]).await;
    for claim in [json!({"permissions": "read manage-locks"}), json!({"scope": "openid manage-locks"})] {
        let mut claims = claim.clone();
        claims["sub"] = "eve".into();
        claims["exp"] = jwt::seconds(60).into();
        let token = token_of(&leases.granted(&reader("alice"), &unique("permission"), 30).await);
        assert_message(&leases.remove(&Who::User(jwt::signed(&claims)), token).await, 200);
    }
}

#[tokio::test]
async fn without_any_authentication_everybody_is_a_system_caller() {
    let leases = Leases::anonymous().await;
    let key = unique("anonymous");
    let lease = leases.granted(&Who::Nobody, &key, 30).await;
    assert_eq!(lease["lockedBySystem"], true);
    assert_eq!(leases.listed(&Who::Nobody, &key).await, std::slice::from_ref(&lease));
    assert_eq!(leases.renew(&Who::Nobody, token_of(&lease), 60).await.status, 200);
    assert_message(&leases.release(&Who::Nobody, token_of(&lease)).await, 200);
    let lease = leases.granted(&Who::Nobody, &key, 30).await;
    assert_message(&leases.remove(&Who::Nobody, token_of(&lease)).await, 200);
    // A credential that cannot be good is not the same as none; a cookie is not for a sidecar that knows no JWT key.
    assert_message(&leases.release(&reader("alice"), 7).await, 404);
    assert_message(&leases.release(&Who::System, 7).await, 401);
}

#[tokio::test]
async fn one_kind_of_authentication_ends_anonymous_calls() {
    let scratch = Scratch::new();
    let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", API_TOKEN));
    for flags in [["--jwt-secret-file", &secret], ["--api-token-file", &token]] {
        let leases = Leases(Sidecar::start(TestRedis::shared(), &flags).await);
        let nobody = Who::Nobody;
        assert_message(&leases.create(&nobody, &unique("anonymous"), 30).await, 401);
        assert_message(&leases.renew(&nobody, 7, 30).await, 401);
        assert_message(&leases.release(&nobody, 7).await, 401);
        assert_message(&leases.remove(&nobody, 7).await, 401);
        assert_message(&leases.ask(&nobody, "GET", PATH).send().await, 401);
    }
}
