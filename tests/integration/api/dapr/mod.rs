//! The Dapr dialect, by what Dapr's clients are promised.

mod callers;
mod errors;
mod grpc;
mod locks;
mod outages;
mod sdk;

use serde_json::{Value, json};

use crate::harness::{Answer, Call, Sidecar, TestRedis};

const LOCK: &str = "/v1.0-alpha1/lock/lockstore";
const UNLOCK: &str = "/v1.0-alpha1/unlock/lockstore";

/// On the Redis that tests share; serves everybody.
async fn sidecar() -> Sidecar {
    Sidecar::start(TestRedis::shared(), &[]).await
}

fn try_lock<'a>(sidecar: &'a Sidecar, resource: &str, owner: &str, seconds: impl Into<Value>) -> Call<'a> {
    let body = json!({"resourceId": resource, "lockOwner": owner, "expiryInSeconds": seconds.into()});
    sidecar.call("POST", LOCK).json(&body)
}

fn unlock<'a>(sidecar: &'a Sidecar, resource: &str, owner: &str) -> Call<'a> {
    sidecar.call("POST", UNLOCK).json(&json!({"resourceId": resource, "lockOwner": owner}))
}

/// Asserts an answer to the letter.
#[track_caller]
fn assert_says(answer: &Answer, body: &str) {
    assert_eq!((answer.status, answer.text()), (200, body));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[track_caller]
fn assert_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = answer.json();
    let fields: Vec<&String> = error.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["errorCode", "message"], "{error}");
    assert_eq!(error["errorCode"], code, "{error}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
}
