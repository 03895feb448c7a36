//! Without a wait, all keys are acquired in one step: no key is seen held by one that does not get the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use lockside::lock::{Key, KeySpace};

use super::{acquire, fleet, fleet_of, held, is_held, keys, named, of, release};
use crate::harness::{TestRedis, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_party_never_sees_the_free_key_held_by_a_loser() {
    let (redis, prefix) = (TestRedis::shared(), unique("bundles"));
    let sidecars = fleet_of(redis, &prefix, 2, &[]).await;
    let [free, taken, _] = keys();
    let lock = KeySpace::new(&prefix).lock(&Key::parse(&free).expect("a key"));
    held(&sidecars[0], &taken).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let refused = Arc::new(AtomicU64::new(0));
    let contenders = (0..50).map(|n| {
        let (sidecar, is_over, refused) = (Arc::clone(&sidecars[n % 2]), Arc::clone(&is_over), Arc::clone(&refused));
        let (free, taken) = (free.clone(), taken.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let answer = acquire(&sidecar, &of(&[&free, &taken], json!({"owner": format!("c-{n}")}))).await;
                assert_eq!(answer.status, 409, "{}", answer.text());
                refused.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let contenders: Vec<_> = contenders.collect();
    let looking = tokio::task::spawn_blocking(move || {
        let (end, mut looks) = (Instant::now() + Duration::from_secs(5), 0);
        while Instant::now() < end {
            assert_eq!(redis.ask::<u64>("EXISTS", &[&lock]), 0, "after {looks} looks");
            looks += 1;
        }
        looks
    });
    let looks = looking.await.expect("it was never seen held");
    is_over.store(true, Ordering::Relaxed);
    join_all(contenders).await.into_iter().for_each(|ended| ended.expect("no contender failed"));
    let refused = refused.load(Ordering::Relaxed);
    println!("{looks} looks during {refused} refusals");
    assert!(looks > 500 && refused > 100, "{looks} looks during {refused} refusals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_overlapping_keys_some_get_them_all_the_time() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    let names: Vec<String> = (0..4).map(|n| unique(&format!("k{n}")).to_string()).collect();
    let end = Instant::now() + Duration::from_secs(5);
    let contenders = (0..8).map(|n: usize| {
        let (sidecar, names) = (Arc::clone(&sidecars[n % 2]), names.clone());
        tokio::spawn(async move {
            let mut won = 0_u64;
            while Instant::now() < end {
                let wanted = [names[n % 4].as_str(), names[(n + 1) % 4].as_str(), names[(n + 2) % 4].as_str()];
                let answer = acquire(&sidecar, &of(&wanted, json!({"ttlMs": 10_000}))).await;
                if answer.status == 201 {
                    assert_eq!(release(&sidecar, &named(&answer.json())).await.status, 204);
                    won += 1;
                } else {
                    assert_eq!(answer.status, 409, "{}", answer.text());
                }
            }
            won
        })
    });
    let won: Vec<u64> = join_all(contenders).await.into_iter().map(|won| won.expect("no contender failed")).collect();
    println!("{won:?}");
    assert!(won.iter().sum::<u64>() > 8, "no livelock: {won:?}");
    for name in &names {
        assert!(!is_held(&sidecars[0], name).await, "nothing is left");
    }
}
