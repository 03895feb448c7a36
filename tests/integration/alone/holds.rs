//! Many holds at once.

use std::time::Duration;

use crate::api::hold::acquired;
use crate::harness::{Sidecar, TestRedis};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_holds_cost_little_and_renew_after_a_third_of_their_ttl() {
    const HOLDS: usize = 2000;
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let before = sidecar.memory();
    let mut holds = Vec::new();
    for number in 0..HOLDS {
        holds.push(acquired(&sidecar, &format!("many-{number}"), 6000).await.0);
    }
    let grown = sidecar.memory() - before;
    let before = redis.calls("pexpireat");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let renewals = redis.calls("pexpireat") - before;
    println!("2000 holds: {} KiB, {renewals} renewals in six seconds", grown / 1024);
    // Bounds the growth; the budget itself is measured on the release build.
    assert!(grown < 60 * 1024 * 1024, "{} KiB", grown / 1024);
    assert!((4000..=9000).contains(&renewals), "2000 holds of 6 s renew about 1000 times a second: {renewals}");
}
