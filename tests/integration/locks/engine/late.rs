//! Requests that reach Redis long after their sender has given up on them: what was promised meanwhile stays.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::attempts::two_proxies;
use super::{World, granted, promised, token};
use crate::harness::{Fault, unique};

/// Two requests of one attempt wait, one at each sidecar. The one at sidecar 1 has its turn; what sidecar 0 sends when it
/// sees that stays on a connection that breaks, and arrives at Redis when the one at 0 has been told of the lease.
async fn what_was_sent_before_arrives_late(gone: bool, silently: bool) {
    let (proxy, world) = World::behind_a_proxy("2s").await;
    let (name, held) = (unique("attempt"), world.held(1, 60_000).await);
    let body = json!({"ttlMs": 5000, "waitMs": 30_000, "owner": "x"});
    let there = world.join(1, Some(&name), body.clone()).await;
    let here = world.join(0, Some(&name), body.clone()).await;

    proxy.set(Fault::HoldRequests);
    world.release(1, held).await;
    if gone {
        // Its answer may be on its way, or not: either is right.
        there.abort();
    } else {
        granted(there, Duration::from_secs(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    if silently {
        proxy.half_open()
    } else {
        proxy.strand()
    }
    proxy.set(Fault::None);
    let (mut told, _) = here.await.expect("no panic");
    // Where nothing is known it asks again, by the same name.
    let begun = Instant::now();
    while told.status >= 500 && begun.elapsed() < Duration::from_secs(3) {
        told = world.attempt(0, &name, body.clone()).await;
    }
    assert!(matches!(told.status, 200 | 201), "gone: {gone}: {}", told.text());
    let until = promised(&told.json()).min(Instant::now() + Duration::from_millis(2500));
    proxy.deliver_late();

    world.is_not_granted_before(1, until).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_arrives_late_removes_nothing_that_its_request_was_told_meanwhile() {
    tokio::join!(
        what_was_sent_before_arrives_late(false, false),
        what_was_sent_before_arrives_late(true, false),
        what_was_sent_before_arrives_late(false, true),
        what_was_sent_before_arrives_late(true, true),
    );
}

/// The other request of the attempt took its turn, and neither its client nor its sidecar heard of it: it is rolled back
/// when the one at sidecar 0 has been told of the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_arrives_late_removes_nothing_when_the_attempts_other_request_is_rolled_back_too() {
    join_all([false, true].map(async |silently| {
        let (proxies, world) = two_proxies("2s").await;
        let (name, held) = (unique("attempt"), world.held(2, 60_000).await);
        let body = json!({"ttlMs": 6000, "waitMs": 30_000, "owner": "x"});
        let there = world.join(1, Some(&name), body.clone()).await;
        let here = world.join(0, Some(&name), body.clone()).await;
        proxies[0].set(Fault::HoldRequests);
        proxies[1].set(Fault::LoseReplyTo(world.key.clone()));
        world.release(2, held).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if silently {
            proxies[0].half_open()
        } else {
            proxies[0].strand()
        }
        proxies[0].set(Fault::None);
        let (mut told, _) = here.await.expect("no panic");
        let begun = Instant::now();
        while told.status >= 500 && begun.elapsed() < Duration::from_secs(3) {
            told = world.attempt(0, &name, body.clone()).await;
        }
        assert!(matches!(told.status, 200 | 201), "{}", told.text());
        let until = promised(&told.json()).min(Instant::now() + Duration::from_millis(3000));
        there.abort();
        proxies[1].mend();
        tokio::time::sleep(Duration::from_millis(700)).await;
        proxies[0].deliver_late();

        world.is_not_granted_before(2, until).await;
    }))
    .await;
}

/// An acquire is answered 504 and undone, its client asks again by the same name and is told; then everything that was
/// under way before arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_late_of_an_attempt_that_was_answered_504_does_not_touch_what_its_repetition_was_told() {
    let (proxy, world) = World::behind_a_proxy("500ms").await;
    let (name, body) = (unique("attempt"), json!({"ttlMs": 4000, "owner": "x"}));
    proxy.set(Fault::HoldRequests);
    let first = world.begin(0, Some(&name), body.clone());
    let (answer, _) = first.await.expect("no panic");
    assert!(matches!(answer.status, 503 | 504), "{}", answer.text());
    proxy.half_open();
    proxy.set(Fault::None);
    let mut told = world.attempt(0, &name, body.clone()).await;
    let begun = Instant::now();
    while told.status >= 500 && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        told = world.attempt(0, &name, body.clone()).await;
    }
    assert!(matches!(told.status, 200 | 201), "{}", told.text());
    let until = promised(&told.json()).min(Instant::now() + Duration::from_secs(2));
    proxy.deliver_late();

    world.is_not_granted_before(1, until).await;
    assert_eq!(world.look().await["holder"]["token"], token(&told));
}
