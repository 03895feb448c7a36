//! What one caller may have at once, and that others do not suffer from one that has it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{As, Guarded, SOON, path, token};
use crate::harness::{Answer, Fields, Grpc, eventually, unique};

/// Everything is allowed, so that only the limits are in the way.
pub const OPEN: &str = "token:* lock,read,force-release *\nuser:* lock,read *\n";
pub const TOKENS: [&str; 2] = ["ci", "web"];

async fn start(limits: &str, flags: &[&str]) -> Guarded {
    Guarded::start(&format!("{OPEN}{limits}"), &TOKENS, flags).await
}

pub fn assert_exceeded(answer: &Answer, limit: &str, max: u64) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    let problem = answer.json();
    let told = (&problem["code"], &problem["limit"], &problem["max"], &problem["outcome"]);
    assert_eq!(told, (&json!("quota-exceeded"), &json!(limit), &json!(max), &json!("not-applied")), "{problem}");
    assert_eq!((answer.header("lockside-limit"), answer.header("retry-after")), (Some(limit), Some("1")));
}

#[tokio::test]
async fn a_caller_has_so_many_locks_and_others_have_theirs() {
    let guarded = start("", &["--caller-locks", "2"]).await;
    let (ci, web) = (As::Token("ci"), As::Token("web"));
    let body = || json!({"owner": "app", "reentrant": true, "ttlMs": 60_000});
    let (first, second) = (unique("k"), unique("k"));
    let one = guarded.granted(&ci, &first, body()).await;
    let two = guarded.granted(&ci, &second, body()).await;
    assert_exceeded(&guarded.acquire(&ci, &unique("k")).await, "locks", 2);
    guarded.granted(&web, &unique("k"), json!({})).await;
    // What it has is renewed, by whichever way.
    let again = guarded.ask(&ci, "POST", &path(&first)).json(&body()).send().await;
    assert_eq!(again.status, 200, "{}", again.text());
    let renewed = guarded.ask(&ci, "PUT", &format!("{}?token={}", path(&first), one["token"])).send().await;
    assert_eq!(renewed.status, 200);
    assert_eq!(guarded.release(&ci, &first, &one["token"]).await.status, 204);
    guarded.granted(&ci, &first, json!({"ttlMs": 300})).await;
    assert_exceeded(&guarded.acquire(&ci, &unique("k")).await, "locks", 2);
    eventually("the lease expires", SOON, async || guarded.acquire(&ci, &unique("k")).await.status == 201).await;
    // By force, and what another has is no lock of one's own.
    let forced = guarded.ask(&web, "DELETE", &format!("{}?force=true", path(&second))).send().await;
    assert_eq!((forced.status, forced.header("lockside-released-token")), (204, Some(&*two["token"].to_string())));
    let held = unique("k");
    guarded.granted(&web, &held, json!({"ttlMs": 60_000})).await;
    for _ in 0..3 {
        assert_eq!(guarded.acquire(&ci, &held).await.status, 409);
    }
    guarded.granted(&ci, &unique("k"), json!({})).await;
    let metrics = guarded.sidecar.ops("/metrics").await;
    assert!(metrics.text().contains(r#"lockside_quota_exceeded_total{limit="locks"}"#));
}

#[tokio::test]
async fn a_waiter_counts_from_when_it_queues_until_it_goes() {
    let guarded = start("token:ci limit locks=2 waiters=1\n", &[]).await;
    let (ci, web) = (As::Token("ci"), As::Token("web"));
    let key = unique("k");
    let lease = guarded.granted(&web, &key, json!({"ttlMs": 60_000})).await;
    let wait = || guarded.ask(&ci, "POST", &path(&key)).json(&json!({"waitMs": 20_000}));
    let queue = format!("{}/queue", path(&key));
    let waiting = async |count: usize| {
        eventually("they wait", SOON, async || {
            let queue = guarded.ask(&web, "GET", &queue).send().await.json();
            queue["queue"].as_array().map(Vec::len) == Some(count)
        })
        .await;
    };
    {
        let mut first = Box::pin(wait().send());
        let limits = async {
            waiting(1).await;
            assert_exceeded(&wait().send().await, "waiters", 1);
            guarded.granted(&ci, &unique("k"), json!({"ttlMs": 500})).await;
            assert_exceeded(&guarded.acquire(&ci, &unique("k")).await, "locks", 2);
        };
        tokio::select! { () = limits => {} answer = &mut first => panic!("{answer:?}") }
        // Here its client hangs up.
    }
    waiting(0).await;
    let mut again = Box::pin(wait().send());
    let release = async {
        waiting(1).await;
        guarded.release(&web, &key, &lease["token"]).await
    };
    let (granted, released) = tokio::join!(&mut again, release);
    assert_eq!((granted.status, released.status), (201, 204), "{}", granted.text());
}

#[tokio::test]
async fn a_caller_that_floods_shuts_none_out() {
    let guarded = start("token:ci limit locks=30 waiters=20 ttl=1m\n", &["--max-waiters", "60"]).await;
    let (ci, web) = (As::Token("ci"), As::Token("web"));
    let key = unique("k");
    let lease = guarded.granted(&web, &key, json!({"ttlMs": 60_000})).await;
    let flood = join_all((0..100).map(|_| guarded.ask(&ci, "POST", &path(&key)).json(&json!({"waitMs": 1500})).send()));
    let others = async {
        let queue = format!("{}/queue", path(&key));
        eventually("they wait", SOON, async || {
            let queue = guarded.ask(&web, "GET", &queue).send().await.json();
            queue["queue"].as_array().is_some_and(|queue| queue.len() >= 20)
        })
        .await;
        // One of `web` waits for another key, while the other caller has all that it may.
        let (other, body) = (unique("k"), json!({"waitMs": 20_000}));
        let held = guarded.granted(&web, &other, json!({"ttlMs": 60_000})).await;
        let waiting = guarded.ask(&web, "POST", &path(&other)).json(&body).send();
        let release = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            guarded.release(&web, &other, &held["token"]).await
        };
        let (granted, _) = tokio::join!(waiting, release);
        assert_eq!(granted.status, 201, "{}", granted.text());
    };
    let (answers, ()) = tokio::join!(flood, others);
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    let waited = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((refused, waited), (80, 20));
    assert_eq!(guarded.release(&web, &key, &lease["token"]).await.status, 204);
    let granted = join_all((0..60).map(|_| guarded.ask(&ci, "POST", &path(&unique("full"))).send())).await;
    assert_eq!(granted.iter().filter(|answer| answer.status == 201).count(), 30, "no more than its locks");
}

#[tokio::test]
async fn holds_are_counted_by_their_connections() {
    let guarded = start("token:ci limit holds=1\n", &[]).await;
    let (ci, web) = (As::Token("ci"), As::Token("web"));
    let hold = |who: &As, body: Value| {
        let call = guarded.ask(who, "POST", &format!("{}/hold", path(&unique("k"))));
        call.json(&body)
    };
    let mut first = hold(&ci, json!({})).open().await;
    assert_eq!(first.next().await.unwrap()["event"], "acquired");
    assert_exceeded(&hold(&ci, json!({})).send().await, "holds", 1);
    assert_exceeded(&hold(&ci, json!({"progress": true})).send().await, "holds", 1);
    assert_eq!(hold(&web, json!({})).open().await.status, 200);
    guarded.granted(&ci, &unique("k"), json!({})).await;
    drop(first);
    eventually("its place is free", SOON, async || hold(&ci, json!({})).open().await.status == 200).await;
}

#[tokio::test]
async fn requests_are_counted_and_renewals_and_releases_are_not_refused() {
    let guarded = start("token:ci limit requests=5\n", &[]).await;
    let ci = As::Token("ci");
    let key = unique("k");
    let lease = guarded.granted(&ci, &key, json!({"ttlMs": 60_000})).await;
    let asked = join_all((0..40).map(|_| guarded.ask(&ci, "GET", &path(&key)).send())).await;
    let refused: Vec<&Answer> = asked.iter().filter(|answer| answer.status != 200).collect();
    assert!(refused.len() >= 20, "{}", refused.len());
    refused.iter().for_each(|answer| assert_exceeded(answer, "requests", 5));
    for _ in 0..10 {
        let renewed = guarded.ask(&ci, "PUT", &format!("{}?token={}", path(&key), lease["token"])).send().await;
        assert_eq!(renewed.status, 200, "{}", renewed.text());
    }
    assert_eq!(guarded.release(&ci, &key, &lease["token"]).await.status, 204);
    assert_eq!(guarded.ask(&As::Token("web"), "GET", &path(&key)).send().await.status, 200);
    eventually("it may ask again", SOON, async || guarded.ask(&ci, "GET", &path(&key)).send().await.status == 200)
        .await;
}

#[tokio::test]
async fn a_ttl_above_the_limit_is_refused_by_name_and_the_default_is_shortened() {
    let guarded = start("token:ci limit ttl=5s\nuser:* limit ttl=2s\n", &[]).await;
    let ci = As::Token("ci");
    let lease = guarded.granted(&ci, &unique("k"), json!({})).await;
    assert_eq!(lease["ttlMs"], 5000, "the shorter one");
    let key = unique("k");
    let lease = guarded.granted(&ci, &key, json!({"ttlMs": 5000})).await;
    let renew = format!("{}?token={}", path(&key), lease["token"]);
    for (answer, field) in [
        (guarded.ask(&ci, "POST", &path(&unique("k"))).json(&json!({"ttlMs": 5001})).send().await, "ttlMs"),
        (guarded.ask(&ci, "PUT", &renew).json(&json!({"ttlMs": 5001})).send().await, "ttlMs"),
        (guarded.ask(&ci, "POST", &format!("{}/hold", path(&key))).json(&json!({"ttlMs": 9000})).send().await, "ttlMs"),
    ] {
        assert_eq!(answer.status, 400, "{}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(field) && detail.contains("a ttl of at most 5000 ms"), "{detail}");
    }
    let body = json!({"key": unique("k"), "leasePeriod": 6});
    let answer = guarded.ask(&ci, "POST", "/cmn/leasable-locks").json(&body).send().await;
    assert!(answer.status == 400 && answer.text().contains("leasePeriod"), "{}", answer.text());
    let body = json!({"resourceId": unique("k"), "lockOwner": "o", "expiryInSeconds": 6});
    let answer = guarded.ask(&ci, "POST", "/v1.0-alpha1/lock/lockstore").json(&body).send().await;
    assert!(answer.status == 400 && answer.text().contains("expiryInSeconds"), "{}", answer.text());
    let ann = As::User("ann", json!({"permissions": ["manage-locks"]}));
    let id = unique("k");
    let answer = guarded.ask(&ann, "POST", "/admin/lock").json(&json!({"route": "r", "id": id})).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = guarded.ask(&ann, "GET", &path(&format!("r:{id}"))).send().await.json();
    assert!(shown["holder"]["validForMs"].as_u64().unwrap() <= 2000, "{shown}");
}

#[tokio::test]
async fn each_api_says_it_in_its_own_shape() {
    let flags = ["--caller-locks", "0", "--dapr-grpc-listen", "127.0.0.1:0"];
    let guarded = start("", &flags).await;
    let ci = As::Token("ci");
    let ann = As::User("ann", json!({"permissions": ["manage-locks"]}));
    let admin = guarded.ask(&ann, "POST", "/admin/lock").json(&json!({"route": "r", "id": 1})).send().await;
    assert_eq!(admin.json(), json!({"data": "Too many requests", "code": 429}));
    let body = json!({"key": unique("k"), "leasePeriod": 6});
    let leases = guarded.ask(&ci, "POST", "/cmn/leasable-locks").json(&body).send().await;
    assert_eq!((leases.status, &leases.json()["context"]), (429, &json!("quota-exceeded")));
    let body = json!({"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 6});
    let dapr = guarded.ask(&ci, "POST", "/v1.0-alpha1/lock/lockstore").json(&body).send().await;
    assert_eq!((dapr.status, &dapr.json()["errorCode"]), (429, &json!("ERR_QUOTA_EXCEEDED")));
    for answer in [admin, leases, dapr] {
        assert_eq!(answer.header("lockside-limit"), Some("locks"), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"), "{}", answer.text());
    }
    let grpc = Grpc::connect(&guarded.sidecar.grpc_address()).await;
    let fields = Fields::lock("lockstore", "r", "o").number(4, 60);
    let reply = grpc.call_with("TryLockAlpha1", &fields, &[("dapr-api-token", &token("ci"))]).await;
    assert_eq!((reply.status().0, reply.field("lockside-limit")), (8, Some("locks")), "RESOURCE_EXHAUSTED");
}

#[tokio::test]
async fn locks_of_every_api_are_given_back_when_they_are_released() {
    let guarded = start("", &["--caller-locks", "1"]).await;
    let ci = As::Token("ci");
    let ann = As::User("ann", json!({"permissions": ["manage-locks"]}));
    for _ in 0..3 {
        let target = json!({"route": "r", "id": unique("k")});
        assert_eq!(guarded.ask(&ann, "POST", "/admin/lock").json(&target).send().await.status, 200);
        assert_eq!(guarded.ask(&ann, "POST", "/admin/lock").json(&target).send().await.status, 200, "renewed");
        assert_eq!(guarded.acquire(&ann, &unique("k")).await.status, 429);
        assert_eq!(guarded.ask(&ann, "DELETE", "/admin/remove-lock").json(&target).send().await.status, 200);

        let body = json!({"key": unique("k"), "leasePeriod": 60});
        let lease = guarded.ask(&ci, "POST", "/cmn/leasable-locks").json(&body).send().await;
        assert_eq!(lease.status, 201, "{}", lease.text());
        assert_eq!(guarded.acquire(&ci, &unique("k")).await.status, 429);
        let release = format!("/cmn/leasable-locks/{}", lease.json()["token"]);
        assert_eq!(guarded.ask(&ci, "DELETE", &release).send().await.status, 200);

        let body = json!({"resourceId": unique("k"), "lockOwner": "o", "expiryInSeconds": 60});
        let locked = guarded.ask(&ci, "POST", "/v1.0-alpha1/lock/lockstore").json(&body).send().await;
        assert_eq!(locked.json(), json!({"success": true}));
        assert_eq!(guarded.acquire(&ci, &unique("k")).await.status, 429);
        let unlocked = guarded.ask(&ci, "POST", "/v1.0-alpha1/unlock/lockstore").json(&body).send().await;
        assert_eq!(unlocked.json(), json!({"status": 0}));
    }
}

#[tokio::test]
async fn a_line_by_name_goes_before_star_and_that_before_the_flag_and_all_are_followed() {
    let limits = "token:* limit locks=1\ntoken:ci limit locks=2\n";
    let guarded = start(limits, &["--caller-locks", "3"]).await;
    let count = async |who: As| {
        let mut granted = 0;
        while guarded.acquire(&who, &unique("k")).await.status == 201 {
            granted += 1;
        }
        granted
    };
    let counts = (count(As::Token("ci")).await, count(As::Token("web")).await, count(As::User("ann", json!({}))).await);
    assert_eq!(counts, (2, 1, 3));
    let policy = format!("{OPEN}token:* limit locks=4\n");
    guarded.rewrite(&policy, &As::Token("web"), &unique("k"), 201).await;
    assert_eq!(count(As::Token("ci")).await, 2, "two more than it has");
}
