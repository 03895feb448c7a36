//! Leases that last longer than anybody may ask for.

use serde_json::json;

use super::clock::ahead;
use super::{GOOD, SEEN, assert_warnings, warnings};
use crate::harness::{Lens, Sidecar, TestRedis, eventually, unique};

const CAPPED: [&str; 3] = ["--max-ttl=60s", "--default-ttl=30s", "--admin-ttl=30s"];

#[tokio::test]
async fn a_lease_above_the_cap_is_a_warning_until_it_is_gone_and_names_no_key() {
    let redis = TestRedis::start(&GOOD);
    let (key, lens) = (unique("long"), Lens::before(&redis, ahead(600)));
    let path = format!("/v1/locks/{key}");
    let other = Sidecar::start(&redis, &["--max-ttl=1h"]).await;
    for index in 0..300 {
        let answer = other.call("POST", &format!("/v1/locks/short-{index}")).json(&json!({"ttlMs": 60_000})).send();
        assert_eq!(answer.await.status, 201);
    }
    let running = Sidecar::start_at(&lens.url(), &CAPPED).await;
    assert_warnings(&running, &[]).await;
    assert_eq!(other.call("POST", &path).json(&json!({"ttlMs": 3_600_000})).send().await.status, 201);
    assert_eq!(warnings(&other).await, Vec::<String>::new(), "it may last that long there");

    // Found at start; by those that run when the clock steps, or else within the hour.
    let late = Sidecar::start(&redis, &CAPPED).await;
    assert_warnings(&late, &["long-lease"]).await;
    let ready = late.ops("/readyz").await;
    assert!(ready.text().contains("--max-ttl") && !ready.text().contains(&key), "{}", ready.text());
    lens.turn(ahead(595));
    let both = ["clock-step", "long-lease"];
    let took = eventually("it is seen", SEEN, async || warnings(&running).await == both).await;
    println!("seen after {took:.1?}");

    assert_eq!(other.call("DELETE", &format!("{path}?force=true")).send().await.status, 204);
    for (sidecar, left) in [(&late, &[][..]), (&running, &["clock-step"])] {
        let took = eventually("it is gone", 2 * SEEN, async || warnings(sidecar).await == left).await;
        println!("gone after {took:.1?}");
    }
}
