//! Conflicts that no acquire of the engine finds, and holds that are refused after their answer has begun.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lines::{events, of, start};
use super::{SOON, Trail};
use crate::harness::http::Lines;
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt, unique};

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

/// Two holds that stream their progress, of one key and of several: each waits for a key that `web` has. The name of each
/// is the id of its request.
const HOLDS: [&str; 2] = ["single", "several"];

struct Waiting {
    trail: Trail,
    scratch: Scratch,
    sidecar: Sidecar,
    /// The leases of `web`, each with its key.
    leases: Vec<(String, Value)>,
    holds: Vec<Lines>,
}

impl Waiting {
    async fn start(wait_ms: u64) -> Waiting {
        let (trail, scratch, prefix) = (Trail::new(), Scratch::new(), unique("audit"));
        let folder = scratch.path("tokens");
        std::fs::create_dir(&folder).unwrap();
        for name in ["ci", "web"] {
            scratch.file(&format!("tokens/{name}"), token_of(name));
        }
        let own = ["--audit", &trail.path, "--audit-events", "all", "--key-prefix", &prefix];
        let sidecar = Sidecar::start(TestRedis::shared(), &[&own[..], &["--api-tokens-dir", &folder]].concat()).await;
        let mut waiting = Waiting { trail, scratch, sidecar, leases: Vec::new(), holds: Vec::new() };
        for name in HOLDS {
            let key = unique(name);
            let call = waiting.sidecar.call("POST", &format!("/v1/locks/{key}")).bearer(&token_of("web"));
            let lease = call.json(&json!({"owner": "web", "ttlMs": 60_000})).send().await;
            assert_eq!(lease.status, 201, "{}", lease.text());
            let mut body = json!({"owner": "ci", "waitMs": wait_ms, "progress": true});
            let path = match name {
                "single" => format!("/v1/locks/{key}/hold"),
                _ => {
                    body["keys"] = json!([{"key": unique("free")}, {"key": key}]);
                    "/v1/bundles/hold".to_owned()
                }
            };
            let call = waiting.sidecar.call("POST", &path).bearer(&token_of("ci")).header("x-request-id", name);
            let mut hold = call.json(&body).open().await;
            let first = hold.next().await.unwrap();
            assert_eq!((hold.status, &first["event"]), (200, &json!("waiting")), "{first}");
            waiting.leases.push((key, lease.json()["token"].clone()));
            waiting.holds.push(hold);
        }
        waiting
    }

    /// The codes by which the holds are refused, in their order.
    async fn refused(&mut self) -> Vec<Value> {
        let mut codes = Vec::new();
        for hold in &mut self.holds {
            let refused = loop {
                let line = hold.next().await.expect("a refusal");
                if line["event"] != "waiting" {
                    break line;
                }
            };
            assert_eq!(refused["event"], "refused", "{refused}");
            assert!(hold.next().await.is_none(), "its last line");
            codes.push(refused["code"].clone());
        }
        codes
    }

    /// What the trail says of the holds, once it has all: the refusals of each.
    async fn told(&self) -> Vec<Vec<Value>> {
        let lines = self.trail.settled(&self.sidecar).await;
        let is_of = |it: &Value, name: &str| it["request_id"] == name && it["event"] == "refused";
        HOLDS.map(|name| lines.iter().filter(|it| is_of(it, name)).cloned().collect()).into()
    }
}

fn token_of(name: &str) -> String {
    format!("the token of {name} in the tests")
}

#[tokio::test]
async fn a_hold_whose_credential_ends_while_it_waits_is_refused_and_so_is_one_of_several_keys() {
    let mut waiting = Waiting::start(30_000).await;
    let Waiting { sidecar, scratch, leases, .. } = &waiting;
    std::fs::remove_file(scratch.path("tokens/ci")).unwrap();
    let begun = Instant::now();
    // A wait of less than a second does not look at the credential again.
    eventually("it is revoked", SOON, async || {
        let call = sidecar.call("GET", "/v1/locks").bearer(&token_of("ci"));
        call.send().await.status == 401 && begun.elapsed() > Duration::from_millis(1100)
    })
    .await;
    for (key, token) in leases {
        let release = sidecar.call("DELETE", &format!("/v1/locks/{key}?token={token}")).bearer(&token_of("web"));
        assert_eq!(release.send().await.status, 204);
    }
    assert_eq!(waiting.refused().await, ["unauthorized", "unauthorized"]);

    for lines in waiting.told().await {
        assert_eq!(lines.len(), 1, "{lines:?}");
        let told = ["verb", "reason", "credential", "who"].map(|name| lines[0][name].as_str());
        assert_eq!(told, [Some("lock"), Some("unauthorized"), Some("token:ci"), Some("ci")], "{}", lines[0]);
    }
}

#[tokio::test]
async fn a_hold_whose_wait_times_out_is_refused_once_and_so_is_one_of_several_keys() {
    let mut waiting = Waiting::start(300).await;
    assert_eq!(waiting.refused().await, ["wait-timeout", "wait-timeout"]);

    for (lines, (key, _)) in waiting.told().await.iter().zip(&waiting.leases) {
        assert_eq!(lines.len(), 1, "{lines:?}");
        let told = ["verb", "reason", "key"].map(|name| lines[0][name].as_str());
        assert_eq!(told, [Some("lock"), Some("wait-timeout"), Some(key.as_str())], "{}", lines[0]);
    }
}
