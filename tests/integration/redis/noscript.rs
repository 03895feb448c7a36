//! A Redis that has forgotten the scripts: the sidecar loads them again, and no caller notices.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Scratch, Sidecar, TestRedis, eventually, jwt};

/// Forgets all scripts, then sends a call of alice's.
async fn after_flush(redis: &TestRedis, sidecar: &Sidecar, method: &str, path: &str, body: Option<Value>) -> Answer {
    redis.ask::<String>("SCRIPT", &["FLUSH"]);
    let call = sidecar.call(method, path).cookie(&jwt::editor("alice"));
    match body {
        Some(body) => call.json(&body).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn no_operation_of_the_admin_dialect_shows_that_redis_forgot_the_scripts() {
    let (redis, scratch) = (TestRedis::start(&[]), Scratch::new());
    let sidecar = Sidecar::start(&redis, &["--jwt-secret-file", &scratch.file("secret", jwt::SECRET)]).await;
    let target = json!({"route": "volume", "id": "1234"});

    for (method, path) in [("POST", "/admin/lock"), ("POST", "/admin/lock"), ("DELETE", "/admin/remove-lock")] {
        let answer = after_flush(&redis, &sidecar, method, path, Some(target.clone())).await;
        assert_eq!(answer.text(), r#"{"data":"Success","code":200}"#, "{method}");
    }
    assert_eq!(redis.ask::<Vec<String>>("KEYS", &["*:lock:*"]), Vec::<String>::new());
}

#[tokio::test]
async fn no_operation_of_the_leases_dialect_shows_that_redis_forgot_the_scripts() {
    let (redis, scratch) = (TestRedis::start(&[]), Scratch::new());
    let sidecar = Sidecar::start(&redis, &["--jwt-secret-file", &scratch.file("secret", jwt::SECRET)]).await;
    let all = "/cmn/leasable-locks";
    let wanted = json!({"key": "orders", "leasePeriod": 60});
    let call = async |method: &str, path: &str, body| after_flush(&redis, &sidecar, method, path, body).await;

    let created = call("POST", all, Some(wanted.clone())).await;
    assert_eq!(created.status, 201, "{created:?}");
    let one = format!("{all}/{}", created.json()["token"]);
    assert_eq!(call("POST", all, Some(wanted.clone())).await.status, 200);
    assert_eq!(call("PUT", &format!("{one}?leasePeriod=90"), None).await.status, 200);
    let listed = call("GET", all, None).await.json();
    assert_eq!(listed[0]["token"], created.json()["token"], "{listed}");
    assert_eq!(call("DELETE", &one, None).await.status, 200);

    let again = call("POST", all, Some(wanted)).await;
    assert_eq!(again.status, 201, "{again:?}");
    let custom = format!("{all}/custom/{}", again.json()["token"]);
    assert_eq!(call("DELETE", &custom, None).await.status, 200);
    assert_eq!(call("GET", all, None).await.json(), json!([]));
}

#[tokio::test]
async fn nobody_in_line_notices_that_redis_forgot_the_scripts() {
    let redis = TestRedis::start(&[]);
    let sidecar = std::sync::Arc::new(Sidecar::start(&redis, &[]).await);
    let path = "/v1/locks/orders";
    let call = async |method: &str, path: &str, body| {
        redis.ask::<String>("SCRIPT", &["FLUSH"]);
        sidecar.call(method, path).json(&body).send().await
    };
    let held = call("POST", path, json!({})).await.json()["token"].clone();
    assert_eq!(call("POST", path, json!({"waitMs": 50})).await.json()["code"], "wait-timeout");
    redis.ask::<String>("SCRIPT", &["FLUSH"]);
    let waiting = {
        let sidecar = std::sync::Arc::clone(&sidecar);
        tokio::spawn(
            async move { sidecar.call("POST", path).json(&json!({"ttlMs": 300, "waitMs": 10_000})).send().await },
        )
    };
    eventually("it waits", Duration::from_secs(5), async || {
        sidecar.call("GET", path).send().await.json()["waiters"] == 1
    })
    .await;

    assert_eq!(call("DELETE", &format!("{path}?token={held}"), json!({})).await.status, 204);
    let granted = waiting.await.unwrap();
    assert_eq!(granted.status, 201, "{}", granted.text());

    // Its expiry is seen by a script that was forgotten, too.
    let answer = call("POST", path, json!({"waitMs": 10_000})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}
