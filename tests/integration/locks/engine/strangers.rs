//! With `--raw-keys`: whatever size a stranger's value under a lock's name has, no request makes Redis copy it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Waiting, World, path};
use crate::harness::{Fault, Proxy, TestRedis, eventually};

const MEGABYTES: usize = 64;
/// A copy of the value takes tens of milliseconds of Redis's time each.
const TIMES: usize = 3;
const AT_MOST_MS: u64 = 30;

/// What Redis's main thread has used of its processor.
fn used_ms(redis: &TestRedis) -> u64 {
    let info: String = redis.ask("INFO", &["cpu"]);
    let seconds = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect("a line of INFO cpu");
        line.trim().parse::<f64>().expect("seconds")
    };
    ((seconds("used_cpu_user_main_thread:") + seconds("used_cpu_sys_main_thread:")) * 1000.0) as u64
}

/// What a stranger's value begins with.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    Nothing,
    /// That of the lease that was there before.
    ALease,
}

async fn raw(redis: &TestRedis) -> World {
    let mut world = World::new();
    world.add(&redis.url(), &["--raw-keys"]).await;
    world
}

/// A lease, and a stranger's value in its place; the lease's token.
async fn replaced(redis: &TestRedis, world: &World, beginning: Beginning) -> u64 {
    redis.ask::<u64>("DEL", &[&world.key]);
    let token = world.held(0, 60_000).await;
    let record: String = redis.ask("GET", &[&world.key]);
    make_big(redis, &world.key, if matches!(beginning, Beginning::ALease) { &record } else { "" });
    token
}

fn make_big(redis: &TestRedis, key: &str, beginning: &str) {
    redis.ask::<String>("SET", &[key, beginning]);
    let last = (MEGABYTES * 1024 * 1024).to_string();
    redis.ask::<u64>("SETRANGE", &[key, &last, " "]);
}

async fn ask(world: &World, method: &str, query: &str, body: &Value) -> u16 {
    let call = world.sidecars[0].call(method, &format!("{}{query}", path(&world.key)));
    let call = if method == "GET" || method == "DELETE" { call } else { call.json(body) };
    call.send().await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_copies_a_strangers_value_of_64_megabytes() {
    let redis = TestRedis::start(&[]);
    let world = raw(&redis).await;
    let mut wrong = Vec::new();
    for beginning in [Beginning::Nothing, Beginning::ALease] {
        let token = replaced(&redis, &world, beginning).await;
        let one = format!("?token={token}");
        let fence = format!("/fence?token={token}");
        let reentrant = json!({"owner": "holder", "reentrant": true});
        let waits = json!({"owner": "other", "waitMs": 50});
        for (what, method, query, body) in [
            ("acquire", "POST", "", json!({"owner": "other"})),
            ("reentrant acquire", "POST", "", reentrant),
            ("wait", "POST", "", waits),
            ("renewal", "PUT", one.as_str(), json!({"ttlMs": 60_000})),
            ("release", "DELETE", one.as_str(), Value::Null),
            ("force", "DELETE", "?force=true", Value::Null),
            ("look", "GET", "", Value::Null),
            ("fence", "GET", fence.as_str(), Value::Null),
        ] {
            let before = used_ms(&redis);
            for _ in 0..TIMES {
                let status = ask(&world, method, query, &body).await;
                if status >= 500 {
                    wrong.push(format!("{beginning:?}: {what}: answered {status}"));
                    break;
                }
                if matches!(status, 201 | 204) {
                    wrong.push(format!("{beginning:?}: {what}: answered {status}, as if it were a lease"));
                }
            }
            let took = used_ms(&redis) - before;
            println!("{beginning:?}: {TIMES} times {what}: {took} ms of Redis's time");
            if took > AT_MOST_MS {
                wrong.push(format!("{beginning:?}: {TIMES} times {what}: {took} ms"));
            }
            let length: usize = redis.ask("STRLEN", &[&world.key]);
            if length != MEGABYTES * 1024 * 1024 + 1 {
                wrong.push(format!("{beginning:?}: {what}: the stranger's value has {length} bytes now"));
                make_big(&redis, &world.key, "");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_copies_no_strangers_value_of_64_megabytes() {
    let redis = TestRedis::start(&[]);
    let (proxy, mut world) = (Proxy::start(&redis), World::new());
    world.add(&proxy.url(), &["--raw-keys"]).await;
    world.held(0, 60_000).await;
    let mut took = 0;
    for _ in 0..TIMES {
        redis.ask::<u64>("DEL", &[&world.key]);
        proxy.set(Fault::HoldReplies);
        let caller = world.caller(0, None, &json!({"ttlMs": 60_000, "owner": "gone"}));
        let exists = || redis.ask::<bool>("EXISTS", &[&world.key]);
        eventually("redis has done it", Duration::from_secs(10), async || exists()).await;
        make_big(&redis, &world.key, "");
        drop(caller);
        let before = used_ms(&redis);
        proxy.mend();
        // The rollback is one of the scripts that run now; all of them together are cheap.
        let until = Instant::now() + Duration::from_millis(300);
        eventually("it has been rolled back", Duration::from_secs(1), async || Instant::now() > until).await;
        took += used_ms(&redis) - before;
        assert!(exists(), "the stranger's value is left alone");
    }
    println!("{TIMES} rollbacks and what runs meanwhile: {took} ms of Redis's time");
    assert!(took < 2 * AT_MOST_MS, "{took} ms");
}

/// All who wait look ten times a second, and no look is a copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_behind_a_strangers_value_of_64_megabytes_copies_nothing() {
    let redis = TestRedis::start(&[]);
    let world = raw(&redis).await;
    make_big(&redis, &world.key, "");
    let body = json!({"ttlMs": 1000, "waitMs": 20_000, "owner": "waiter"});
    let waiting: Waiting = world.begin(0, None, body);
    world.waiters_are(1).await;
    let (before, until) = (used_ms(&redis), Instant::now() + Duration::from_secs(2));
    eventually("two seconds have passed", Duration::from_secs(4), async || Instant::now() > until).await;
    let took = used_ms(&redis) - before;
    println!("2 s in the queue behind it: {took} ms of Redis's time");
    assert!(took < 3 * AT_MOST_MS, "{took} ms");
    redis.ask::<u64>("DEL", &[&world.key]);
    super::granted(waiting, Duration::from_secs(3)).await;
}
