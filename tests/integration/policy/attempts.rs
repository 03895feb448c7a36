//! Limits of a caller that repeats its attempts, moves between sidecars and renews: no way around them, and no refusal of
//! what it has.

use serde_json::{Value, json};

use super::quotas::{OPEN, TOKENS, assert_exceeded};
use super::{As, Guarded, SOON, path};
use crate::harness::http::{Call, Lines};
use crate::harness::{Answer, eventually, unique};

const CI: As = As::Token("ci");

async fn start(limits: &str) -> Guarded {
    Guarded::start(&format!("{OPEN}{limits}"), &TOKENS, &[]).await
}

fn editor() -> As {
    As::User("ann", json!({"permissions": ["manage-locks"]}))
}

/// A request of `ci` as the owner `app`, by this name.
fn named<'a>(guarded: &'a Guarded, path: &str, name: &str, body: &Value) -> Call<'a> {
    let mut all = json!({"owner": "app", "ttlMs": 60_000});
    all.as_object_mut().unwrap().extend(body.as_object().cloned().unwrap_or_default());
    guarded.ask(&CI, "POST", path).header("idempotency-key", name).json(&all)
}

async fn begun(call: Call<'_>, event: &str) -> Lines {
    let mut lines = call.open().await;
    assert_eq!(lines.status, 200);
    assert_eq!(lines.next().await.unwrap()["event"], event);
    lines
}

/// Reads until the stream tells this.
async fn until(lines: &mut Lines, event: &str) -> Value {
    loop {
        let line = lines.next().await.expect("a line");
        if line["event"] == event {
            return line;
        }
    }
}

#[tokio::test]
async fn leases_that_share_a_key_are_counted_one_by_one() {
    let guarded = start("token:ci limit locks=3\n").await;
    let key = unique("k");
    let share = async |name: &str| named(&guarded, &path(&key), name, &json!({"mode": "shared"})).send().await;
    for number in 0..12 {
        let answer = share(&format!("n-{number}")).await;
        match number {
            0..3 => assert_eq!(answer.status, 201, "{}", answer.text()),
            _ => assert_exceeded(&answer, "locks", 3),
        }
    }
    assert_eq!(share("n-1").await.status, 200, "this very attempt has its lease");
    let reentrant = async |owner: &str| {
        let body = json!({"mode": "shared", "reentrant": true, "owner": owner});
        guarded.ask(&CI, "POST", &path(&key)).json(&body).send().await
    };
    assert_eq!(reentrant("app").await.status, 200);
    for number in 0..3 {
        assert_exceeded(&reentrant(&format!("app-{number}")).await, "locks", 3);
    }
    // Each of a bundle's keys is asked for in a mode of its own.
    let body = json!({"keys": [{"key": key, "mode": "shared"}]});
    assert_exceeded(&named(&guarded, "/v1/bundles", "n-13", &body).send().await, "locks", 3);
    let alone = named(&guarded, &path(&key), "n-14", &json!({})).send().await;
    assert_eq!(alone.status, 409, "no lease can come of it: {}", alone.text());
    assert_exceeded(&named(&guarded, &path(&key), "n-15", &json!({"waitMs": 1000})).send().await, "locks", 3);
}

#[tokio::test]
async fn a_lease_counts_at_the_sidecar_that_renewed_it() {
    let (prefix, policy) = (unique("policy"), format!("{OPEN}token:ci limit locks=1\nuser:* limit locks=1\n"));
    let granting = Guarded::start_in(&prefix, &policy, &TOKENS, &["--admin-ttl", "1s"]).await;
    let renewing = Guarded::start_in(&prefix, &policy, &TOKENS, &[]).await;
    for way in ["native", "bundle", "leases", "admin"] {
        let (who, id) = (if way == "admin" { editor() } else { CI }, unique("k"));
        let (key, target) = (format!("r:{id}"), json!({"route": "r", "id": id}));
        let token = match way {
            "admin" => {
                let answer = granting.ask(&who, "POST", "/admin/lock").json(&target).send().await;
                answer.header("lockside-token").expect("a token").to_owned()
            }
            _ => granting.granted(&who, &key, json!({"ttlMs": 1000})).await["token"].to_string(),
        };
        let ask = |method, path: &str| renewing.ask(&who, method, path);
        let leases = json!([{"key": key, "token": token.parse::<u64>().unwrap()}]);
        let renewed = match way {
            "native" => ask("PUT", &format!("{}?token={token}", path(&key))).json(&json!({"ttlMs": 60_000})),
            "bundle" => ask("PUT", "/v1/bundles").json(&json!({"leases": leases, "ttlMs": 60_000})),
            "leases" => ask("PUT", &format!("/cmn/leasable-locks/{token}?leasePeriod=60")),
            _ => ask("POST", &format!("/admin/lock?token={token}")).json(&target),
        };
        let renewed = renewed.send().await;
        assert_eq!(renewed.status, 200, "{way}: {}", renewed.text());
        assert_exceeded(&renewing.acquire(&who, &unique("k")).await, "locks", 1);
        let released = renewing.release(&who, &key, &json!(token.parse::<u64>().unwrap())).await;
        assert_eq!(released.status, 204, "{way}: {}", released.text());
        for guarded in [&renewing, &granting] {
            lock_and_release(guarded, &who).await;
        }
    }
    // Beyond the limit, too: what a caller has is not taken from it.
    for count in 1..=3 {
        lock_and_release(&granting, &CI).await;
        let key = unique("k");
        let lease = granting.granted(&CI, &key, json!({"ttlMs": 1000})).await;
        let renew = format!("{}?token={}", path(&key), lease["token"]);
        let renewed = renewing.ask(&CI, "PUT", &renew).json(&json!({"ttlMs": 60_000})).send().await;
        assert_eq!(renewed.status, 200, "{count}: {}", renewed.text());
        assert_exceeded(&renewing.acquire(&CI, &unique("k")).await, "locks", 1);
    }
}

/// Waits until the caller has room for a lock.
async fn lock_and_release(guarded: &Guarded, who: &As) {
    let key = unique("k");
    eventually("there is room", SOON, async || {
        let answer = guarded.acquire(who, &key).await;
        answer.status == 201 && guarded.release(who, &key, &answer.json()["token"]).await.status == 204
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_is_repeated_is_counted_and_not_refused() {
    let guarded = start("token:ci limit locks=1 holds=1\n").await;
    for (hold, body) in [
        (format!("{}/hold", path(&unique("k"))), json!({"ttlMs": 1500})),
        ("/v1/bundles/hold".to_owned(), json!({"keys": [{"key": unique("k")}], "ttlMs": 1500})),
    ] {
        let mut first = begun(named(&guarded, &hold, "again", &body), "acquired").await;
        for _ in 0..3 {
            let second = begun(named(&guarded, &hold, "again", &body), "acquired").await;
            assert_eq!(until(&mut first, "lost").await["reason"], "superseded");
            drop(std::mem::replace(&mut first, second));
        }
        // The sidecar has done with the earlier ones by the time that it knows of no second hold.
        eventually("the first ones have ended", SOON, async || {
            guarded.sidecar.ops("/metrics").await.text().lines().any(|line| line == "lockside_holds 1")
        })
        .await;
        assert_exceeded(&guarded.acquire(&CI, &unique("k")).await, "locks", 1);
        assert_eq!(until(&mut first, "renewed").await["event"], "renewed");
        drop(first);
        let free = async || {
            let answer = named(&guarded, &format!("{}/hold", path(&unique("k"))), "other", &json!({})).open().await;
            answer.status == 200
        };
        eventually("its places are free", SOON, free).await;
        lock_and_release(&guarded, &CI).await;
    }
}

#[tokio::test]
async fn an_attempt_that_waits_is_not_refused_by_its_earlier_sending() {
    let guarded = start("token:ci limit locks=2 waiters=1 holds=1\n").await;
    let (web, keys) = (As::Token("web"), [unique("a"), unique("b")]);
    let lease = guarded.granted(&web, &keys[0], json!({"ttlMs": 60_000})).await;
    let both = json!({"keys": [{"key": keys[0]}, {"key": keys[1]}], "waitMs": 60_000, "progress": true});
    let alone = json!({"waitMs": 60_000, "progress": true});
    let single = format!("{}/hold", path(&keys[0]));
    for (hold, body) in [("/v1/bundles/hold", &both), (&*single, &alone)] {
        let first = begun(named(&guarded, hold, "again", body), "waiting").await;
        let second = begun(named(&guarded, hold, "again", body), "waiting").await;
        let other = named(&guarded, &single, "other", &alone).send().await;
        assert_eq!(other.status, 429, "{}", other.text());
        let waits = json!({"waitMs": 1000, "owner": "app"});
        let other = guarded.ask(&CI, "POST", &path(&keys[0])).json(&waits).send().await;
        assert_eq!(other.status, 429, "{}", other.text());
        drop(first);
        eventually("one is left", SOON, async || {
            let queue = guarded.ask(&web, "GET", &format!("{}/queue", path(&keys[0]))).send().await.json();
            queue["queue"].as_array().map(Vec::len) == Some(1)
        })
        .await;
        assert_exceeded(
            &guarded.ask(&CI, "POST", &path(&keys[0])).json(&waits).send().await,
            limit_of(hold),
            max_of(hold),
        );
        drop(second);
        eventually("its places are free", SOON, async || {
            let answer =
                guarded.ask(&CI, "POST", &path(&keys[0])).json(&json!({"waitMs": 10, "owner": "app"})).send().await;
            answer.status == 409
        })
        .await;
    }
    assert_eq!(guarded.release(&web, &keys[0], &lease["token"]).await.status, 204);
}

/// What a caller with a waiting hold is refused for, and at how many.
fn limit_of(hold: &str) -> &'static str {
    if hold == "/v1/bundles/hold" { "locks" } else { "waiters" }
}

fn max_of(hold: &str) -> u64 {
    if hold == "/v1/bundles/hold" { 2 } else { 1 }
}

#[tokio::test]
async fn a_post_that_renews_spends_no_request() {
    let guarded = start("user:* limit requests=2\ntoken:ci limit requests=2\n").await;
    let ann = editor();
    let (target, other) = (json!({"route": "r", "id": unique("k")}), json!({"route": "r", "id": unique("k")}));
    let lock = |target: &Value| guarded.ask(&ann, "POST", "/admin/lock").json(target);
    let body = json!({"key": unique("k"), "leasePeriod": 60});
    let lease = |who: &As| guarded.ask(who, "POST", "/cmn/leasable-locks").json(&body);
    assert_eq!(lock(&target).send().await.status, 200);
    let made = lease(&ann).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    let statuses = |answers: Vec<Answer>| answers.iter().map(|answer| answer.status).collect::<Vec<_>>();
    let mut renewals = Vec::new();
    for _ in 0..20 {
        renewals.extend([lock(&target).send().await, lease(&ann).send().await]);
    }
    assert_eq!(statuses(renewals), [200; 40]);
    // Another's, and one of its own that has ended, are requests.
    let mut refused = Vec::new();
    for _ in 0..10 {
        refused.push(lock(&other).send().await);
        guarded.ask(&ann, "DELETE", "/admin/remove-lock").json(&other).send().await;
    }
    assert!(statuses(refused).contains(&429));
    // A service caller's own lease is not renewed by a POST, and so it counts.
    let mut counted = Vec::new();
    for _ in 0..10 {
        counted.push(lease(&CI).send().await);
    }
    assert!(statuses(counted).contains(&429));
}
