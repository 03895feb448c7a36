//! Whose lease it is: users, and system owners, and never the one for the other.

use serde_json::json;

use super::{API_TOKEN, Native, Who, assert_done, assert_problem, editor, path, reader, token_of};
use crate::harness::{Sidecar, TestRedis, jwt, unique};

#[tokio::test]
async fn a_users_lease_is_that_users_alone() {
    let native = Native::start(&[]).await;
    let (alice, key) = (reader("alice"), unique("user"));
    let token = token_of(&native.granted(&alice, &key).await);
    for other in [reader("bob"), editor("bob"), reader("alic"), reader("Alice"), Who::System] {
        assert_problem(&native.renew(&other, &key, token, &json!({})).await, 403, "forbidden");
        assert_problem(&native.release(&other, &key, token).await, 403, "forbidden");
    }
    assert_eq!(native.renew(&alice, &key, token, &json!({})).await.status, 200);
    assert_done(&native.release(&alice, &key, token).await);
}

#[tokio::test]
async fn a_system_lease_is_any_system_callers_who_has_its_token_and_no_users() {
    let native = Native::start(&[]).await;
    let key = unique("system");
    let lease = native.acquire(&Who::System, &key, &json!({"owner": "web-3"})).await.json();
    for user in [reader("alice"), editor("alice"), editor("web-3")] {
        assert_problem(&native.renew(&user, &key, token_of(&lease), &json!({})).await, 403, "forbidden");
        assert_problem(&native.release(&user, &key, token_of(&lease)).await, 403, "forbidden");
    }
    let elsewhere = Native::start(&[]).await;
    let renewed = elsewhere.renew(&Who::System, &key, token_of(&lease), &json!({})).await;
    assert_eq!((renewed.status, &renewed.json()["owner"]), (200, &json!("web-3")));
    assert_done(&elsewhere.release(&Who::System, &key, token_of(&lease)).await);
}

#[tokio::test]
async fn a_user_and_a_system_owner_of_one_name_are_two() {
    let native = Native::start(&[]).await;
    for (first, second) in [(reader("web-3"), Who::System), (Who::System, reader("web-3"))] {
        let key = unique("namesakes");
        let body = json!({"owner": "web-3", "reentrant": true});
        let lease = native.attempt(&first, &key, "n-1", &body).await.json();
        assert_eq!(lease["owner"], "web-3");
        assert_problem(&native.acquire(&second, &key, &body).await, 409, "held");
        assert_problem(&native.attempt(&second, &key, "n-1", &body).await, 409, "held");
        assert_problem(&native.renew(&second, &key, token_of(&lease), &json!({})).await, 403, "forbidden");
        assert_problem(&native.release(&second, &key, token_of(&lease)).await, 403, "forbidden");
        assert_done(&native.release(&first, &key, token_of(&lease)).await);
    }
}

#[tokio::test]
async fn a_user_is_the_owner_whatever_the_body_says() {
    let native = Native::start(&[]).await;
    let key = unique("claimed");
    let lease = native.acquire(&reader("mallory"), &key, &json!({"owner": "alice"})).await.json();
    assert_eq!(lease["owner"], "mallory");
    let holder = native.look(&key).await["holder"].clone();
    assert_eq!((&holder["owner"], &holder["kind"]), (&json!("mallory"), &json!("user")));
    assert_problem(&native.release(&reader("alice"), &key, token_of(&lease)).await, 403, "forbidden");
}

#[tokio::test]
async fn a_user_by_cookie_and_by_header_is_one_user() {
    let native = Native::start(&[]).await;
    let key = unique("header");
    let token = token_of(&native.granted(&reader("alice"), &key).await);
    let path = format!("{}?token={token}", path(&key));
    assert_problem(&native.call("DELETE", &path).bearer(&jwt::reader("bob")).send().await, 403, "forbidden");
    assert_done(&native.call("DELETE", &path).bearer(&jwt::reader("alice")).send().await);
}

#[tokio::test]
async fn whose_lease_it_was_is_told_only_while_it_lives() {
    let native = Native::start(&[]).await;
    let key = unique("ended");
    let token = token_of(&native.granted(&reader("alice"), &key).await);
    assert_done(&native.release(&reader("alice"), &key, token).await);
    for who in [reader("bob"), Who::System] {
        assert_problem(&native.renew(&who, &key, token, &json!({})).await, 410, "lost");
        assert_problem(&native.release(&who, &key, token).await, 410, "lost");
    }
}

#[tokio::test]
async fn a_foreign_page_changes_nothing_with_a_users_cookie() {
    let native = Native::start(&[]).await;
    let (alice, key) = (editor("alice"), unique("foreign"));
    let token = token_of(&native.granted(&alice, &key).await);
    for (header, value) in [("origin", "http://evil.test"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        for (method, path) in [
            ("POST", path(&unique("foreign"))),
            ("PUT", format!("{}?token={token}", path(&key))),
            ("DELETE", format!("{}?token={token}", path(&key))),
            ("DELETE", format!("{}?force=true", path(&key))),
        ] {
            let answer = native.ask(&alice, method, &path).header(header, value).send().await;
            assert_problem(&answer, 403, "forbidden");
        }
    }
    let by_header = native.call("DELETE", &format!("{}?token={token}", path(&key))).bearer(&jwt::editor("alice"));
    assert_done(&by_header.header("origin", "http://evil.test").send().await);
    let foreign_host = native.call("GET", &path(&key)).bearer(API_TOKEN).header("host", "evil.test").send().await;
    assert_problem(&foreign_host, 403, "forbidden");
}

#[tokio::test]
async fn the_owner_whom_a_service_caller_does_not_name_is_the_machine_and_a_number_of_its_own() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let mut names = std::collections::HashSet::new();
    // Two processes of one machine, and one that is started again.
    let mut sidecars = [
        Sidecar::start(TestRedis::shared(), &["--threads=2"]).await,
        Sidecar::start(TestRedis::shared(), &[]).await,
        Sidecar::start(TestRedis::shared(), &["--owner-prefix", "web-3 ü"]).await,
    ];
    for round in 0..2 {
        for (index, sidecar) in sidecars.iter().enumerate() {
            for _ in 0..5 {
                let (key, leased) = (unique("made"), unique("made"));
                let call = sidecar.call("POST", &path(&key)).header("connection", "close");
                let lease = call.json(&json!({})).send().await.json();
                let create =
                    sidecar.call("POST", "/cmn/leasable-locks").json(&json!({"key": leased, "leasePeriod": 60}));
                assert_eq!(create.send().await.status, 201);
                let holder = sidecar.call("GET", &path(&leased)).send().await.json();
                for owner in [&lease["owner"], &holder["holder"]["owner"]] {
                    let owner = owner.as_str().unwrap();
                    let prefix = if index == 2 { "web-3 ü-" } else { &format!("{host}-") };
                    assert!(owner.starts_with(prefix), "{owner}");
                    assert!(names.insert(owner.to_owned()), "{owner} twice");
                }
            }
        }
        if round == 0 {
            sidecars[0] = Sidecar::start(TestRedis::shared(), &[]).await;
        }
    }
    assert_eq!(names.len(), 60);
    for prefix in ["a\nb", &"x".repeat(129)] {
        let run = crate::harness::lockside(&["serve", "--owner-prefix", prefix]).await;
        assert_eq!(run.code, Some(64), "{}", run.output());
        assert!(run.stderr.contains("--owner-prefix: "), "{}", run.stderr);
    }
}
