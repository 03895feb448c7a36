//! A hold goes on, and a waiter waits, only while the credential that was shown is good.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::http::Lines;
use crate::harness::{API_TOKEN, Call, Scratch, Sidecar, TestRedis, eventually, jwt, unique};

/// Longest time until a rotated file counts and the next renewal finds it, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

async fn held(call: Call<'_>, ttl_ms: u64) -> Lines {
    let mut lines = call.json(&json!({"ttlMs": ttl_ms})).open().await;
    assert_eq!(lines.status, 200);
    assert_eq!(lines.next().await.expect("a line")["event"], "acquired");
    lines
}

fn hold<'a>(sidecar: &'a Sidecar, key: &str) -> Call<'a> {
    sidecar.call("POST", &format!("/v1/locks/{key}/hold"))
}

/// The last line, which must come `within`; every one before it is a sign of life.
async fn last(lines: &mut Lines, within: Duration) -> Value {
    let mut last = Value::Null;
    let read = async {
        while let Some(line) = lines.next().await {
            assert_ne!(last["event"], "lost", "nothing comes behind it");
            last = line;
        }
    };
    tokio::time::timeout(within, read).await.expect("it ends in time");
    last
}

/// That `key` was released, not left to expire: its ttl is long.
async fn assert_free(key: &str) {
    let shard = crc32fast::hash(key.as_bytes()) % 64;
    eventually("the lock is released", Duration::from_secs(5), async || {
        let keys: Vec<String> = TestRedis::shared().ask("KEYS", &[&format!("*{{*:{shard}}}:lock:{key}")]);
        keys.is_empty()
    })
    .await;
}

fn assert_unauthorized(last: &Value) {
    assert_eq!(*last, json!({"event": "lost", "reason": "unauthorized"}));
}

fn signed_until(id: &str, exp: i64, secret: &str) -> String {
    let claims = json!({"sub": id, "exp": exp});
    jwt::sign(&claims, Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()))
}

#[tokio::test]
async fn a_hold_ends_as_unauthorized_when_its_token_does_leeway_included() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let leeway = 30;
    let end = jwt::seconds(3);
    let token = signed_until("alice", end - leeway, jwt::SECRET);
    let (by_header, by_cookie, waits) = (unique("header"), unique("cookie"), unique("long"));
    let begun = Instant::now();
    // Renewed before its end, or not: it ends with its token.
    let mut first = held(hold(&sidecar, &by_header).bearer(&token), 1500).await;
    let mut second = held(hold(&sidecar, &by_cookie).cookie(&token), 60_000).await;
    // Of two cookies of one user the one that is good for longest counts.
    let longer = jwt::reader("alice");
    let mut third = held(hold(&sidecar, &waits).cookie(&token).cookie(&longer), 1500).await;
    for lines in [&mut first, &mut second] {
        assert_unauthorized(&last(lines, SOON).await);
        assert!(begun.elapsed() > Duration::from_millis(1500), "not before its end: {:?}", begun.elapsed());
        assert!(jwt::seconds(0) <= end + 3, "at its end: {} s late", jwt::seconds(0) - end);
    }
    assert_free(&by_header).await;
    assert_free(&by_cookie).await;
    let more = tokio::time::timeout(Duration::from_secs(2), third.next()).await.expect("a renewal").expect("a line");
    assert_ne!(more["event"], "lost", "{more}");
    let metrics = sidecar.ops("/metrics").await;
    assert!(metrics.text().contains("lockside_holds_lost_total{reason=\"unauthorized\"} 2"), "{}", metrics.text());
}

#[tokio::test]
async fn a_hold_ends_as_unauthorized_at_the_renewal_that_finds_its_key_rotated() {
    let scratch = Scratch::new();
    let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", API_TOKEN));
    let flags = ["--jwt-secret-file", &secret, "--api-token-file", &token];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let (users, systems, kept) = (unique("user"), unique("system"), unique("kept"));
    let mut user = held(hold(&sidecar, &users).bearer(&jwt::reader("alice")), 900).await;
    let mut system = held(hold(&sidecar, &systems).bearer(API_TOKEN), 900).await;
    for lines in [&mut user, &mut system] {
        assert_eq!(lines.news().await.expect("a line")["event"], "renewed");
    }
    scratch.file("secret", "another secret of thirty-two byt");
    assert_unauthorized(&last(&mut user, SOON).await);
    assert_free(&users).await;
    let next = signed_until("alice", jwt::seconds(3600), "another secret of thirty-two byt");
    let mut again = held(hold(&sidecar, &kept).bearer(&next), 900).await;

    scratch.file("token", "another api token");
    assert_unauthorized(&last(&mut system, SOON).await);
    assert_free(&systems).await;
    assert_eq!(again.news().await.expect("a line")["event"], "renewed", "only those whose key it was");
}

#[tokio::test]
async fn a_hold_ends_as_unauthorized_at_the_renewal_that_finds_its_user_gone() {
    let prefix = unique("directory");
    let flags = ["--user-directory", "--key-prefix", &prefix];
    let sidecar = Sidecar::with_secret(&flags).await;
    let users = format!("{prefix}:users");
    let enter = |id: &str, active: bool| {
        let entry = json!({"active": active}).to_string();
        let _: i64 = TestRedis::shared().ask("HSET", &[&users, id, &entry]);
    };
    let (deactivated, removed, kept) = (unique("deactivated"), unique("removed"), unique("kept"));
    let mut holds = Vec::new();
    for (id, key) in [("alice", &deactivated), ("bob", &removed), ("carol", &kept)] {
        enter(id, true);
        holds.push(held(hold(&sidecar, key).cookie(&jwt::reader(id)), 900).await);
    }
    enter("alice", false);
    let _: i64 = TestRedis::shared().ask("HDEL", &[&users, "bob"]);
    for (lines, key) in holds.iter_mut().zip([&deactivated, &removed]) {
        assert_unauthorized(&last(lines, Duration::from_secs(5)).await);
        assert_free(key).await;
    }
    assert_eq!(holds[2].news().await.expect("a line")["event"], "renewed");
}

#[tokio::test]
async fn a_hold_without_a_credential_goes_on_where_such_callers_are_served() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let mut lines = held(hold(&sidecar, &unique("anonymous")), 600).await;
    for _ in 0..5 {
        assert_eq!(lines.news().await.expect("a line")["event"], "renewed");
    }
}

/// What takes the credential of the one who waits from them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Expired,
    Rotated,
    Gone,
}

#[tokio::test]
async fn a_waiter_whose_credential_ends_before_its_turn_is_unauthorized_and_leaves_nothing_behind() {
    const NEXT: &str = "another secret of thirty-two byt";
    for loss in [Loss::Expired, Loss::Rotated, Loss::Gone] {
        let (scratch, prefix) = (Scratch::new(), unique("waiter"));
        let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", API_TOKEN));
        let flags =
            ["--jwt-secret-file", &secret, "--api-token-file", &token, "--user-directory", "--key-prefix", &prefix];
        let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
        let enter = |active: bool| {
            let entry = json!({"active": active}).to_string();
            let _: i64 = TestRedis::shared().ask("HSET", &[&format!("{prefix}:users"), "alice", &entry]);
        };
        enter(true);
        let keys = ["acquire", "hold", "progress"].map(unique);
        let ours = |key: &str| format!("/v1/locks/{key}");
        let mut tokens = Vec::new();
        for key in &keys {
            let body = json!({"ttlMs": 600_000, "owner": "before"});
            let lease = sidecar.call("POST", &ours(key)).bearer(API_TOKEN).json(&body).send().await;
            assert_eq!(lease.status, 201, "{}", lease.text());
            tokens.push(lease.json()["token"].clone());
        }
        let end = jwt::seconds(if loss == Loss::Expired { 4 } else { 600 });
        let credential = signed_until("alice", end - 30, jwt::SECRET);
        let body = json!({"ttlMs": 600_000, "waitMs": 60_000});
        let waits = |path: String| sidecar.call("POST", &path).bearer(&credential).json(&body);
        let progress = json!({"ttlMs": 600_000, "waitMs": 60_000, "progress": true});
        let streamed = sidecar.call("POST", &format!("{}/hold", ours(&keys[2]))).bearer(&credential).json(&progress);
        let decided = async {
            let mut lines = streamed.open().await;
            loop {
                let line = lines.next().await.expect("a line");
                if line["event"] != "waiting" {
                    return line;
                }
            }
        };
        let change = async {
            for key in &keys {
                eventually("it waits", Duration::from_secs(5), async || {
                    sidecar.call("GET", &ours(key)).bearer(API_TOKEN).send().await.json()["waiters"] == 1
                })
                .await;
            }
            match loss {
                // Its end is reason enough, whoever has the key.
                Loss::Expired => return,
                Loss::Rotated => {
                    scratch.file("secret", NEXT);
                    let good = signed_until("alice", jwt::seconds(600), NEXT);
                    eventually("the new key counts", SOON, async || {
                        sidecar.call("GET", "/v1/locks").bearer(&good).send().await.status == 200
                    })
                    .await;
                }
                Loss::Gone => enter(false),
            }
            // What was verified within the last second is good still.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            for (key, token) in keys.iter().zip(&tokens) {
                let path = format!("{}?token={token}", ours(key));
                assert_eq!(sidecar.call("DELETE", &path).bearer(API_TOKEN).send().await.status, 204);
            }
        };
        let (acquired, held, decided, ()) = tokio::join!(
            waits(ours(&keys[0])).send(),
            waits(format!("{}/hold", ours(&keys[1]))).send(),
            decided,
            change
        );
        for answer in [&acquired, &held] {
            let code = answer.json()["code"].clone();
            assert_eq!((answer.status, code), (401, json!("unauthorized")), "{loss:?}: {}", answer.text());
        }
        let said = (decided["event"].as_str(), decided["status"].as_u64(), decided["code"].as_str());
        assert_eq!(said, (Some("refused"), Some(401), Some("unauthorized")), "{loss:?}: {decided}");
        if loss == Loss::Expired {
            let late = jwt::seconds(0) - end;
            assert!((0..=5).contains(&late), "at its end: {late} s late");
        }
        for key in &keys {
            eventually("nobody holds or waits", Duration::from_secs(5), async || {
                let state = sidecar.call("GET", &ours(key)).bearer(API_TOKEN).send().await.json();
                let is_before = state["holder"]["owner"] == "before";
                state["waiters"] == 0 && (is_before || state["state"] == "free")
            })
            .await;
        }
    }
}
