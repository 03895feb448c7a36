//! What gets lost between a sidecar and Redis: the answer says what is known, and no lock stays that nobody knows of.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{API_TOKEN, Native, Who, assert_problem, path, redis_key, token_of};
use crate::harness::{Answer, Fault, Proxy, TestRedis, eventually, unique};

const TIMEOUT: Duration = Duration::from_millis(500);
const RECOVERY: Duration = Duration::from_secs(5);

/// A sidecar behind a proxy, which has used its scripts already, so that Redis knows them.
async fn behind_a_proxy(redis: &TestRedis) -> (Proxy, Native) {
    let proxy = Proxy::start(redis);
    let native = Native::start_at(&proxy.url(), &["--redis-timeout=500ms"]).await;
    native.granted(&Who::System, &unique("warm")).await;
    (proxy, native)
}

fn exists(key: &str) -> bool {
    TestRedis::alone().ask("EXISTS", &[&redis_key(key)])
}

#[track_caller]
fn assert_unknown(answer: &Answer) {
    assert_problem(answer, 504, "outcome-unknown");
    assert_eq!(answer.json()["outcome"], "unknown");
}

/// Somebody who asks for a key and does not wait for the answer.
fn caller(native: &Native, key: &str) -> TcpStream {
    let mut caller = TcpStream::connect(native.api_address()).unwrap();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {API_TOKEN}\r\nIdempotency-Key: n-1\r\n\
         X-Request-Id: of-{key}\r\nContent-Length: 17\r\n\r\n{{\"owner\":\"web-3\"}}",
        path(key)
    );
    caller.write_all(request.as_bytes()).unwrap();
    caller
}

/// Ends a sidecar, which takes back first what it has to take back.
async fn ended(mut native: Native) {
    native.signal("TERM");
    assert_eq!(native.0.exit_code(Duration::from_secs(10)).await, Some(0), "everything was taken back in time");
}

#[tokio::test]
async fn a_lost_reply_is_504_and_the_lock_is_taken_back_once_redis_can_be_reached() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    for name in [None, Some("n-1")] {
        let key = unique("lost");
        proxy.set(Fault::LoseReplyTo(key.clone()));
        let answer = match name {
            None => native.acquire(&Who::System, &key, &json!({})).await,
            Some(name) => native.attempt(&Who::System, &key, name, &json!({"owner": "web-3"})).await,
        };
        assert_unknown(&answer);
        assert!(exists(&key), "Redis has granted it");
        proxy.mend();
        eventually("the lock is taken back", RECOVERY, async || !exists(&key)).await;
        eventually("it says so", RECOVERY, async || native.log().contains(&format!("\"{key}\""))).await;
        eventually("it works again", RECOVERY, async || {
            native.acquire(&Who::System, &unique("warm"), &json!({})).await.status == 201
        })
        .await;
    }
}

#[tokio::test]
async fn while_only_replies_are_lost_the_lock_is_taken_back_all_the_same() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    let key = unique("deaf");
    proxy.set(Fault::SwallowReplies);
    assert_unknown(&native.acquire(&Who::System, &key, &json!({})).await);
    eventually("the lock is taken back", RECOVERY, async || !exists(&key)).await;
    proxy.mend();
    ended(native).await;
    assert!(!exists(&key));
}

#[tokio::test]
async fn a_lost_request_is_504_and_leaves_nothing() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    let key = unique("never");
    proxy.set(Fault::SwallowRequests);
    assert_unknown(&native.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await);
    assert!(!exists(&key));
    proxy.mend();
    ended(native).await;
    assert!(!exists(&key));
    let elsewhere = Native::start_at(&TestRedis::alone().url(), &[]).await;
    assert_eq!(
        elsewhere.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await.status,
        201,
        "it never was an attempt"
    );
}

#[tokio::test]
async fn a_renewal_and_a_release_without_an_answer_are_504_and_reads_are_503() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    let key = unique("changes");
    let token = token_of(&native.granted(&Who::System, &key).await);
    proxy.set(Fault::SwallowRequests);
    assert_unknown(&native.renew(&Who::System, &key, token, &json!({})).await);
    assert_unknown(&native.release(&Who::System, &key, token).await);
    for path in [path(&key), format!("{}/fence?token={token}", path(&key)), "/v1/locks".to_owned()] {
        let answer = native.ask(&Who::System, "GET", &path).send().await;
        assert_problem(&answer, 503, "redis-unavailable");
        assert_eq!(answer.json()["outcome"], "not-applied", "a read changes nothing");
    }
}

#[tokio::test]
async fn repeated_in_time_at_another_sidecar_it_is_the_same_lease_and_stays() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    let elsewhere = Native::start_at(&TestRedis::alone().url(), &[]).await;
    let key = unique("elsewhere");
    proxy.set(Fault::LoseReplyTo(key.clone()));
    assert_unknown(&native.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await);
    let until = super::expires_ms(&key);

    let again = elsewhere.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await;
    assert_eq!(again.status, 200, "{}", again.text());
    proxy.mend();
    ended(native).await;

    assert_eq!(elsewhere.fence(&Who::System, &key, token_of(&again.json())).await.status, 200);
    assert_eq!(super::expires_ms(&key), until, "not renewed");
}

#[tokio::test]
async fn repeated_too_late_it_is_an_ordinary_attempt_and_stays() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    let key = unique("too-late");
    proxy.set(Fault::LoseReplyTo(key.clone()));
    assert_unknown(&native.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await);
    proxy.mend();
    eventually("the lock is taken back", RECOVERY, async || !exists(&key)).await;
    let again = native.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await;
    assert_eq!(again.status, 201, "{}", again.text());
    ended(native).await;
    assert!(exists(&key));
}

#[tokio::test]
async fn repeated_in_time_at_the_same_sidecar_it_is_the_same_lease_and_stays() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    let key = unique("same");
    let body = json!({"owner": "web-3"});
    let attempt = || native.attempt(&Who::System, &key, "n-1", &body);
    proxy.set(Fault::HoldReplies);
    let begun = Instant::now();
    let first = async {
        assert_unknown(&attempt().await);
        // Late for the first sending, in time for the second.
        proxy.mend();
    };
    let second = async {
        let half = || begun.elapsed() > TIMEOUT / 2;
        eventually("the first sending is half over", TIMEOUT, async || half() && exists(&key)).await;
        attempt().await
    };
    let ((), again) = tokio::join!(first, second);
    assert_eq!(again.status, 200, "{}", again.text());
    let token = token_of(&again.json());
    ended(native).await;
    let elsewhere = Native::start_at(&TestRedis::alone().url(), &[]).await;
    assert_eq!(elsewhere.fence(&Who::System, &key, token).await.status, 200);
}

#[tokio::test]
async fn an_attempt_of_which_every_answer_was_lost_leaves_no_lock() {
    let redis = TestRedis::start(&[]);
    let native = Native::start_at(&redis.url(), &["--redis-timeout=500ms"]).await;
    let key = unique("stall");
    native.granted(&Who::System, &key).await;
    native.force(&Who::System, &key).await;
    let body = json!({"ttlMs": 600_000, "owner": "web-3"});
    let attempt = || native.attempt(&Who::System, &key, "n-1", &body);
    redis.signal("STOP");
    let (first, second) = tokio::join!(attempt(), attempt());
    assert_unknown(&first);
    assert_unknown(&second);
    redis.signal("CONT");
    ended(native).await;
    assert!(!redis.ask::<bool>("EXISTS", &[&redis_key(&key)]));
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_no_lock_unless_an_earlier_one_was_told() {
    let (proxy, native) = behind_a_proxy(TestRedis::alone()).await;
    let elsewhere = Native::start_at(&TestRedis::alone().url(), &[]).await;
    let (nobodys, somebodys) = (unique("nobodys"), unique("somebodys"));
    let lease = elsewhere.attempt(&Who::System, &somebodys, "n-1", &json!({"owner": "web-3"})).await.json();
    proxy.set(Fault::HoldReplies);
    for key in [&nobodys, &somebodys] {
        let caller = caller(&native, key);
        let arrived = || {
            let lease: Option<String> = TestRedis::alone().ask("GET", &[&redis_key(key)]);
            let names = lease.as_deref().and_then(|lease| lease.split("\"by\":\"").nth(1)?.split('"').next());
            names.is_some_and(|names| key == &nobodys || names.contains(' '))
        };
        eventually("redis has done it", TIMEOUT, async || arrived()).await;
        drop(caller);
    }
    proxy.mend();
    eventually("the lock is taken back", RECOVERY, async || !exists(&nobodys)).await;
    let id = format!("\"request_id\":\"of-{nobodys}\"");
    let is_told = |line: &str| line.contains("rolled back an undelivered grant") && line.contains(&id);
    eventually("it says whose request", RECOVERY, async || native.log().lines().any(is_told)).await;
    ended(native).await;
    assert_eq!(elsewhere.fence(&Who::System, &somebodys, token_of(&lease)).await.status, 200);
}

#[tokio::test]
async fn many_that_are_taken_back_at_once_do_not_fill_the_log() {
    const CALLERS: usize = 200;
    let proxy = Proxy::start(TestRedis::alone());
    let native = Native::start_at(&proxy.url(), &["--redis-timeout=10s"]).await;
    let keys: Vec<String> = (0..CALLERS).map(|_| unique("many")).collect();
    let lines = || native.log().lines().filter(|line| line.contains("rolled back an undelivered grant")).count();
    // Redis knows the script for many at once from then on, and need not be taught it while nothing is heard of it.
    let warm: Vec<String> = (0..8).map(|_| unique("warm")).collect();
    join_all(warm.iter().map(|key| native.granted(&Who::System, key))).await;
    proxy.set(Fault::HoldReplies);
    let callers: Vec<TcpStream> = keys.iter().map(|key| caller(&native, key)).collect();
    eventually("redis has done it", RECOVERY, async || keys.iter().all(|key| exists(key))).await;
    drop(callers);
    proxy.mend();
    eventually("all are taken back", RECOVERY, async || !keys.iter().any(|key| exists(key))).await;
    // No more than 50 a second, and it took less than two.
    eventually("it says so", RECOVERY, async || lines() >= 50).await;
    assert!(lines() <= 150, "{} lines", lines());
    eventually("it says how many it did not tell", RECOVERY, async || {
        drop(caller(&native, &unique("one-more")));
        native
            .log()
            .lines()
            .any(|line| line.contains("rolled back an undelivered grant") && line.contains("\"withheld\":"))
    })
    .await;
}

#[tokio::test]
async fn without_redis_it_is_503_and_surely_not_done() {
    let mut redis = TestRedis::start(&[]);
    let native = Native::start_at(&redis.url(), &["--redis-timeout=500ms"]).await;
    let key = unique("away");
    let token = token_of(&native.granted(&Who::System, &key).await);
    redis.kill();
    eventually("it is known to be away", RECOVERY, async || {
        native.acquire(&Who::System, &unique("away"), &json!({})).await.status == 503
    })
    .await;
    for answer in [
        native.acquire(&Who::System, &key, &json!({})).await,
        native.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await,
        native.renew(&Who::System, &key, token, &json!({})).await,
        native.release(&Who::System, &key, token).await,
        native.force(&Who::System, &key).await,
        native.fence(&Who::System, &key, token).await,
        native.list("").await,
    ] {
        assert_problem(&answer, 503, "redis-unavailable");
        assert_eq!(answer.json()["outcome"], "not-applied");
    }
}
