//! What a sidecar does for those who hold and wait while it is flooded, or while Redis is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{World, granted, lost_before, path, patient, token};
use crate::harness::{Fault, Lens, Proxy, Sidecar, TestRedis, eventually, unique};

/// Acquires of ever new keys by many callers, until it is dropped.
struct Flood {
    callers: Vec<JoinHandle<()>>,
    shed: Arc<AtomicU64>,
    granted: Arc<AtomicU64>,
}

impl Flood {
    fn begin(sidecar: &Arc<Sidecar>, callers: usize) -> Flood {
        let (shed, granted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let callers = (0..callers).map(|_| {
            let (sidecar, shed, granted) = (Arc::clone(sidecar), Arc::clone(&shed), Arc::clone(&granted));
            tokio::spawn(async move {
                loop {
                    let body = json!({"ttlMs": 5000, "owner": "flood"});
                    let answer = sidecar.call("POST", &path(&unique("flood"))).json(&body).send().await;
                    match answer.status {
                        201 => granted.fetch_add(1, Ordering::Relaxed),
                        _ if answer.json()["code"] == "overloaded" => shed.fetch_add(1, Ordering::Relaxed),
                        _ => continue,
                    };
                    // So that what is measured is the sidecar, and not this machine.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        });
        Flood { callers: callers.collect(), shed, granted }
    }

    /// Ends it; how many were refused and how many granted.
    fn end(self) -> (u64, u64) {
        self.callers.iter().for_each(JoinHandle::abort);
        (self.shed.load(Ordering::Relaxed), self.granted.load(Ordering::Relaxed))
    }
}

/// A sidecar with room for eight requests, on a Redis that takes its time.
async fn small() -> (Proxy, World) {
    let (proxy, mut world) = (Proxy::start(TestRedis::alone()), World::new());
    world.add(&proxy.url(), &["--max-in-flight=8", "--redis-timeout=5s"]).await;
    (proxy, world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_are_renewed_while_acquires_fill_the_sidecar() {
    let (proxy, world) = small().await;
    let mut holds = Vec::new();
    for number in 0..10 {
        let world = World { key: world.key_of(&number.to_string()), prefix: String::new(), ..clone(&world) };
        holds.push(world.hold(0, None, json!({"ttlMs": 1500, "owner": "x"})).await.0);
    }
    proxy.set(Fault::DelayReplies(Duration::from_millis(50)));
    let flood = Flood::begin(&world.sidecars[0], 32);
    let end = Instant::now() + Duration::from_secs(5);

    let lost = join_all(holds.iter_mut().map(|hold| lost_before(hold, end))).await;

    let (shed, granted) = flood.end();
    println!("{granted} acquires were granted, {shed} refused");
    assert!(shed > 20, "a flood: {granted} granted, {shed} refused");
    assert!(lost.iter().all(Option::is_none), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_and_releases_pass_while_acquires_fill_the_sidecar() {
    let (proxy, world) = small().await;
    let mut leases = Vec::new();
    for number in 0..20 {
        let key = world.key_of(&number.to_string());
        let token = world.held_of(0, &key, 60_000).await;
        leases.push(format!("{}?token={token}", path(&key)));
    }
    proxy.set(Fault::DelayReplies(Duration::from_millis(50)));
    let flood = Flood::begin(&world.sidecars[0], 32);
    tokio::time::sleep(Duration::from_millis(300)).await;

    let mut refused = Vec::new();
    for method in ["PUT", "DELETE"] {
        for lease in &leases {
            let call = world.sidecars[0].call(method, lease);
            let call = if method == "PUT" { call.json(&json!({"ttlMs": 60_000})) } else { call };
            let answer = call.send().await;
            if !matches!(answer.status, 200 | 204) {
                refused.push((method, answer.status, answer.json()["code"].to_string()));
            }
        }
    }

    let (shed, _) = flood.end();
    assert!(shed > 20, "a flood: {shed} refused");
    assert!(refused.is_empty(), "{} of 40 were refused: {:?}", refused.len(), refused.first());
}

/// What was granted to clients that have gone is rolled back, however full it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollbacks_pass_while_acquires_fill_the_sidecar() {
    let redis = TestRedis::alone();
    let (proxy, world) = small().await;
    proxy.set(Fault::DelayReplies(Duration::from_millis(150)));
    let mut going = Vec::new();
    for number in 0..6 {
        let world = World { key: world.key_of(&number.to_string()), prefix: world.prefix.clone(), ..clone(&world) };
        let caller = world.caller(0, None, &json!({"ttlMs": 60_000, "owner": "gone"}));
        going.push((caller, world));
    }
    for (_, world) in &going {
        world.has_changed(redis, &None).await;
    }
    let flood = Flood::begin(&world.sidecars[0], 32);
    let gone: Vec<World> = going.into_iter().map(|(_, world)| world).collect();

    eventually("all are rolled back", Duration::from_secs(5), async || {
        gone.iter().all(|world| world.record(redis).is_none())
    })
    .await;

    assert!(flood.end().0 > 20, "a flood");
}

/// The same sidecars.
fn clone(world: &World) -> World {
    World { sidecars: world.sidecars.clone(), key: String::new(), prefix: String::new() }
}

/// Ticks of a hundredth of a second that a process has used.
fn ticks(sidecar: &Sidecar) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sidecar.pid())).expect("a process of ours");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("its name").1.split(' ').collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

/// The part of a core that it uses, in percent, over `span`.
async fn percent(sidecar: &Sidecar, span: Duration) -> f64 {
    let (before, begun) = (ticks(sidecar), Instant::now());
    tokio::time::sleep(span).await;
    (ticks(sidecar) - before) as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiters_on_a_thousand_keys_cost_little_while_redis_is_down() {
    const SPAN: Duration = Duration::from_secs(3);
    let mut redis = TestRedis::start(&[]);
    let world = World::on(&redis, 1).await;
    let idle = World::on(&redis, 1).await;
    let keys: Vec<String> = (0..1000).map(|number| world.key_of(&number.to_string())).collect();
    for some in keys.chunks(50) {
        join_all(some.iter().map(|key| world.held_of(0, key, 60_000))).await;
    }
    let waits = json!({"ttlMs": 30_000, "waitMs": 60_000, "owner": "waiter"});
    let mut waiting = Vec::new();
    // Not all at once: on a busy machine that alone would be answered 504.
    for some in keys.chunks(50) {
        waiting.extend(some.iter().map(|key| world.begin_of(0, key, None, waits.clone())));
        eventually("all of them wait", Duration::from_secs(30), async || {
            let queues: Vec<String> = redis.ask("KEYS", &[&format!("{{{}:*}}:queue:*", world.prefix)]);
            queues.len() == waiting.len()
        })
        .await;
    }
    redis.kill();
    eventually("it is known to be down", Duration::from_secs(10), async || {
        world.sidecars[0].ops("/readyz").await.status == 503 && idle.sidecars[0].ops("/readyz").await.status == 503
    })
    .await;

    // At first each waiter takes in that its connection broke.
    let mut spans = Vec::new();
    while spans.last().is_none_or(|(with, without)| *with >= without + 5.0) && spans.len() < 4 {
        spans.push(tokio::join!(percent(&world.sidecars[0], SPAN), percent(&idle.sidecars[0], SPAN)));
    }

    println!("while redis is down, % of a core with 1,000 waiters and with none: {spans:.1?}");
    assert!(waiting.iter().all(|one| !one.is_finished()), "they wait on");
    assert!(spans.last().is_some_and(|(with, without)| *with < without + 5.0), "{spans:.1?}");
}

/// Its hold of another key makes it listen; what is passed on elsewhere is none of its business.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_wakes_no_sidecar_that_has_only_holds_of_other_keys() {
    const TURNS: usize = 100;
    let redis = TestRedis::alone();
    let (counting, chunks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let lens = {
        let (counting, chunks) = (Arc::clone(&counting), Arc::clone(&chunks));
        Lens::before(redis, move |_| {
            if counting.load(Ordering::Relaxed) {
                chunks.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let mut world = World::on(redis, 2).await;
    world.add(&lens.url(), &[]).await;
    let bystander = World { key: unique("bystander"), prefix: world.prefix.clone(), ..clone(&world) };
    let (_hold, _) = bystander.hold(2, None, json!({"ttlMs": 60_000, "owner": "x"})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut held = world.held(0, 60_000).await;
    // So many wait that one who waits on is to be told of each turn of another.
    let mut queue = std::collections::VecDeque::new();
    for number in 0..3 {
        queue.push_back(world.begin(number % 2, None, patient("x")));
        waits(&world, number as u64 + 1).await;
    }

    counting.store(true, Ordering::Relaxed);
    for turn in 0..TURNS {
        let release = format!("{}?token={held}", path(&world.key));
        assert_eq!(world.sidecars[0].call("DELETE", &release).send().await.status, 204);
        let first = queue.pop_front().expect("three wait");
        held = token(&granted(first, Duration::from_secs(5)).await.0);
        queue.push_back(world.begin((turn + 1) % 2, None, patient("x")));
        waits(&world, 3).await;
    }
    counting.store(false, Ordering::Relaxed);

    let chunks = chunks.load(Ordering::Relaxed);
    println!("{TURNS} hand-overs: {chunks} times something came from redis to a sidecar that has no part in them");
    assert!(chunks < TURNS as u64 / 2, "{chunks} times in {TURNS} hand-overs");
}

/// Asks another one than the bystander, so that nothing is said to that.
async fn waits(world: &World, count: u64) {
    let look = async || world.sidecars[0].call("GET", &path(&world.key)).send().await.json()["waiters"] == count;
    eventually(&format!("{count} wait"), Duration::from_secs(5), look).await;
}
