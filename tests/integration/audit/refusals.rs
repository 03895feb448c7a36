//! Conflicts that no acquire of the engine finds.

use serde_json::{Value, json};

use super::Trail;
use super::lines::{events, of, start};
use crate::harness::{Sidecar, TestRedis, jwt, unique};

#[tokio::test]
async fn a_renewal_by_token_of_a_lock_that_another_user_holds_is_refused() {
    let trail = Trail::new();
    let sidecar = start(&trail, &["--audit-events", "all"]).await;
    let id = unique("admin");
    let lock = async |user: &str, query: &str| {
        let call = sidecar.call("POST", &format!("/admin/lock{query}")).cookie(&jwt::editor(user));
        call.json(&json!({"route": "k", "id": id})).send().await
    };
    let granted = lock("alice", "").await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    let token = granted.headers["lockside-token"].to_str().unwrap().to_owned();
    assert_eq!(lock("bob", &format!("?token={token}")).await.status, 409);
    let remove = sidecar.call("DELETE", "/admin/remove-lock").cookie(&jwt::editor("alice"));
    assert_eq!(remove.json(&json!({"route": "k", "id": id})).send().await.status, 200);
    assert_eq!(lock("alice", &format!("?token={token}")).await.status, 409);

    let lines = of(&trail, &sidecar, &format!("k:{id}")).await;

    assert_eq!(events(&lines), ["granted", "refused", "released", "lost", "refused"]);
    for (line, who) in [(&lines[1], "bob"), (&lines[4], "alice")] {
        let told = (&line["who"], &line["verb"], &line["reason"]);
        assert_eq!(told, (&json!(who), &json!("lock"), &json!("held")), "{line}");
    }
}

#[tokio::test]
async fn a_force_release_of_what_is_no_lease_is_refused() {
    let trail = Trail::new();
    let redis = TestRedis::start(&[]);
    let flags = ["--audit", &trail.path, "--audit-events", "all", "--raw-keys"];
    let sidecar = Sidecar::start(&redis, &flags).await;
    let key = unique("raw");
    redis.ask::<()>("SET", &[&key, "of another program"]);
    let answer = sidecar.call("DELETE", &format!("/v1/locks/{key}?force=true")).send().await;
    assert_eq!(answer.status, 409, "{}", answer.text());

    let is_told = |lines: &[Value]| !lines.is_empty();
    let lines = trail.until("the refusal", is_told).await;

    assert_eq!(events(&lines), ["refused"]);
    let told = (&lines[0]["key"], &lines[0]["verb"], &lines[0]["reason"]);
    assert_eq!(told, (&json!(key), &json!("force-release"), &json!("held")));
}
