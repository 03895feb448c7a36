//! Without Redis: what was not done, and what nobody knows, is an error that names the operation.

use std::time::Duration;

use super::{assert_error, assert_says, try_lock, unlock};
use crate::harness::{Fault, Proxy, Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn redis_away_is_500_with_the_operations_own_code_and_the_sidecar_is_there() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &["--redis-timeout=300ms"]).await;
    redis.kill();
    assert_error(&try_lock(&sidecar, "r", "o", 60).send().await, 500, "ERR_TRY_LOCK");
    assert_error(&unlock(&sidecar, "r", "o").send().await, 500, "ERR_UNLOCK");
    assert_eq!(sidecar.call("GET", "/v1.0/metadata").send().await.status, 200);
    assert_eq!(sidecar.call("GET", "/v1.0/healthz").send().await.status, 204);
    redis.up();
    eventually("redis is used again", Duration::from_secs(10), async || {
        try_lock(&sidecar, "r", "o", 60).send().await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_lock_whose_answer_was_lost_is_500_and_is_taken_back() {
    let redis = TestRedis::start(&[]);
    let proxy = Proxy::start(&redis);
    let sidecar = Sidecar::start_at(&proxy.url(), &["--redis-timeout=300ms"]).await;
    let name = unique("lost");
    proxy.set(Fault::SwallowReplies);
    assert_error(&try_lock(&sidecar, &name, "web-1", 3600).send().await, 500, "ERR_TRY_LOCK");
    proxy.mend();
    let took = eventually("it is taken back", Duration::from_secs(10), async || {
        let answer = try_lock(&sidecar, &name, "web-2", 60).send().await;
        answer.status == 200 && answer.text() == r#"{"success":true}"#
    });
    println!("a lock that nobody was told of was taken back after {:?}", took.await);
    assert_says(&unlock(&sidecar, &name, "web-2").send().await, r#"{"status":0}"#);
}
