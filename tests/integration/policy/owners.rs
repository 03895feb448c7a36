//! Whose a lease is: a user's by its name, a service caller's by the credential that got it. One's own is always
//! released.

use serde_json::json;

use super::{As, Guarded, assert_denied, path};
use crate::harness::unique;

const OPEN: &str = "token:* lock *\nuser:* lock *\n";
const CLOSED: &str = "token:* lock other/*\nuser:* lock other/*\n";

#[tokio::test]
async fn ones_own_lease_is_released_whatever_the_policy_says_by_now_and_not_renewed() {
    let guarded = Guarded::start(OPEN, &["ci", "web"], &[]).await;
    let callers = [As::Token("ci"), As::User("alice", json!({}))];
    let mut leases = Vec::new();
    for who in &callers {
        for _ in 0..3 {
            let key = unique("own");
            let lease = guarded.granted(who, &key, json!({"ttlMs": 60_000})).await;
            leases.push((who, key, lease["token"].clone()));
        }
    }
    guarded.rewrite(CLOSED, &callers[0], &unique("own"), 403).await;
    for (who, key, token) in &leases {
        let renewed = guarded.ask(who, "PUT", &format!("{}?token={token}", path(key))).send().await;
        assert_denied(&renewed, "lock");
        // To another caller it is all the same whether the key is free, held, or held by another token.
        let stranger = if matches!(who, As::Token(_)) { As::Token("web") } else { As::User("bob", json!({})) };
        let wrong = json!(token.as_u64().unwrap() + 64);
        for answer in [
            guarded.release(&stranger, key, token).await,
            guarded.release(&stranger, key, &wrong).await,
            guarded.release(&stranger, &unique("free"), token).await,
            guarded.release(who, key, &wrong).await,
            guarded.release(who, key, &json!(-1)).await,
        ] {
            assert_denied(&answer, "lock");
        }
        let rest = format!("{}?token={token}&restMs=1000", path(key));
        assert_denied(&guarded.ask(who, "DELETE", &rest).send().await, "lock");
    }
    // Two by the native API, one by the leases API, which needs to be no more than the caller's own.
    for (at, (who, key, token)) in leases.iter().enumerate() {
        if at % 3 < 2 {
            assert_eq!(guarded.release(who, key, token).await.status, 204, "{who:?}");
            assert_denied(&guarded.release(who, key, token).await, "lock");
            continue;
        }
        let by_token = format!("/cmn/leasable-locks/{token}");
        let renewed = guarded.ask(who, "PUT", &format!("{by_token}?leasePeriod=9")).send().await;
        let taken = guarded.ask(&As::Token("web"), "DELETE", &by_token).send().await;
        assert_eq!((renewed.status, taken.status), (404, 404), "{who:?}");
        assert_eq!(guarded.ask(who, "DELETE", &by_token).send().await.status, 200, "{who:?}");
    }
}

#[tokio::test]
async fn an_editor_removes_its_own_lock_and_learns_nothing_of_others() {
    let guarded = Guarded::start(OPEN, &["ci"], &[]).await;
    let editor = |name| As::User(name, json!({"permissions": ["manage-locks"]}));
    let (held, body) = (unique("edited"), |id: &str| json!({"route": "page", "id": id}));
    let post = guarded.ask(&editor("alice"), "POST", "/admin/lock").json(&body(&held)).send().await;
    assert_eq!(post.status, 200);
    guarded.rewrite(CLOSED, &As::Token("ci"), &unique("own"), 403).await;
    let remove = |name, id: &str| guarded.ask(&editor(name), "DELETE", "/admin/remove-lock").json(&body(id)).send();
    assert_eq!(guarded.ask(&editor("alice"), "POST", "/admin/lock").json(&body(&held)).send().await.status, 403);
    let (others, free) = (remove("bob", &held).await, remove("bob", &unique("free")).await);
    assert_eq!((others.status, others.text()), (403, free.text()));
    assert_eq!(others.header("lockside-reason"), free.header("lockside-reason"));
    assert_eq!(remove("alice", &held).await.status, 200);
    assert_eq!(remove("alice", &held).await.status, 403);
}

#[tokio::test]
async fn two_credentials_that_name_one_owner_are_two_owners() {
    let guarded = Guarded::start(OPEN, &["ci", "web"], &[]).await;
    let (ci, web) = (As::Token("ci"), As::Token("web"));
    let key = unique("owner");
    let acquire = |who: &As| {
        let call = guarded.ask(who, "POST", &path(&key)).header("idempotency-key", "one");
        call.json(&json!({"owner": "app", "reentrant": true, "ttlMs": 60_000})).send()
    };
    let first = acquire(&ci).await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(acquire(&ci).await.status, 200, "its own attempt again");
    let other = acquire(&web).await;
    assert_eq!(other.status, 409, "neither a replay nor a re-entry of another's: {}", other.text());
    assert!(!other.text().contains(&first.json()["token"].to_string()));
    // Who was given the token, and may lock the key, may use it.
    let token = first.json()["token"].clone();
    assert_eq!(guarded.ask(&web, "PUT", &format!("{}?token={token}", path(&key))).send().await.status, 200);
    assert_eq!(guarded.release(&web, &key, &token).await.status, 204);
}

#[tokio::test]
async fn owners_without_a_name_are_called_after_their_token() {
    let guarded = Guarded::start(OPEN, &["ci"], &[]).await;
    let lease = guarded.granted(&As::Token("ci"), &unique("named"), json!({})).await;
    assert!(lease["owner"].as_str().unwrap().starts_with("ci-"), "{lease}");
}
