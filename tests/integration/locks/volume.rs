//! A hundred thousand locks: listed whole, paged through, and gone without a trace.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lockside::lock::{Key, KeySpace};
use serde_json::{Value, json};

use super::pipelined::Pipelined;
use crate::harness::{Sidecar, TestRedis, eventually, heavy};

const LOCKS: usize = 100_000;
/// Long enough to be listed and paged through on a machine that does much else; then the test cuts it short.
const LEASE: Duration = Duration::from_secs(600);
const MEGABYTE: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_locks_are_listed_whole_and_leave_nothing_behind() {
    let _turn = heavy().await;
    let redis = TestRedis::start(&[]);
    let sidecar = Arc::new(Sidecar::start(&redis, &[]).await);
    let filler = redis.connection();
    tokio::task::spawn_blocking(move || fill_as_another_would(filler)).await.unwrap();

    let before = sidecar.memory();
    let list = sidecar.call("GET", "/cmn/leasable-locks").send().await.json();
    let grown = sidecar.memory().saturating_sub(before);
    let tokens: Vec<u64> = list.as_array().unwrap().iter().map(token).collect();
    assert_eq!(tokens.len(), LOCKS);
    assert!(tokens.is_sorted_by(|a, b| a < b), "in order, each once");
    assert!(grown < 32 * MEGABYTE, "the sidecar grew by {} KiB", grown / 1024);

    page_while_locks_come_and_go(&sidecar).await;

    // The leases expire; then some traffic, less than there were acquires.
    let ender = redis.connection();
    tokio::task::spawn_blocking(move || let_expire(ender)).await.unwrap();
    eventually("every lease has expired", Duration::from_secs(90), async || {
        redis.ask::<Vec<String>>("KEYS", &["*:lock:bulk-*"]).is_empty()
    })
    .await;
    traffic(&sidecar, LOCKS / 10).await;
    eventually("nothing is left but the last token of each shard", Duration::from_secs(30), async || {
        // But for marks of who swept, which expire.
        let keys = redis.ask::<Vec<String>>("KEYS", &["*"]);
        let left = keys.iter().filter(|key| !key.contains("}:mark:")).collect::<Vec<_>>();
        let is_index = |key: &&&String| key.ends_with("}:tokens") && redis.entries(key) == 0;
        let indexes = left.iter().filter(is_index).count();
        // A probe's index is no shard's.
        indexes == 64 && left.iter().all(|key| key.ends_with(":tokens"))
    })
    .await;
}

/// Every lock that stays is on a page, once, while others come and go.
async fn page_while_locks_come_and_go(sidecar: &Arc<Sidecar>) {
    let done = Arc::new(AtomicBool::new(false));
    let (other, stop) = (Arc::clone(sidecar), Arc::clone(&done));
    let coming_and_going = tokio::spawn(async move {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let key = format!("bulk-1-passing-{count}");
            count += 1;
            let created = create(&other, &key, 1).await;
            other.call("DELETE", &format!("/cmn/leasable-locks/{}", token(&created))).send().await;
        }
        count
    });
    let mut path = "/cmn/leasable-locks?prefix=bulk-1&limit=500".to_owned();
    let mut seen = HashSet::new();
    loop {
        let answer = sidecar.call("GET", &path).send().await;
        let page = answer.json();
        assert!(page.as_array().unwrap().len() <= 500);
        for lease in page.as_array().unwrap() {
            let key = lease["key"].as_str().unwrap();
            assert!(key.starts_with("bulk-1"), "{key}");
            assert!(key.contains("passing") || seen.insert(key.to_owned()), "`{key}` twice");
        }
        let Some(link) = answer.header("link") else { break };
        path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned();
    }
    done.store(true, Ordering::Relaxed);
    assert!(coming_and_going.await.unwrap() > 10, "locks came and went meanwhile");
    // bulk-1, bulk-10 to bulk-19, … bulk-10000 to bulk-19999.
    assert_eq!(seen.len(), 11_111);
}

/// The locks of a sidecar that is no more: ours knows nothing of them but what lies in Redis.
pub fn fill_as_another_would(redis: redis::Connection) {
    let mut locks = Pipelined::on(redis);
    for chunk in (0..LOCKS).collect::<Vec<_>>().chunks(1000) {
        let keys: Vec<String> = chunk.iter().map(|number| format!("bulk-{number}")).collect();
        locks.acquire(&keys, LEASE.as_millis() as u64, "");
    }
}

/// Moves the end of each lease to the next moment.
fn let_expire(mut redis: redis::Connection) {
    let space = KeySpace::new("lockside");
    for chunk in (0..LOCKS).collect::<Vec<_>>().chunks(1000) {
        let mut pipe = redis::pipe();
        for number in chunk {
            let key = Key::parse(&format!("bulk-{number}")).unwrap();
            pipe.cmd("PEXPIRE").arg(space.lock(&key)).arg(1).ignore();
        }
        pipe.exec(&mut redis).unwrap();
    }
}

/// Acquires with the shortest lease, left to expire, too.
async fn traffic(sidecar: &Arc<Sidecar>, count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks = (0..64).map(|_| {
        let (sidecar, next) = (Arc::clone(sidecar), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                create(&sidecar, &format!("after-{number}"), 1).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn create(sidecar: &Sidecar, key: &str, seconds: u64) -> Value {
    let body = json!({"key": key, "leasePeriod": seconds});
    loop {
        let answer = sidecar.call("POST", "/cmn/leasable-locks").json(&body).send().await;
        match answer.status {
            201 => return answer.json(),
            // On a busy machine a lease of a second may be over before its grant arrives; then it is taken back.
            409 | 503 => tokio::time::sleep(Duration::from_millis(20)).await,
            status => panic!("{status}: {}", answer.text()),
        }
    }
}

fn token(lease: &Value) -> u64 {
    lease["token"].as_u64().unwrap()
}
