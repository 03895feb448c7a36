//! Dapr's own JavaScript SDK, unchanged.

use serde_json::{Value, json};

use crate::harness::clients::node;
use crate::harness::{API_TOKEN, Scratch, Sidecar, TestRedis, unique};

async fn said(sidecar: &Sidecar, token: &str) -> Value {
    let port = sidecar.api_address().rsplit(':').next().unwrap();
    let printed = node("api/dapr/sdk.js", &[port, &unique("sdk"), token]).await;
    serde_json::from_str(&printed).unwrap()
}

fn refused(code: &str, message: &str) -> Value {
    let body = json!({"errorCode": code, "message": message});
    json!({"error": "Bad Request", "error_msg": body.to_string(), "status": 400})
}

fn expected() -> Value {
    json!([
        true,
        [{"name": "lockstore", "type": "lock.lockside", "version": "v1", "capabilities": []}],
        {"success": true},  // the first owner
        {"success": false}, // another
        {"success": false}, // the first again
        {"status": 2},      // another's
        {"status": 0},      // the first's
        {"status": 1},      // twice
        {"success": true},  // for a second
        true,               // expired
        refused("ERR_MALFORMED_REQUEST", "ExpiryInSeconds is not positive in lock store lockstore"),
        refused("ERR_LOCK_STORE_NOT_FOUND", "lock store other not found"),
    ])
}

#[tokio::test]
async fn the_javascript_sdk_runs_unchanged() {
    assert_eq!(said(&Sidecar::start(TestRedis::shared(), &[]).await, "").await, expected());
}

#[tokio::test]
async fn the_javascript_sdk_shows_its_api_token() {
    let scratch = Scratch::new();
    let token = scratch.file("token", API_TOKEN);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--api-token-file", &token]).await;
    assert_eq!(said(&sidecar, API_TOKEN).await, expected());
}
