//! Requests that are wrong in several ways, and which of them they are told.

use serde_json::json;

use super::{Leases, PATH, Who, assert_message, editor, reader, token_of};
use crate::harness::{jwt, unique};

#[tokio::test]
async fn nobody_is_told_anything_before_they_say_who_they_are() {
    let leases = Leases::start(&[]).await;
    let expired = jwt::signed(&json!({"sub": "alice", "permissions": ["manage-locks"], "exp": jwt::seconds(-3600)}));
    for who in [Who::Nobody, Who::User("garbage".to_owned()), Who::User(expired), Who::User(String::new())] {
        assert_message(&leases.renew(&who, "abc", 0).await, 401);
        assert_message(&leases.release(&who, "abc").await, 401);
        assert_message(&leases.release(&who, 0).await, 401);
        assert_message(&leases.remove(&who, "abc").await, 401);
        assert_message(&leases.ask(&who, "POST", PATH).body("{").send().await, 401);
        assert_message(&leases.ask(&who, "GET", &format!("{PATH}?limit=x")).send().await, 401);
    }
}

#[tokio::test]
async fn a_bad_bearer_token_is_not_made_good_by_a_good_cookie() {
    let leases = Leases::start(&[]).await;
    for bearer in ["garbage", "the api token of the tests!", ""] {
        let call = leases.ask(&editor("alice"), "GET", PATH).header("authorization", &format!("Bearer {bearer}"));
        let answer = call.send().await;
        assert_message(&answer, 401);
        assert!(answer.header("www-authenticate").is_some());
    }
}

#[tokio::test]
async fn without_the_permission_a_custom_removal_tells_nothing_of_the_token() {
    let leases = Leases::start(&[]).await;
    let (alice, mallory) = (editor("alice"), reader("mallory"));
    let token = token_of(&leases.granted(&alice, &unique("permission"), 30).await).to_string();
    let mut bodies = Vec::new();
    for token in ["abc", "9223372036854775808", "0", "7", &token] {
        let answer = leases.remove(&mallory, token).await;
        assert_message(&answer, 403);
        bodies.push(answer.text().to_owned());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(leases.renew(&alice, token, 30).await.status, 200, "it is still there");
}

#[tokio::test]
async fn a_bad_request_is_told_before_a_missing_lease() {
    let leases = Leases::start(&[]).await;
    let alice = editor("alice");
    assert_message(&leases.renew(&alice, "abc", 0).await, 400);
    assert_message(&leases.renew(&alice, 0, 0).await, 400);
    assert_message(&leases.renew(&alice, 7, "").await, 400);
    assert_message(&leases.renew(&alice, i64::MAX, i64::MAX).await, 400);
    assert_message(&leases.renew(&alice, 7, 30).await, 404);
    assert_message(&leases.release(&alice, "abc").await, 400);
    assert_message(&leases.remove(&alice, "abc").await, 400);
}

#[tokio::test]
async fn a_bad_request_is_told_before_whose_lease_it_is() {
    let leases = Leases::start(&[]).await;
    let token = token_of(&leases.granted(&reader("alice"), &unique("order"), 30).await);
    let bob = reader("bob");
    assert_message(&leases.renew(&bob, token, 0).await, 400);
    assert_message(&leases.renew(&bob, token, 30).await, 403);
    assert_message(&leases.release(&reader("alice"), token).await, 200);
    assert_message(&leases.renew(&bob, token, 30).await, 404);
    assert_message(&leases.release(&bob, token).await, 404);
}

#[tokio::test]
async fn a_foreign_page_changes_nothing_with_a_users_cookie() {
    let leases = Leases::start(&[]).await;
    let (alice, key) = (editor("alice"), unique("foreign"));
    let token = token_of(&leases.granted(&alice, &key, 30).await);
    let path = format!("{PATH}/{token}");
    for (header, value) in [("origin", "http://evil.test"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        for (method, path) in [("DELETE", path.clone()), ("PUT", format!("{path}?leasePeriod=30"))] {
            assert_message(&leases.ask(&alice, method, &path).header(header, value).send().await, 403);
        }
        let removal = leases.ask(&alice, "DELETE", &format!("{PATH}/custom/{token}")).header(header, value);
        assert_message(&removal.send().await, 403);
        let body = json!({"key": unique("foreign"), "leasePeriod": 30});
        assert_message(&leases.ask(&alice, "POST", PATH).header(header, value).json(&body).send().await, 403);
    }
    let own = leases.ask(&alice, "DELETE", &path).header("origin", &format!("http://{}", leases.api_address()));
    assert_message(&own.send().await, 200);
}
