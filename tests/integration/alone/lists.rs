//! Lists of many locks beside locks that are renewed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Sidecar, TestRedis};
use crate::locks::volume::fill_as_another_would;

const WHOLE: &str = "/cmn/leasable-locks";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_renewal_is_behind_a_list() {
    const HOLDS: usize = 20;
    let redis = TestRedis::start(&[]);
    let sidecar = Arc::new(Sidecar::start(&redis, &[]).await);
    let filler = redis.connection();
    tokio::task::spawn_blocking(move || fill_as_another_would(filler)).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut holds = Vec::new();
    for number in 0..HOLDS {
        let path = format!("/v1/locks/held-{number}/hold");
        let mut hold = sidecar.call("POST", &path).json(&json!({"ttlMs": 1500})).open().await;
        assert_eq!(hold.next().await.unwrap()["event"], "acquired");
        holds.push(hold);
    }
    let lists: Vec<_> = (0..20)
        .map(|number| {
            let (sidecar, over) = (Arc::clone(&sidecar), Arc::clone(&over));
            tokio::spawn(async move {
                let path = if number % 2 == 0 { WHOLE } else { "/v1/locks?prefix=nothing" };
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    match sidecar.call("GET", path).send().await.status {
                        200 => count += 1,
                        429 => tokio::time::sleep(Duration::from_millis(20)).await,
                        status => panic!("{status}"),
                    }
                }
                count
            })
        })
        .collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        for hold in &mut holds {
            let line = hold.next().await.expect("a line");
            assert!(line["event"] == "renewed" || line["event"] == "ping", "{line}");
        }
    }
    over.store(true, Ordering::Relaxed);
    let mut listed = 0;
    for list in lists {
        listed += list.await.unwrap();
    }
    assert!(listed > 0, "{listed} lists");
}
