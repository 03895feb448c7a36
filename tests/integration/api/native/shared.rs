//! Shared and counting locks: `mode` and `limit`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Native, Who, assert_done, assert_problem, left_ms, path, redis_key, token_of};
use crate::audit::Trail;
use crate::harness::{TestRedis, editor, eventually, unique};

impl Native {
    /// A lease that shares the key.
    pub async fn shares(&self, key: &str, body: Value) -> Value {
        let answer = self.acquire(&Who::System, key, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }
}

#[tokio::test]
async fn leases_share_a_key_each_with_a_token_of_its_own_and_all_are_shown() {
    let native = Native::start(&[]).await;
    let key = unique("shared");
    let first = native.shares(&key, json!({"mode": "shared", "owner": "a"})).await;
    let second = native.shares(&key, json!({"limit": 3, "owner": "b", "meta": {"n": 2}})).await;
    assert_eq!((&first["mode"], first.get("limit")), (&json!("shared"), None));
    assert_eq!((&second["mode"], &second["limit"]), (&json!("shared"), &json!(3)));
    assert!(token_of(&first) < token_of(&second));

    let shown = native.look(&key).await;

    assert_eq!((&shown["state"], &shown["mode"], &shown["sharedBy"]), (&json!("held"), &json!("shared"), &json!(2)));
    let holders = shown["holders"].as_array().unwrap();
    assert_eq!(holders.len(), 2);
    assert_eq!(shown["holder"], holders[0]);
    assert_eq!(
        (&holders[0]["owner"], &holders[0]["token"], &holders[0]["mode"]),
        (&json!("a"), &first["token"], &json!("shared"))
    );
    assert_eq!((&holders[1]["limit"], &holders[1]["meta"]), (&json!(3), &json!({"n": 2})));
    for lease in [&first, &second] {
        assert_eq!(native.fence(&Who::System, &key, &lease["token"]).await.status, 200);
    }
}

#[tokio::test]
async fn an_exclusive_lease_says_its_mode_everywhere() {
    let native = Native::start(&[]).await;
    let key = unique("exclusive");
    let lease = native.shares(&key, json!({"mode": "exclusive"})).await;
    assert_eq!(lease["mode"], "exclusive");
    let shown = native.look(&key).await;
    assert_eq!(
        (&shown["holder"]["mode"], shown.get("sharedBy"), shown.get("holders")),
        (&json!("exclusive"), None, None)
    );
}

#[tokio::test]
async fn a_mode_or_limit_that_is_none_is_400_and_grants_nothing() {
    let native = Native::start(&[]).await;
    let key = unique("bad");
    for (body, words) in [
        (json!({"mode": "both"}), "mode: expected `exclusive` or `shared`"),
        (json!({"mode": "exclusive", "limit": 2}), "limit: goes with mode `shared`"),
        (json!({"limit": 0}), "limit: expected an integer from 1 to 10000"),
        (json!({"limit": 10001}), "limit: expected an integer from 1 to 10000"),
        (json!({"limit": "3"}), "limit: expected an integer from 1 to 10000"),
        (json!({"limit": 2.5}), "limit: expected an integer from 1 to 10000"),
        (json!({"mode": "shared", "limit": -1}), "limit: expected an integer from 1 to 10000"),
    ] {
        let answer = native.acquire(&Who::System, &key, &body).await;
        assert_problem(&answer, 400, "bad-request");
        assert_eq!(answer.json()["detail"], words, "{body}");
    }
    for body in [json!({"mode": null}), json!({"limit": null}), json!({"mode": 1})] {
        assert_problem(&native.acquire(&Who::System, &key, &body).await, 400, "bad-request");
    }
    assert!(native.is_free(&key).await);
}

#[tokio::test]
async fn a_refusal_tells_how_many_share_the_key_who_and_when_it_makes_sense_to_come_again() {
    let native = Native::start(&[]).await;
    let key = unique("full");
    for (owner, ttl_ms) in [("a", 20_000), ("b", 40_000)] {
        native.shares(&key, json!({"limit": 2, "owner": owner, "ttlMs": ttl_ms})).await;
    }

    for (body, holder, seconds) in
        [(json!({"limit": 2}), "a", 20), (json!({}), "b", 40), (json!({"limit": 1}), "b", 40)]
    {
        let refused = native.acquire(&Who::System, &key, &body).await;
        assert_problem(&refused, 409, "held");
        let problem = refused.json();
        assert_eq!(
            (&problem["mode"], &problem["sharedBy"], &problem["waiters"]),
            (&json!("shared"), &json!(2), &json!(0))
        );
        assert_eq!((&problem["holder"]["owner"], problem.get("holders")), (&json!(holder), None), "{body}");
        let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((seconds - 5..=seconds).contains(&retry), "{body}: {retry}");
    }
}

#[tokio::test]
async fn a_share_is_renewed_and_released_by_its_token_and_by_its_owner_alone() {
    let native = Native::start(&[]).await;
    let key = unique("mine");
    let mine = native.acquire(&editor("alice"), &key, &json!({"mode": "shared"})).await.json();
    let other = native.shares(&key, json!({"mode": "shared"})).await;

    let renewed = native.renew(&editor("alice"), &key, token_of(&mine), &json!({"ttlMs": 90_000})).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!((&renewed.json()["mode"], &renewed.json()["token"]), (&json!("shared"), &mine["token"]));
    assert!(left_ms(&renewed.json()) > 80_000);
    assert_problem(&native.renew(&editor("bob"), &key, token_of(&mine), &json!({})).await, 403, "forbidden");
    assert_problem(&native.release(&editor("bob"), &key, token_of(&mine)).await, 403, "forbidden");

    assert_done(&native.release(&editor("alice"), &key, token_of(&mine)).await);
    assert_problem(&native.release(&editor("alice"), &key, token_of(&mine)).await, 410, "lost");
    assert_problem(&native.renew(&editor("alice"), &key, token_of(&mine), &json!({})).await, 410, "lost");
    let fenced = native.fence(&Who::System, &key, token_of(&mine)).await;
    assert_problem(&fenced, 409, "lost");
    assert_eq!((&fenced.json()["token"], &fenced.json()["mode"]), (&other["token"], &json!("shared")));
    assert_done(&native.release(&Who::System, &key, token_of(&other)).await);
    assert!(native.is_free(&key).await);
}

#[tokio::test]
async fn an_attempt_that_is_repeated_has_one_share_and_an_owner_that_comes_again_its_oldest() {
    let native = Native::start(&[]).await;
    let key = unique("again");
    let body = json!({"limit": 2, "owner": "a"});
    let first = native.attempt(&Who::System, &key, "n-1", &body).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let again = native.attempt(&Who::System, &key, "n-1", &json!({"owner": "a"})).await;
    assert_eq!((again.status, &again.json()["token"]), (200, &first.json()["token"]));
    assert_eq!(again.json()["mode"], "shared");
    native.shares(&key, body).await;

    let reentrant = native.acquire(&Who::System, &key, &json!({"limit": 1, "owner": "a", "reentrant": true})).await;
    assert_eq!((reentrant.status, &reentrant.json()["token"]), (200, &first.json()["token"]));
    assert_eq!(reentrant.json()["limit"], 2);
    let body = json!({"owner": "a", "reentrant": true, "waitMs": 60_000});
    let begun = std::time::Instant::now();
    assert_problem(&native.acquire(&Who::System, &key, &body).await, 409, "held");
    assert!(begun.elapsed() < Duration::from_secs(30), "it would wait for itself");
    assert_eq!(native.look(&key).await["sharedBy"], 2);
}

#[tokio::test]
async fn force_takes_all_shares_or_one_by_its_token() {
    let native = Native::start(&[]).await;
    let key = unique("force");
    let mut tokens = Vec::new();
    for owner in ["a", "b", "c"] {
        tokens.push(token_of(&native.shares(&key, json!({"mode": "shared", "owner": owner})).await));
    }
    let force = |token: u64| format!("{}?force=true&token={token}", path(&key));
    let one = native.ask(&Who::System, "DELETE", &force(tokens[1])).send().await;
    assert_done(&one);
    assert_eq!((one.header("lockside-released-owner"), one.header("lockside-released-count")), (Some("b"), None));
    assert_eq!(one.header("lockside-released-token"), Some(&*tokens[1].to_string()));
    assert_problem(&native.ask(&Who::System, "DELETE", &force(tokens[1])).send().await, 410, "lost");

    let all = native.force(&Who::System, &key).await;
    assert_done(&all);
    assert_eq!((all.header("lockside-released-owner"), all.header("lockside-released-count")), (None, Some("2")));
    assert!(native.is_free(&key).await);
    assert_eq!(native.force(&Who::System, &key).await.header("lockside-released-count"), None, "it was free");

    let exclusive = token_of(&native.granted(&Who::System, &key).await);
    assert_done(&native.ask(&Who::System, "DELETE", &force(exclusive)).send().await);
    assert_problem(&native.ask(&Who::System, "DELETE", &force(exclusive)).send().await, 410, "lost");
}

#[tokio::test]
async fn force_removes_what_only_says_that_leases_share_a_key_and_the_next_waiter_has_it() {
    let trail = Trail::new();
    let native = Native::start(&["--audit", &trail.path]).await;
    let redis = TestRedis::shared();
    for is_text in [false, true] {
        let key = unique("mark");
        let (name, mark) = (redis_key(&key), "{\"shared\":true}");
        if is_text {
            redis.ask::<()>("SET", &[&name, mark]);
        } else {
            redis.ask::<()>("ZADD", &[&name, "0", mark]);
        }
        redis.ask::<()>("PEXPIRE", &[&name, "60000"]);
        let shown = native.look(&key).await;
        assert_eq!((&shown["state"], &shown["sharedBy"]), (&json!("held"), &json!(0)), "{shown}");
        assert_problem(&native.acquire(&Who::System, &key, &json!({})).await, 409, "held");
        let body = json!({"waitMs": 60_000, "owner": "next"});
        let waits = native.acquire(&Who::System, &key, &body);
        let forcing = async {
            let waits = async || native.look(&key).await["waiters"] == 1;
            eventually("it waits", Duration::from_secs(5), waits).await;
            let one = format!("{}?force=true&token=64", path(&key));
            assert_problem(&native.ask(&Who::System, "DELETE", &one).send().await, 410, "lost");
            let all = format!("{}?force=true&reason=OPS-7", path(&key));
            native.ask(&Who::System, "DELETE", &all).send().await
        };
        let (granted, forced) = tokio::join!(waits, forcing);
        assert_done(&forced);
        assert_eq!(forced.header("lockside-released-count"), Some("0"));
        assert_eq!((granted.status, forced.header("lockside-holder")), (201, Some("next")), "{}", granted.text());
        let log = native.log();
        let line = log.lines().find(|line| line.contains("lock force-released") && line.contains(&key));
        assert!(line.is_some_and(|line| line.contains("OPS-7")), "{log}");
        let is_it = |line: &Value| line["event"] == "forced" && line["key"] == key;
        let lines = trail.until("a line", |lines| lines.iter().any(is_it)).await;
        let line = lines.iter().find(|line| is_it(line)).unwrap();
        assert_eq!((&line["reason"], line.get("token"), line.get("holder")), (&json!("OPS-7"), None, None), "{line}");
        assert_eq!(line["kind"], "system", "{line}");
    }
}

#[tokio::test]
async fn a_list_has_one_row_a_lease_with_its_mode() {
    let native = Native::start(&[]).await;
    let prefix = unique("list");
    let key = format!("{prefix}-k");
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(native.shares(&key, json!({"limit": 3})).await["token"].clone());
    }
    native.granted(&Who::System, &format!("{prefix}-x")).await;

    let listed = native.ask(&Who::System, "GET", &format!("/v1/locks?prefix={prefix}")).send().await.json();

    let rows = listed["locks"].as_array().unwrap();
    let of_key: Vec<&Value> = rows.iter().filter(|row| row["key"] == key).map(|row| &row["token"]).collect();
    assert_eq!(of_key, tokens.iter().collect::<Vec<_>>());
    let modes: Vec<&Value> = rows.iter().map(|row| &row["mode"]).collect();
    assert_eq!(modes, ["shared", "shared", "shared", "exclusive"]);
}

#[tokio::test]
async fn a_permit_whose_ttl_is_over_makes_room_by_itself() {
    let native = Native::start(&[]).await;
    let key = unique("ends");
    native.shares(&key, json!({"limit": 1, "ttlMs": 200})).await;
    assert_problem(&native.acquire(&Who::System, &key, &json!({"limit": 1})).await, 409, "held");
    eventually("there is room", Duration::from_secs(5), async || {
        native.acquire(&Who::System, &key, &json!({"limit": 1})).await.status == 201
    })
    .await;
}

#[tokio::test]
async fn the_other_apis_take_a_shared_key_for_held() {
    let native = Native::start(&["--dapr-stores=lockstore"]).await;
    let key = unique("others");
    native.shares(&format!("lockstore||{key}"), json!({"mode": "shared", "owner": "d"})).await;
    let lock = json!({"resourceId": key, "lockOwner": "d", "expiryInSeconds": 10});
    let answer = native.ask(&Who::System, "POST", "/v1.0-alpha1/lock/lockstore").json(&lock).send().await;
    assert_eq!(answer.json(), json!({"success": false}));
    let answer = native.ask(&Who::System, "POST", "/v1.0-alpha1/unlock/lockstore").json(&lock).send().await;
    assert_eq!(answer.json(), json!({"status": 2}));

    let admin = json!({"route": "volume", "id": key});
    let shared = native.acquire(&editor("alice"), &format!("volume:{key}"), &json!({"mode": "shared"})).await;
    assert_eq!(shared.status, 201);
    assert_eq!(native.ask(&editor("alice"), "POST", "/admin/lock").json(&admin).send().await.status, 409);
    assert_eq!(native.ask(&editor("alice"), "DELETE", "/admin/remove-lock").json(&admin).send().await.status, 403);

    let token = shared.json()["token"].clone();
    let path = format!("/cmn/leasable-locks/{token}");
    let renewed = native.ask(&editor("alice"), "PUT", &format!("{path}?leasePeriod=60")).send().await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let beside = native.acquire(&editor("bob"), &format!("volume:{key}"), &json!({"mode": "shared"})).await.json();
    let list = native.ask(&editor("alice"), "GET", "/cmn/leasable-locks").send().await.json();
    let tokens: Vec<&Value> = list.as_array().expect("a list").iter().map(|lock| &lock["token"]).collect();
    assert!(tokens.contains(&&token) && tokens.contains(&&beside["token"]), "a row a lease: {list}");
    let custom = format!("/cmn/leasable-locks/custom/{}", beside["token"]);
    assert_eq!(native.ask(&editor("alice"), "DELETE", &custom).send().await.status, 200);
    assert_eq!(native.ask(&editor("alice"), "DELETE", &path).send().await.status, 200);
}
