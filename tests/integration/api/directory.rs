//! The user directory: whom it does not know as active is nobody, and what it says of a user is what others see.

use serde_json::{Value, json};

use crate::api::admin::{BROKEN, CONFLICT, FORBIDDEN, MISSING, NOT_FOUND, ROUTES, SUCCESS, UNAUTHORIZED, said, target};
use crate::harness::{Sidecar, TestRedis, jwt, unique};

/// A sidecar with a directory of its own.
async fn sidecar(flags: &[&str]) -> (Sidecar, Users) {
    let prefix = unique("directory");
    let sidecar = Sidecar::with_secret(&[&["--user-directory", "--key-prefix", &prefix], flags].concat()).await;
    (sidecar, Users(format!("{prefix}:users")))
}

/// The directory's Redis hash.
struct Users(String);

impl Users {
    fn enter(&self, id: &str, entry: impl ToString) {
        let _: i64 = TestRedis::shared().ask("HSET", &[&self.0, id, &entry.to_string()]);
    }
}

#[tokio::test]
async fn only_who_is_active_in_the_directory_is_a_user() {
    let (sidecar, users) = sidecar(&[]).await;
    users.enter("active", json!({"label": "A", "description": "B", "active": true, "more": 1}));
    users.enter("bare", json!({"active": true}));
    for (id, entry) in [
        ("inactive", r#"{"label":"A","description":"B","active":false}"#),
        ("no JSON", "active"),
        ("empty", ""),
        ("null", "null"),
        ("true", "true"),
        ("nothing said", "{}"),
        ("active as text", r#"{"active":"true"}"#),
        ("active as a number", r#"{"active":1}"#),
        ("label of another type", r#"{"label":{},"active":true}"#),
        ("cut off", r#"{"active":true"#),
    ] {
        users.enter(id, entry);
    }
    let call = |(method, path), user: &str| {
        sidecar.call(method, path).cookie(&jwt::editor(user)).json(&json!({"route": "r", "id": user})).send()
    };

    for user in ["active", "bare"] {
        for route in ROUTES {
            assert_eq!(said(&call(route, user).await), SUCCESS, "{user}");
        }
    }
    let refused = ["inactive", "no JSON", "empty", "null", "true", "nothing said", "active as text"];
    for user in
        refused.into_iter().chain(["active as a number", "label of another type", "cut off", "unknown", "Active"])
    {
        for route in ROUTES {
            assert_eq!(said(&call(route, user).await), NOT_FOUND, "{user}");
        }
        let list = sidecar.call("GET", "/cmn/leasable-locks").bearer(&jwt::editor(user)).send().await;
        assert_eq!((list.status, list.header("www-authenticate")), (401, Some("Bearer")), "{user}");
    }
}

#[tokio::test]
async fn an_unknown_user_is_told_after_the_permission_and_before_the_parameters() {
    let (sidecar, users) = sidecar(&[]).await;
    users.enter("alice", json!({"active": true}));
    for (method, path) in ROUTES {
        let call = |token: &str| sidecar.call(method, path).cookie(token).body("{").send();
        assert_eq!(said(&call("x").await), UNAUTHORIZED);
        assert_eq!(said(&call(&jwt::reader("unknown")).await), FORBIDDEN);
        assert_eq!(said(&call(&jwt::editor("unknown")).await), NOT_FOUND);
        assert_eq!(said(&call(&jwt::editor("alice")).await), MISSING);
    }
}

#[tokio::test]
async fn somebody_removed_since_the_token_was_issued_is_refused_at_once() {
    let (sidecar, users) = sidecar(&[]).await;
    let (target, alice, bob) = (target(), jwt::editor("alice"), jwt::editor("bob"));
    let call = |(method, path), token: &str| sidecar.call(method, path).cookie(token).json(&target).send();
    users.enter("alice", json!({"active": true}));
    users.enter("bob", json!({"active": true}));
    assert_eq!(said(&call(ROUTES[0], &alice).await), SUCCESS);

    users.enter("alice", json!({"active": false}));
    for route in ROUTES {
        assert_eq!(said(&call(route, &alice).await), NOT_FOUND);
    }
    assert_eq!(said(&call(ROUTES[0], &bob).await), CONFLICT, "the lock is still alice's");
    users.enter("alice", json!({"active": true}));
    assert_eq!(said(&call(ROUTES[1], &alice).await), SUCCESS);
}

#[tokio::test]
async fn the_list_shows_label_and_description_of_the_directory() {
    let (sidecar, users) = sidecar(&[]).await;
    users.enter("alice", json!({"label": "Alice \"A.\" Ä", "description": "Desk 1", "active": true}));
    let target = target();
    let lock = sidecar.call("POST", "/admin/lock").cookie(&jwt::editor("alice")).json(&target).send().await;
    assert_eq!(said(&lock), SUCCESS);

    let list = sidecar.call("GET", "/cmn/leasable-locks").bearer(&jwt::editor("alice")).send().await.json();
    let [lease] = list.as_array().unwrap().as_slice() else { panic!("not one lease: {list}") };
    assert_eq!(lease["key"], format!("volume:{}", target["id"].as_str().unwrap()));
    assert_eq!(lease["lockedBySystem"], false);
    let expected = json!({"id": "alice", "label": "Alice \"A.\" Ä", "description": "Desk 1", "active": true});
    assert_eq!(lease["user"], expected);
}

#[tokio::test]
async fn without_a_directory_the_list_shows_what_the_token_says() {
    let prefix = unique("directory");
    let sidecar = Sidecar::with_secret(&["--key-prefix", &prefix]).await;
    let mut claims = jwt::editor_claims("alice");
    claims["description"] = "Desk 2".into();
    let lock = sidecar.call("POST", "/admin/lock").cookie(&jwt::signed(&claims)).json(&target()).send().await;
    assert_eq!(said(&lock), SUCCESS);

    let list: Value = sidecar.call("GET", "/cmn/leasable-locks").bearer(&jwt::editor("bob")).send().await.json();
    let expected = json!({"id": "alice", "label": "Name of alice", "description": "Desk 2", "active": true});
    assert_eq!(list[0]["user"], expected);
}

#[tokio::test]
async fn a_directory_that_cannot_be_asked_is_500_and_locks_nothing() {
    let (sidecar, users) = sidecar(&[]).await;
    let _: redis::Value = TestRedis::shared().ask("SET", &[&users.0, "no hash"]);
    let target = target();
    for (method, path) in ROUTES {
        let answer = sidecar.call(method, path).cookie(&jwt::editor("alice")).json(&target).send().await;
        assert_eq!(said(&answer), BROKEN);
    }
    let _: i64 = TestRedis::shared().ask("DEL", &[&users.0]);
    users.enter("bob", json!({"active": true}));
    let answer = sidecar.call("DELETE", "/admin/remove-lock").cookie(&jwt::editor("bob")).json(&target).send().await;
    assert_eq!(said(&answer), NOT_FOUND);
}

#[tokio::test]
async fn a_system_caller_needs_no_entry() {
    let scratch = crate::harness::Scratch::new();
    let api_token = scratch.file("token", "t-1");
    let (sidecar, _) = sidecar(&["--api-token-file", &api_token]).await;
    let list = sidecar.call("GET", "/cmn/leasable-locks").bearer("t-1").send().await;
    assert_eq!((list.status, list.text()), (200, "[]"));
}
