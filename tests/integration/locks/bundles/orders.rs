//! Bundles of many clients over the same keys: none waits for ever, and no two have a key at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{acquire, fleet, free_within, named, of, release};
use crate::harness::{TestRedis, unique};

const CLIENTS: u64 = 16;
const KEYS: usize = 6;
const LASTS: Duration = Duration::from_secs(20);
const WAIT_MS: u64 = 15_000;

/// Random numbers of a client; splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    /// Two or three different keys, in any order.
    fn keys<'a>(&mut self, names: &'a [String]) -> Vec<&'a str> {
        let (count, mut left) = (2 + self.below(2), names.iter().map(String::as_str).collect::<Vec<_>>());
        (0..count).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}

/// Who has which key, as the clients know it.
#[derive(Default)]
struct Held(Mutex<HashMap<String, u64>>);

impl Held {
    fn enter(&self, keys: &[&str], client: u64) {
        let mut held = self.0.lock().expect("no panic while held");
        for key in keys {
            assert_eq!(held.insert((*key).to_owned(), client), None, "{key} is held twice");
        }
    }

    fn leave(&self, keys: &[&str]) {
        let mut held = self.0.lock().expect("no panic while held");
        for key in keys {
            held.remove(*key);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_random_keys_in_random_order_never_wait_for_each_other_in_a_ring() {
    let sidecars = fleet(TestRedis::shared(), 2, &[]).await;
    let names: Arc<Vec<String>> = Arc::new((0..KEYS).map(|n| unique(&format!("k{n}")).to_string()).collect());
    let (held, end) = (Arc::new(Held::default()), Instant::now() + LASTS);
    let clients = (0..CLIENTS).map(|client| {
        let sidecar = Arc::clone(&sidecars[(client % 2) as usize]);
        let (names, held) = (Arc::clone(&names), Arc::clone(&held));
        tokio::spawn(async move {
            let (mut dice, mut longest, mut rounds) = (Dice(client), Duration::ZERO, 0_u64);
            while Instant::now() < end {
                let (keys, asked) = (dice.keys(&names), Instant::now());
                let body = json!({"ttlMs": 3000, "waitMs": WAIT_MS, "owner": format!("client-{client}")});
                let answer = acquire(&sidecar, &of(&keys, body)).await;
                assert_eq!(answer.status, 201, "after {:?}: {}", asked.elapsed(), answer.text());
                longest = longest.max(asked.elapsed());
                held.enter(&keys, client);
                tokio::time::sleep(Duration::from_millis(dice.below(20) as u64)).await;
                held.leave(&keys);
                let bundle: Value = answer.json();
                let released = release(&sidecar, &named(&bundle)).await;
                assert_eq!(released.status, 204, "{}", released.text());
                rounds += 1;
            }
            (rounds, longest)
        })
    });
    let clients: Vec<_> = clients.collect();
    let ended: Vec<(u64, Duration)> =
        join_all(clients).await.into_iter().map(|ended| ended.expect("each got its keys in time")).collect();

    let (rounds, longest) = (ended.iter().map(|(rounds, _)| rounds), ended.iter().map(|(_, longest)| longest).max());
    println!("{} bundles, longest wait {longest:?}", rounds.clone().sum::<u64>());
    assert!(rounds.min().is_some_and(|fewest| *fewest > 1), "{ended:?}");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    free_within(&sidecars[0], &names, Duration::from_secs(3)).await;
}
