//! Before the first fetch has succeeded: the sidecar serves, and says of every JWT that it cannot be verified yet.

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{SOON, claims, status, unfit};
use crate::harness::issuer::{Issuer, KEYS, Key, Page, set};
use crate::harness::jwt::Pair;
use crate::harness::{API_TOKEN, Fields, Grpc, Scratch, Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn a_jwt_is_503_in_every_api_until_the_keys_are_there() {
    let key = Key::new("a", Algorithm::ES256, Pair::p256());
    let issuer = Issuer::plain(Page::Silence).await;
    let scratch = Scratch::new();
    let token_file = scratch.file("token", API_TOKEN);
    let url = issuer.url(KEYS);
    let flags =
        ["--jwks-url", &url, "--api-token-file", &token_file, "--anonymous=lock", "--dapr-grpc-listen=127.0.0.1:0"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let token = key.sign(&claims());

    let readyz = sidecar.ops("/readyz").await;
    assert_eq!(readyz.status, 200, "Redis is ready: {}", readyz.text());
    assert!(readyz.text().contains("warning: jwt-keys: no JWT keys yet from http://localhost"), "{}", readyz.text());
    let retry = |answer: &crate::harness::Answer| answer.header("retry-after").map(str::to_owned);

    let native =
        sidecar.call("POST", &format!("/v1/locks/{}", unique("k"))).bearer(&token).json(&json!({})).send().await;
    let problem = native.json();
    assert_eq!((native.status, retry(&native).as_deref()), (503, Some("1")), "{problem}");
    assert_eq!((&problem["code"], &problem["outcome"]), (&json!("keys-unavailable"), &json!("not-applied")));
    let cookie = sidecar.call("GET", "/v1/locks").cookie(&token).send().await;
    assert_eq!((cookie.status, &cookie.json()["code"]), (503, &json!("keys-unavailable")));

    let target = json!({"route": unique("r"), "id": "1"});
    let admin = sidecar.call("POST", "/admin/lock").cookie(&token).json(&target).send().await;
    assert_eq!((admin.status, retry(&admin).as_deref()), (503, Some("1")));
    assert_eq!(admin.json(), json!({"data": "Service unavailable", "code": 503}));
    let leases = sidecar.call("GET", "/cmn/leasable-locks").bearer(&token).send().await;
    assert_eq!((leases.status, retry(&leases).as_deref()), (503, Some("1")));
    assert_eq!(leases.json()["context"], "keys-unavailable");
    let body = json!({"resourceId": unique("r"), "lockOwner": "me", "expiryInSeconds": 5});
    let dapr = sidecar.call("POST", "/v1.0-alpha1/lock/lockstore").bearer(&token).json(&body).send().await;
    assert_eq!((dapr.status, &dapr.json()["errorCode"]), (503, &json!("ERR_KEYS_UNAVAILABLE")));

    let grpc = Grpc::connect(&sidecar.grpc_address()).await;
    let bearer = format!("Bearer {token}");
    let lock = Fields::lock("lockstore", &unique("grpc"), "o").number(4, 60);
    let reply = grpc.call_with("TryLockAlpha1", &lock, &[("authorization", &bearer)]).await;
    assert_eq!(reply.status().0, 14, "UNAVAILABLE: {:?}", reply.status());

    // What is no JWT needs no key to be refused.
    assert_eq!(status(&sidecar, "garbage").await, 401);
    assert_eq!(sidecar.call("GET", "/v1/locks").cookie("garbage").send().await.status, 401);

    // Callers whose credentials need no key are served.
    assert_eq!(status(&sidecar, API_TOKEN).await, 200);
    let path = format!("/v1/locks/{}", unique("k"));
    assert_eq!(sidecar.call("POST", &path).json(&json!({})).send().await.status, 201);
    assert_eq!(sidecar.call("POST", "/admin/lock").json(&target).send().await.status, 401, "no credentials at all");
    let page = sidecar.call("GET", "/ui/").bearer(&token).send().await;
    assert_eq!(page.status, 200);

    issuer.serve(KEYS, Page::Json(set(&[&key])));
    eventually("it is fetched", SOON, async || status(&sidecar, &token).await == 200).await;
    unfit(&sidecar, 0).await;
    assert!(!sidecar.ops("/readyz").await.text().contains("jwt-keys"), "no longer said");
}

#[tokio::test]
async fn the_start_does_not_wait_for_the_url_and_what_fails_is_told() {
    let key = Key::new("a", Algorithm::ES256, Pair::p256());
    let issuer = Issuer::plain(Page::Json(json!({"keys": []}))).await;
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwks-url", &issuer.url(&format!("{KEYS}?secret=x"))]).await;
    unfit(&sidecar, 1).await;
    eventually("why not", SOON, async || sidecar.ops("/readyz").await.text().contains("it answered 404")).await;
    assert_eq!(status(&sidecar, &key.sign(&claims())).await, 503);
    let warned = |value: u8| format!("lockside_redis_warning{{warning=\"jwt-keys\"}} {value}");
    eventually("a warning", SOON, async || sidecar.ops("/metrics").await.text().contains(&warned(1))).await;
    assert!(!sidecar.log().contains("secret=x"), "{}", sidecar.log());

    issuer.serve(&format!("{KEYS}?secret=x"), Page::Json(set(&[&key])));
    eventually("it is fetched", SOON, async || status(&sidecar, &key.sign(&claims())).await == 200).await;
    eventually("no warning", SOON, async || sidecar.ops("/metrics").await.text().contains(&warned(0))).await;
}

#[tokio::test]
async fn an_issuer_that_is_not_there_yet_is_asked_again_soon() {
    let key = Key::new("a", Algorithm::ES256, Pair::p256());
    let port = crate::harness::free_port();
    let url = format!("http://127.0.0.1:{port}{KEYS}");
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwks-url", &url, "--jwks-refresh=1h"]).await;
    unfit(&sidecar, 1).await;
    assert!(sidecar.log().contains("Connection refused"), "{}", sidecar.log());
    assert_eq!(status(&sidecar, &key.sign(&claims())).await, 503);
    let _issuer = Issuer::at(&port, Page::Json(set(&[&key]))).await;
    eventually("it is fetched", SOON, async || status(&sidecar, &key.sign(&claims())).await == 200).await;
}
