//! Bundles of many clients over the same keys: none waits for ever, and no two have a key at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{acquire, free_within, named, release};
use crate::harness::history::{Held, History, Mode};
use crate::harness::{Cluster, Dice, Redundant, Sidecar, TestRedis, heavy, unique};

const CLIENTS: u64 = 16;
const KEYS: u64 = 6;
const WAIT_MS: u64 = 15_000;

/// How many seconds, and in each how many of them something is granted: `make faults` plays it for a minute, `make test`
/// beside all other tests.
fn lasts() -> (u64, usize) {
    if std::env::var_os("FAULTS").is_some() { (60, 1) } else { (10, 5) }
}

/// Two or three different keys, in any order, each in any mode.
fn some_keys(dice: &mut Dice, names: &[String]) -> Vec<Value> {
    let (mut legs, mut left) = (Vec::new(), names.iter().collect::<Vec<_>>());
    for _ in 0..2 + dice.roll(2) {
        let mut leg = json!({"key": left.swap_remove(dice.roll(left.len() as u64) as usize)});
        Mode::roll(dice, &mut leg);
        legs.push(leg);
    }
    legs
}

/// Two sidecars of one namespace, and clients with two or three random keys each, in random order and of any mode.
async fn never_wait_in_a_ring(url: &str) {
    let _turn = heavy().await;
    let prefix = unique("orders");
    let mut sidecars = Vec::new();
    for _ in 0..2 {
        sidecars.push(Arc::new(Sidecar::start_at(url, &["--key-prefix", &prefix]).await));
    }
    let names: Arc<Vec<String>> = Arc::new((0..KEYS).map(|n| unique(&format!("k{n}"))).collect());
    let (seconds, span) = lasts();
    let (history, begun) = (Arc::new(History::default()), Instant::now());
    let clients = (0..CLIENTS).map(|client| {
        let (sidecar, names) = (Arc::clone(&sidecars[(client % 2) as usize]), Arc::clone(&names));
        let history = Arc::clone(&history);
        tokio::spawn(async move {
            let (mut dice, mut waits) = (Dice(client), Vec::new());
            while begun.elapsed() < Duration::from_secs(seconds) {
                let (legs, asked, owner) = (some_keys(&mut dice, &names), Instant::now(), format!("client-{client}"));
                let body = json!({"keys": legs, "ttlMs": 3000, "waitMs": WAIT_MS, "owner": owner});
                let answer = acquire(&sidecar, &body).await;
                assert_eq!(answer.status, 201, "after {:?}: {}", asked.elapsed(), answer.text());
                waits.push(asked.elapsed());
                let (from, bundle) = (Instant::now(), answer.json());
                tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
                for (leg, lease) in legs.iter().zip(bundle["leases"].as_array().expect("leases")) {
                    let (holder, token) = (owner.clone(), lease["token"].as_u64().expect("a token"));
                    let (key, mode) = (leg["key"].as_str().unwrap().to_owned(), Mode::of(leg, asked));
                    history.add(Held { key, holder, token, from, until: Instant::now(), mode });
                }
                let released = release(&sidecar, &named(&bundle)).await;
                assert_eq!(released.status, 204, "{}", released.text());
            }
            waits
        })
    });
    let clients: Vec<_> = clients.collect();
    let waits: Vec<Vec<Duration>> =
        join_all(clients).await.into_iter().map(|ended| ended.expect("each got its keys in time")).collect();

    let longest = waits.iter().flatten().max();
    println!("{} bundles, longest wait {longest:?}", waits.iter().map(Vec::len).sum::<usize>());
    assert!(waits.iter().all(|waits| waits.len() > 1), "{waits:?}");
    for second in (0..seconds).step_by(span) {
        let (from, until) = (begun + Duration::from_secs(second), begun + Duration::from_secs(second + span as u64));
        assert!(history.since(from) > history.since(until), "nothing was granted from second {second} on");
    }
    assert_eq!(history.faults(), []);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    free_within(&sidecars[0], &names, Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_random_keys_in_random_order_never_wait_for_each_other_in_a_ring() {
    never_wait_in_a_ring(&TestRedis::shared().url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_random_keys_of_several_masters_never_wait_for_each_other_in_a_ring() {
    never_wait_in_a_ring(&Cluster::start(&[]).url()).await;
}
