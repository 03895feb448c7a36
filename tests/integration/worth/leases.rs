//! Leases that last longer than anybody may ask for.

use std::time::Duration;

use serde_json::json;

use super::{GOOD, SEEN, assert_warnings, warnings};
use crate::harness::{Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn a_lease_above_the_cap_is_a_warning_until_it_is_gone_and_names_no_key() {
    let redis = TestRedis::start(&GOOD);
    let (path, cap) = (format!("/v1/locks/{}", unique("long")), "--max-ttl=60s");
    let other = Sidecar::start(&redis, &["--max-ttl=1h"]).await;
    for index in 0..300 {
        let path = format!("/v1/locks/{}", format_args!("short-{index}"));
        assert_eq!(other.call("POST", &path).json(&json!({"ttlMs": 60_000})).send().await.status, 201);
    }
    let sidecar = Sidecar::start(&redis, &[cap, "--default-ttl=30s", "--admin-ttl=30s"]).await;
    assert_warnings(&sidecar, &[]).await;
    assert_eq!(other.call("POST", &path).json(&json!({"ttlMs": 3_600_000})).send().await.status, 201);
    // A walk over the whole index takes two looks.
    let took = eventually("it is seen", 2 * SEEN, async || warnings(&sidecar).await == ["long-lease"]).await;
    println!("seen after {took:.1?}");
    assert_warnings(&sidecar, &["long-lease"]).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().contains("--max-ttl"), "{}", ready.text());
    assert!(!ready.text().contains(path.rsplit('/').next().unwrap()), "{}", ready.text());
    assert_eq!(warnings(&other).await, Vec::<String>::new(), "it may last that long there");

    let late = Sidecar::start(&redis, &[cap, "--default-ttl=30s", "--admin-ttl=30s"]).await;
    eventually("seen at start", Duration::from_secs(2), async || warnings(&late).await == ["long-lease"]).await;

    assert_eq!(other.call("DELETE", &format!("{path}?force=true")).send().await.status, 204);
    let took = eventually("it is gone", 4 * SEEN, async || warnings(&sidecar).await.is_empty()).await;
    println!("gone after {took:.1?}");
}
