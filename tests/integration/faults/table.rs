//! The table "When something fails" in `docs/operations/troubleshooting.md`: every code in it, provoked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Fault, Proxy, Scratch, Sidecar, TestRedis, eventually, jwt, unique};

const PAGE: &str = include_str!("../../../docs/operations/troubleshooting.md");

/// Status and code, as answers have them.
type Seen = BTreeSet<(u16, String)>;

/// Each `status … code` in the first column of the table.
fn promised() -> Seen {
    let section = PAGE.split("## When something fails").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut promised = Seen::new();
    for cell in section.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(1)) {
        let mut status = None;
        for word in cell.split([' ', ',']).filter(|word| !word.is_empty()) {
            status = word.parse().ok().or(status);
            if let (Some(status), Some(code)) = (status, word.strip_prefix('`').and_then(|word| word.strip_suffix('`')))
            {
                promised.insert((status, code.to_owned()));
            }
        }
    }
    promised
}

fn code(answer: &Answer) -> (u16, String) {
    let problem = answer.json();
    (answer.status, problem["code"].as_str().unwrap_or_else(|| panic!("{problem}")).to_owned())
}

#[tokio::test]
async fn every_code_in_the_documents_table_of_failures_is_given_when_it_says_so() {
    let mut redis = TestRedis::start(&[]);
    let (proxy, scratch) = (Proxy::start(&redis), Scratch::new());
    let secret = scratch.file("secret", jwt::SECRET);
    let flags = ["--jwt-secret-file", &secret, "--redis-timeout=500ms", "--max-waiters=1", "--max-in-flight=2"];
    let sidecar = Sidecar::start_at(&proxy.url(), &flags).await;
    let elsewhere = Arc::new(Sidecar::start(&redis, &["--max-waiters=1"]).await);
    let post = async |path: &str, body: Value| sidecar.call("POST", path).json(&body).send().await;
    let acquire = async |body: Value| post(&format!("/v1/locks/{}", unique("table")), body).await;
    let mut seen = Seen::new();

    let foreign = sidecar.call("POST", "/v1/locks/x").header("host", "elsewhere.example").send().await;
    seen.insert(code(&foreign));
    assert_eq!(sidecar.call("POST", "/v1/locks/x").bearer("looks.good.token").send().await.status, 401);

    assert_eq!(post("/v1/locks/taken", json!({})).await.status, 201);
    seen.insert(code(&post("/v1/locks/taken", json!({"waitMs": 50})).await));
    let waiting = {
        let elsewhere = Arc::clone(&elsewhere);
        tokio::spawn(
            async move { elsewhere.call("POST", "/v1/locks/taken").json(&json!({"waitMs": 60_000})).send().await },
        )
    };
    eventually("one waits", Duration::from_secs(5), async || {
        elsewhere.call("GET", "/v1/locks/taken").send().await.json()["waiters"] == 1
    })
    .await;
    seen.insert(code(&elsewhere.call("POST", "/v1/locks/taken").json(&json!({"waitMs": 50})).send().await));
    let frugal = Sidecar::start(&redis, &["--caller-locks=1"]).await;
    assert_eq!(frugal.call("POST", "/v1/locks/first").json(&json!({})).send().await.status, 201);
    seen.insert(code(&frugal.call("POST", "/v1/locks/second").json(&json!({})).send().await));
    let keyless = Sidecar::start(&redis, &["--jwks-url", "http://127.0.0.1:1/keys"]).await;
    let user = jwt::editor("alice");
    seen.insert(code(&keyless.call("POST", "/v1/locks/third").bearer(&user).json(&json!({})).send().await));
    elsewhere.signal("TERM");
    seen.insert(code(&waiting.await.unwrap()));

    proxy.set(Fault::DelayReplies(Duration::from_millis(100)));
    seen.insert(code(&acquire(json!({"ttlMs": 50})).await));
    proxy.set(Fault::HoldReplies);
    let (first, second, third) = tokio::join!(acquire(json!({})), acquire(json!({})), acquire(json!({})));
    seen.extend([code(&first), code(&second), code(&third)]);
    let list = async || sidecar.call("GET", "/v1/locks").send().await;
    let (first, second, third) = tokio::join!(list(), list(), list());
    let lists = [code(&first), code(&second), code(&third)];
    assert!(lists.contains(&(429, "too-many-requests".to_owned())), "two are read at once: {lists:?}");
    seen.insert((429, "too-many-requests".to_owned()));
    proxy.mend();

    redis.kill();
    // Before it is known to be away, nobody knows what becomes of what was sent.
    eventually("it is known to be away", Duration::from_secs(5), async || acquire(json!({})).await.status == 503).await;
    seen.insert(code(&acquire(json!({})).await));
    assert!(sidecar.ops("/readyz").await.text().contains("redis: "));
    let admin = sidecar.call("POST", "/admin/lock").cookie(&jwt::editor("alice"));
    let admin = admin.json(&json!({"route": "volume", "id": "1"})).send().await;
    assert_eq!((admin.status, admin.json()["code"].as_u64()), (500, Some(500)), "{}", admin.text());

    let mut promised = promised();
    // Of the ops listener, and seen above.
    promised.retain(|(_, code)| code != "redis:");
    assert_eq!(promised, seen);
}
