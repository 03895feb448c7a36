//! The admin dialect, row by row.

use serde_json::json;

use crate::harness::{Scratch, Sidecar, TestRedis, jwt, unique};

#[tokio::test]
async fn a_lock_is_created_renewed_refused_to_others_and_removed() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let target = json!({"route": "volume", "id": unique("admin")});
    let (alice, bob) = (jwt::editor("alice"), jwt::editor("bob"));
    let lock = |token: &str| sidecar.call("POST", "/admin/lock").cookie(token).json(&target).send();
    let remove = |token: &str| sidecar.call("DELETE", "/admin/remove-lock").cookie(token).json(&target).send();

    assert_eq!(lock(&alice).await.text(), r#"{"data":"Success","code":200}"#);
    assert_eq!(lock(&alice).await.text(), r#"{"data":"Success","code":200}"#);
    assert_eq!(lock(&bob).await.text(), r#"{"data":"Conflict","code":409}"#);
    assert_eq!(remove(&bob).await.text(), r#"{"data":"Forbidden","code":403}"#);
    assert_eq!(remove(&alice).await.text(), r#"{"data":"Success","code":200}"#);
    assert_eq!(remove(&alice).await.text(), r#"{"data":"Not found","code":404}"#);
}
