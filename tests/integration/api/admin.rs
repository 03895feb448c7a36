//! The admin dialect, row by row: who may, who holds, and the lease behind it.

use std::time::{Duration, Instant};

use lockside::lock::{Key, KeySpace};
use serde_json::{Value, json};

use crate::harness::{Answer, Sidecar, TestRedis, eventually, jwt, unique};

pub const SUCCESS: &str = r#"{"data":"Success","code":200}"#;
pub const MISSING: &str = r#"{"data":"Missing parameters","code":400}"#;
pub const UNAUTHORIZED: &str = r#"{"data":"Unauthorized","code":401}"#;
pub const FORBIDDEN: &str = r#"{"data":"Forbidden","code":403}"#;
pub const NOT_FOUND: &str = r#"{"data":"Not found","code":404}"#;
pub const CONFLICT: &str = r#"{"data":"Conflict","code":409}"#;
pub const BROKEN: &str = r#"{"data":"Internal server error","code":500}"#;

/// Both routes: what a check refuses on one, it refuses on the other.
pub const ROUTES: [(&str, &str); 2] = [("POST", "/admin/lock"), ("DELETE", "/admin/remove-lock")];

/// The body byte for byte, once its status and type are seen to agree with it.
pub fn said(answer: &Answer) -> &str {
    assert_eq!(answer.json()["code"], answer.status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    answer.text()
}

/// A target that no other test locks.
pub fn target() -> Value {
    json!({"route": "volume", "id": unique("admin")})
}

/// Where the lease of `target` lies in Redis, under the prefix `lockside`.
fn redis_key(target: &Value) -> String {
    let name = format!("volume:{}", target["id"].as_str().unwrap());
    KeySpace::new("lockside").lock(&Key::parse(&name).unwrap())
}

fn pttl(target: &Value) -> i64 {
    TestRedis::shared().ask("PTTL", &[&redis_key(target)])
}

fn token(target: &Value) -> Value {
    let lease: String = TestRedis::shared().ask("GET", &[&redis_key(target)]);
    serde_json::from_str::<Value>(&lease).unwrap()["token"].clone()
}

#[tokio::test]
async fn a_lock_is_created_renewed_refused_to_others_and_removed() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let (alice, bob) = (jwt::editor("alice"), jwt::editor("bob"));
    for prefix in ["", "/api"] {
        let target = target();
        let call = |method, path, token: &str| {
            sidecar.call(method, &format!("{prefix}{path}")).cookie(token).json(&target).send()
        };
        let lock = |token| call("POST", "/admin/lock", token);
        let remove = |token| call("DELETE", "/admin/remove-lock", token);

        assert_eq!(said(&remove(&alice).await), NOT_FOUND);
        assert_eq!(said(&lock(&alice).await), SUCCESS);
        assert_eq!(said(&lock(&alice).await), SUCCESS);
        assert_eq!(said(&lock(&bob).await), CONFLICT);
        assert_eq!(said(&remove(&bob).await), FORBIDDEN);
        assert_eq!(said(&remove(&alice).await), SUCCESS);
        assert_eq!(said(&remove(&alice).await), NOT_FOUND);
        assert_eq!(said(&lock(&bob).await), SUCCESS);
    }
}

#[tokio::test]
async fn a_request_wrong_in_several_ways_is_told_the_first_of_401_403_404_400() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let nobody = json!({"exp": jwt::seconds(3600)});
    let nameless_editor = json!({"permissions": ["manage-locks"], "exp": jwt::seconds(3600)});
    let expired_reader = json!({"sub": "alice", "exp": jwt::seconds(-3600)});
    for (method, path) in ROUTES {
        for path in [path.to_owned(), format!("/api{path}")] {
            let bad_body = |cookie: &str| sidecar.call(method, &path).cookie(cookie).body("{").send();
            let no_cookie = sidecar.call(method, &path).body("{").send().await;
            let foreign = sidecar.call(method, &path).header("origin", "https://evil.test").body("{").send().await;

            assert_eq!(said(&no_cookie), UNAUTHORIZED, "no cookie, bad body: {path}");
            assert_eq!(said(&foreign), UNAUTHORIZED, "no cookie, foreign origin, bad body: {path}");
            assert_eq!(said(&bad_body(&jwt::signed(&expired_reader)).await), UNAUTHORIZED, "{path}");
            assert_eq!(said(&bad_body(&jwt::signed(&nobody)).await), FORBIDDEN, "no permission, no user: {path}");
            assert_eq!(said(&bad_body(&jwt::reader("alice")).await), FORBIDDEN, "no permission, bad body: {path}");
            assert_eq!(said(&bad_body(&jwt::signed(&nameless_editor)).await), NOT_FOUND, "no user, bad body: {path}");
            assert_eq!(said(&bad_body(&jwt::editor("alice")).await), MISSING, "bad body alone: {path}");
        }
    }
}

#[tokio::test]
async fn without_a_jwt_key_nobody_is_known() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    for (method, path) in ROUTES {
        let anonymous = sidecar.call(method, path).json(&target()).send().await;
        let unverified = sidecar.call(method, path).cookie(&jwt::editor("alice")).json(&target()).send().await;
        assert_eq!(said(&anonymous), UNAUTHORIZED);
        assert_eq!(said(&unverified), UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_lost_redis_is_500_and_what_needs_no_redis_is_answered_as_ever() {
    let mut redis = TestRedis::start(&[]);
    let scratch = crate::harness::Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(&redis, &["--jwt-secret-file", &secret]).await;
    let (target, alice) = (target(), jwt::editor("alice"));
    redis.kill();

    for (method, path) in ROUTES {
        let call = |token: &str, body: &Value| sidecar.call(method, path).cookie(token).json(body).send();
        assert_eq!(said(&call(&alice, &target).await), BROKEN);
        assert_eq!(said(&call(&alice, &json!({})).await), MISSING);
        assert_eq!(said(&call(&jwt::reader("bob"), &target).await), FORBIDDEN);
        assert_eq!(said(&call("x", &target).await), UNAUTHORIZED);
    }

    redis.up();
    eventually("a lock is granted again", Duration::from_secs(10), async || {
        sidecar.call("POST", "/admin/lock").cookie(&alice).json(&target).send().await.status == 200
    })
    .await;
}

#[tokio::test]
async fn of_many_users_at_once_exactly_one_gets_the_lock() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let target = target();
    let users: Vec<String> = (0..16).map(|user| jwt::editor(&format!("user-{user}"))).collect();
    let attempts = users.iter().map(|user| sidecar.call("POST", "/admin/lock").cookie(user).json(&target).send());
    let answers = futures_util::future::join_all(attempts).await;

    let count = |text| answers.iter().filter(|answer| said(answer) == text).count();
    assert_eq!((count(SUCCESS), count(CONFLICT)), (1, 15));
}

#[tokio::test]
async fn a_lock_lasts_for_the_admin_ttl() {
    for (flags, ttl_ms) in [(&[][..], 300_000), (&["--admin-ttl", "90s"][..], 90_000)] {
        let sidecar = Sidecar::with_secret(flags).await;
        let target = target();
        let answer = sidecar.call("POST", "/admin/lock").cookie(&jwt::editor("alice")).json(&target).send().await;
        assert_eq!(said(&answer), SUCCESS);
        assert!((ttl_ms - 10_000..=ttl_ms).contains(&pttl(&target)), "{flags:?}: {}", pttl(&target));
    }
}

#[tokio::test]
async fn a_repeated_post_renews_the_lease_and_keeps_its_token() {
    let sidecar = Sidecar::with_secret(&["--admin-ttl", "10s"]).await;
    let target = target();
    let lock = |user: &str| sidecar.call("POST", "/admin/lock").cookie(&jwt::editor(user)).json(&target).send();
    assert_eq!(said(&lock("alice").await), SUCCESS);
    let granted = token(&target);
    eventually("a second has passed", Duration::from_secs(5), async || pttl(&target) <= 9_000).await;

    assert_eq!(said(&lock("bob").await), CONFLICT);
    assert!(pttl(&target) <= 9_000, "another's attempt renews nothing");
    assert_eq!(said(&lock("alice").await), SUCCESS);
    assert!((9_001..=10_000).contains(&pttl(&target)), "{}", pttl(&target));
    assert_eq!(token(&target), granted);
}

#[tokio::test]
async fn headers_say_which_lease_it_is_whether_it_is_new_and_who_else_has_it() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let target = target();
    let user = "Jürgen / ☃ 100%,\"x\"";
    let lock = |user: &str| sidecar.call("POST", "/admin/lock").cookie(&jwt::editor(user)).json(&target).send();
    for how in ["created", "renewed", "renewed"] {
        let answer = lock(user).await;
        assert_eq!(said(&answer), SUCCESS);
        assert_eq!(answer.header("lockside-lock"), Some(how));
        assert_eq!(answer.header("lockside-token"), token(&target).as_str());
        assert_eq!(answer.header("lockside-holder"), None);
    }
    let refused = lock("bob").await;
    assert_eq!(said(&refused), CONFLICT);
    assert_eq!(refused.header("lockside-holder"), Some("J%C3%BCrgen%20%2F%20%E2%98%83%20100%25%2C%22x%22"));
    assert_eq!((refused.header("lockside-lock"), refused.header("lockside-token")), (None, None));
}

#[tokio::test]
async fn a_page_that_names_its_token_renews_that_lease_and_no_other() {
    let sidecar = Sidecar::with_secret(&["--admin-ttl", "10s"]).await;
    let target = target();
    let (alice, bob) = (jwt::editor("alice"), jwt::editor("bob"));
    let lock = |user: &str, query: &str| {
        sidecar.call("POST", &format!("/admin/lock{query}")).cookie(user).json(&target).send()
    };
    let remove = |user: &str| sidecar.call("DELETE", "/admin/remove-lock").cookie(user).json(&target).send();
    for bad in ["?token=", "?token", "?token=x", "?token=1.5", "?token=1e3", "?token=%201", "?token=1&token=1"] {
        assert_eq!(said(&lock(&alice, bad).await), MISSING, "{bad}");
    }
    for none in ["?token=1", "?token=0", "?token=-1", "?token=9223372036854775807"] {
        let refused = lock(&alice, none).await;
        assert_eq!((said(&refused), refused.header("lockside-holder")), (CONFLICT, None), "{none}");
    }
    assert_eq!(lock(&alice, "").await.header("lockside-lock"), Some("created"));
    let first = token(&target).as_str().unwrap().to_owned();
    let query = format!("?token={first}");
    eventually("a second has passed", Duration::from_secs(5), async || pttl(&target) <= 9_000).await;
    let renewed = lock(&alice, &query).await;
    assert_eq!((said(&renewed), renewed.header("lockside-lock")), (SUCCESS, Some("renewed")));
    assert_eq!(renewed.header("lockside-token"), Some(&*first));
    assert!(pttl(&target) > 9_000);
    let refused = lock(&bob, &query).await;
    assert_eq!((said(&refused), refused.header("lockside-holder")), (CONFLICT, Some("alice")), "another's");

    // The page sleeps; another user comes, edits and leaves.
    assert_eq!(said(&remove(&alice).await), SUCCESS);
    assert_eq!(said(&lock(&bob, "").await), SUCCESS);
    let refused = lock(&alice, &query).await;
    assert_eq!((said(&refused), refused.header("lockside-holder")), (CONFLICT, Some("bob")));
    assert_eq!(said(&remove(&bob).await), SUCCESS);
    let refused = lock(&alice, &query).await;
    assert_eq!((said(&refused), refused.header("lockside-holder")), (CONFLICT, None), "free, and still not hers");
    assert_eq!(lock(&alice, "").await.header("lockside-lock"), Some("created"));
    assert_eq!(lock(&alice, &query).await.header("lockside-holder"), Some("alice"), "her other page's");
}

#[tokio::test]
async fn a_lock_that_nobody_renews_goes_to_the_next_with_a_higher_token() {
    let sidecar = Sidecar::with_secret(&["--admin-ttl", "2s"]).await;
    let target = target();
    let lock = |user: &str| sidecar.call("POST", "/admin/lock").cookie(&jwt::editor(user)).json(&target).send();
    let begun = Instant::now();
    assert_eq!(said(&lock("alice").await), SUCCESS);
    let first = token(&target);

    eventually("bob gets it", Duration::from_secs(8), async || lock("bob").await.status == 200).await;
    assert!(begun.elapsed() >= Duration::from_millis(1_990), "{:?}", begun.elapsed());
    let number = |token: Value| token.as_str().unwrap().parse::<u64>().unwrap();
    assert!(number(token(&target)) > number(first));
    let remove = sidecar.call("DELETE", "/admin/remove-lock").cookie(&jwt::editor("alice")).json(&target).send().await;
    assert_eq!(said(&remove), FORBIDDEN, "what was alice's is bob's");
}

#[tokio::test]
async fn what_lockside_did_not_write_is_held_by_somebody_else() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let alice = jwt::editor("alice");
    for command in ["SET", "RPUSH"] {
        let target = target();
        let _: redis::Value = TestRedis::shared().ask(command, &[&redis_key(&target), "a stranger's"]);
        let lock = sidecar.call("POST", "/admin/lock").cookie(&alice).json(&target).send().await;
        let remove = sidecar.call("DELETE", "/admin/remove-lock").cookie(&alice).json(&target).send().await;

        assert_eq!(said(&lock), CONFLICT, "{command}");
        assert_eq!(said(&remove), FORBIDDEN, "{command}");
        assert_eq!(TestRedis::shared().ask::<i64>("DEL", &[&redis_key(&target)]), 1, "{command}: still there");
    }
}

#[tokio::test]
async fn a_system_lease_of_the_same_key_is_no_users() {
    let scratch = crate::harness::Scratch::new();
    let api_token = scratch.file("token", "t-1");
    let sidecar = Sidecar::with_secret(&["--api-token-file", &api_token]).await;
    let target = target();
    let lease = json!({"key": format!("volume:{}", target["id"].as_str().unwrap()), "leasePeriod": 60});
    let created = sidecar.call("POST", "/cmn/leasable-locks").bearer("t-1").json(&lease).send().await;
    assert_eq!(created.status, 201);

    for user in ["alice", "system", ""] {
        let call = |method, path| sidecar.call(method, path).cookie(&jwt::editor(user)).json(&target).send();
        let (lock, remove) = (call("POST", "/admin/lock").await, call("DELETE", "/admin/remove-lock").await);
        let expected = if user.is_empty() { (NOT_FOUND, NOT_FOUND) } else { (CONFLICT, FORBIDDEN) };
        assert_eq!((said(&lock), said(&remove)), expected, "{user}");
    }
}
