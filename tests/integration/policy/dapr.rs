//! The Dapr API under a policy: over HTTP and over gRPC, and whose a lock is whose owner is only a name.

use serde_json::{Value, json};

use super::{As, Guarded, token};
use crate::harness::{Fields, Grpc, unique};

const POLICY: &str = "token:ci lock lockstore||ci-*\ntoken:web lock lockstore||*\n";

#[tokio::test]
async fn a_lock_is_released_by_the_credential_that_got_it() {
    let guarded = Guarded::start(POLICY, &["ci", "web"], &[]).await;
    let resource = unique("ci");
    let call = async |who: &As, what: &str, resource: &str| {
        let body = json!({"resourceId": resource, "lockOwner": "app", "expiryInSeconds": 60});
        guarded.ask(who, "POST", &format!("/v1.0-alpha1/{what}/lockstore")).json(&body).send().await
    };
    let (ci, web) = (As::Token("ci"), As::Token("web"));
    let mine = format!("ci-{resource}");
    assert_eq!(call(&ci, "lock", &mine).await.json(), json!({"success": true}));
    assert_eq!(call(&web, "lock", &mine).await.json(), json!({"success": false}), "the same name, another caller");
    assert_eq!(call(&web, "unlock", &mine).await.json(), json!({"status": 2}), "another's");
    let denied = call(&ci, "lock", &format!("x-{resource}")).await;
    assert_eq!((denied.status, &denied.json()["errorCode"]), (403, &json!("ERR_FORBIDDEN")));
    guarded.rewrite("token:web lock *", &ci, &format!("lockstore||{mine}"), 403).await;
    let (own, free) = (call(&ci, "unlock", &mine).await, call(&ci, "unlock", &format!("ci-{}", unique("free"))).await);
    assert_eq!(own.json(), json!({"status": 0}), "one's own is always released");
    assert_eq!((free.status, call(&ci, "unlock", &mine).await.status), (403, 403), "else nothing is said");
}

#[tokio::test]
async fn the_header_of_dapr_names_a_token_of_the_folder_over_grpc_too() {
    let flags = ["--dapr-grpc-listen", "127.0.0.1:0"];
    let guarded = Guarded::start(POLICY, &["ci"], &flags).await;
    let grpc = Grpc::connect(&guarded.sidecar.grpc_address()).await;
    let ci = token("ci");
    let call = async |method: &str, resource: &str, sent: &str| {
        let fields = Fields::lock("lockstore", resource, "app");
        let fields = if method == "TryLockAlpha1" { fields.number(4, 60) } else { fields };
        grpc.call_with(method, &fields, &[("dapr-api-token", sent)]).await.status().0
    };
    let (mine, other) = (format!("ci-{}", unique("r")), unique("r"));
    assert_eq!(call("TryLockAlpha1", &mine, &ci).await, 0);
    assert_eq!(call("TryLockAlpha1", &other, &ci).await, 7, "PERMISSION_DENIED");
    assert_eq!(call("UnlockAlpha1", &other, &ci).await, 7);
    assert_eq!(call("UnlockAlpha1", &mine, &ci).await, 0);
    assert_eq!(call("TryLockAlpha1", &mine, "another").await, 16, "UNAUTHENTICATED");
    let listed = guarded.ask(&As::Token("ci"), "GET", "/v1/locks").send().await.json();
    assert_eq!(listed["locks"], Value::Array(Vec::new()));
}
