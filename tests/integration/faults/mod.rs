//! Whatever befalls Redis or the way to it, every answer is true, nothing is left behind, and service returns by itself.
//!
//! `make test` runs a part of it, and `make faults` all of it, each trouble for longer.

mod callers;
mod ledger;
mod soak;
mod table;
mod vanished;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::trouble::ALL;
use crate::harness::{Dice, Proxy, Sidecar, TestRedis, Trouble, eventually, heavy, unique};
use callers::Callers;
use ledger::Ledger;

/// Service is back, and everything is taken back, so soon after the trouble.
const RECOVERY: Duration = Duration::from_secs(3);

/// Outlives every scenario, so that a lease that nobody was told of is seen.
const LEASE_MS: u64 = 60_000;

/// What a longer run is asked for: `all`, or one trouble by its name; or the `soak`.
fn asked_for() -> Option<String> {
    std::env::var("FAULTS").ok()
}

/// [`RECOVERY`], and more where all other tests run beside these.
fn patience() -> Duration {
    if asked_for().is_some() { RECOVERY } else { RECOVERY * 5 }
}

/// A trouble under a load: so many operations begin in a second.
#[derive(Clone, Copy)]
struct Scenario {
    trouble: Trouble,
    rate: f64,
    span: Duration,
}

/// What `make test` has time for.
const SOME: [Trouble; 6] = [
    Trouble::Killed,
    Trouble::Frozen,
    Trouble::OutOfMemory,
    Trouble::Cut,
    Trouble::RepliesSwallowed,
    Trouble::HalfOpenAndLate,
];

const IDLE: [Trouble; 3] = [Trouble::Frozen, Trouble::RequestsSwallowed, Trouble::HalfOpen];

/// Those in which an operation may be half done.
const CROWDED: [Trouble; 9] = [
    Trouble::KilledWithAof,
    Trouble::Frozen,
    Trouble::Paused,
    Trouble::DelayedTooLong,
    Trouble::Cut,
    Trouble::RepliesSwallowed,
    Trouble::RepliesHeld,
    Trouble::RequestsHeld,
    Trouble::HalfOpenAndLate,
];

/// How a scenario ended.
struct Report {
    scenario: Scenario,
    operations: u64,
    failures: u64,
    answers: String,
    /// Until each sidecar granted again.
    gaps: [Duration; 2],
    wrong: Vec<String>,
}

impl Report {
    fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.gaps.iter().all(|gap| *gap < patience())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Scenario { trouble, rate, span } = self.scenario;
        let name = format!("{trouble:?} for {span:?} at {rate}/s");
        let gaps = self.gaps.map(|gap| format!("{:.2} s", gap.as_secs_f64())).join(", ");
        write!(f, "{name:40} {:4} operations, back after {gaps}: {}", self.operations, self.answers)?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n    WRONG {wrong}"))
    }
}

impl Scenario {
    async fn play(self) -> Report {
        let Scenario { trouble, rate, span } = self;
        let mut redis = trouble.redis();
        let proxy = Proxy::start(&redis);
        let sidecars = vec![Sidecar::start_at(&proxy.url(), &[]).await, Sidecar::start(&redis, &[]).await];
        let callers = Arc::new(Callers { sidecars, ledger: Ledger::default(), lease_ms: LEASE_MS });
        let (end, ends) = watch::channel(false);
        let calling = tokio::spawn(Arc::clone(&callers).keep_calling(rate, ends));
        tokio::time::sleep(Duration::from_secs(1)).await;

        trouble.strike(&mut redis, &proxy, span).await;
        let over = Instant::now();
        let (first, second) = tokio::join!(serves(&callers.sidecars[0]), serves(&callers.sidecars[1]));
        tokio::time::sleep_until((over + RECOVERY / 3).into()).await;
        end.send_replace(true);
        let operations = calling.await.expect("no caller panics");
        tokio::time::sleep_until((over + RECOVERY).into()).await;
        let mut wrong = callers.ledger.verdict(&redis, trouble.keeps_data());
        while !wrong.is_empty() && over.elapsed() < patience() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            wrong = callers.ledger.verdict(&redis, trouble.keeps_data());
        }
        if first > RECOVERY {
            // What the sidecar behind the proxy knew, but for its answers.
            let log = callers.sidecars[0].log();
            log.lines().filter(|line| !line.contains("\"a request failed\"")).for_each(|line| println!("{line}"));
        }
        let answers = callers.ledger.answers().into_iter().map(|(what, count)| format!("{count} × {what}"));
        Report {
            scenario: self,
            operations,
            failures: callers.ledger.failures(),
            answers: answers.collect::<Vec<_>>().join(", "),
            gaps: [first, second],
            wrong,
        }
    }
}

/// Callers of two sidecars, one of them behind a proxy, and the troubles that may befall their Redis. What would lose its data
/// keeps it here: else its keys, and what was promised, would say nothing.
struct Stage {
    redis: TestRedis,
    proxy: Proxy,
    troubles: Vec<Trouble>,
    callers: Arc<Callers>,
    /// Ends the calling, which says how many operations there were.
    end: watch::Sender<bool>,
    calling: JoinHandle<u64>,
}

impl Stage {
    /// So many operations begin in a second; leases of keys that nobody else wants last so long.
    async fn set(rate: f64, lease_ms: u64) -> Stage {
        let redis = Trouble::KilledWithAof.redis();
        let troubles = ALL.into_iter().filter(|trouble| trouble.keeps_data()).collect();
        let proxy = Proxy::start(&redis);
        let sidecars = vec![Sidecar::start_at(&proxy.url(), &[]).await, Sidecar::start(&redis, &[]).await];
        let callers = Arc::new(Callers { sidecars, ledger: Ledger::default(), lease_ms });
        let (end, ends) = watch::channel(false);
        let calling = tokio::spawn(Arc::clone(&callers).keep_calling(rate, ends));
        Stage { redis, proxy, troubles, callers, end, calling }
    }
}

/// Until a sidecar grants what nobody has.
async fn serves(sidecar: &Sidecar) -> Duration {
    eventually("it grants again", Duration::from_secs(30), async || {
        let path = format!("/v1/locks/{}", unique("back"));
        sidecar.call("POST", &path).json(&json!({"ttlMs": 1000})).send().await.status == 201
    })
    .await
}

fn scenario(trouble: Trouble, rate: f64, seconds: f64) -> Scenario {
    Scenario { trouble, rate, span: Duration::from_secs_f64(seconds) }
}

/// Plays so many scenarios at once, until all are played; prints how each ended. How many answers were failures.
async fn play_all(scenarios: &[Scenario], at_once: usize) -> u64 {
    let (mut all_good, mut failures) = (true, 0);
    for some in scenarios.chunks(at_once) {
        for report in join_all(some.iter().map(|scenario| scenario.play())).await {
            println!("{report}");
            all_good &= report.is_good();
            failures += report.failures;
        }
    }
    assert!(all_good, "see above");
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_trouble_all_answers_are_true_nothing_is_left_and_service_returns() {
    let _turn = heavy().await;
    let (mut scenarios, mut at_once) = (SOME.map(|trouble| scenario(trouble, 20.0, 2.5)).to_vec(), SOME.len());
    if let Some(name) = asked_for() {
        scenarios = ALL.map(|trouble| scenario(trouble, 50.0, 5.0)).to_vec();
        // What a busy connection shows at once, an idle one must find out.
        scenarios.extend(IDLE.map(|trouble| scenario(trouble, 0.5, 8.0)));
        scenarios.retain(|scenario| name == "all" || name == format!("{:?}", scenario.trouble));
        assert!(!scenarios.is_empty(), "FAULTS={name}: expected `all` or one of {ALL:?}");
        at_once = 3;
    }
    play_all(&scenarios, at_once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_one_trouble_after_another_no_promise_overlaps_another_and_tokens_rise() {
    let _turn = heavy().await;
    let (lasts, rate) = if asked_for().is_some() { (60, 200.0) } else { (8, 50.0) };
    let Stage { mut redis, proxy, troubles, callers, end, calling } = Stage::set(rate, LEASE_MS).await;
    let (begun, mut dice, mut struck) = (Instant::now(), Dice(u64::from(std::process::id())), Vec::new());
    while begun.elapsed() < Duration::from_secs(lasts) {
        let trouble = troubles[dice.roll(troubles.len() as u64) as usize];
        trouble.strike(&mut redis, &proxy, Duration::from_millis(1000)).await;
        struck.push(trouble);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    end.send_replace(true);
    let operations = calling.await.expect("no caller panics");
    println!("{operations} operations in {:?}, {} stretches", begun.elapsed(), callers.ledger.history.len());
    println!("{:?}\n{struck:?}", callers.ledger.answers());
    let mut wrong = Vec::new();
    let rest = Instant::now();
    while rest.elapsed() < patience() {
        wrong = callers.ledger.verdict(&redis, true);
        if wrong.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_thousands_of_failures_each_says_truly_whether_it_was_done() {
    let _turn = heavy().await;
    let (mut scenarios, mut least) = (vec![scenario(Trouble::RepliesSwallowed, 100.0, 3.0)], 100);
    if let Some(name) = asked_for() {
        scenarios = CROWDED.map(|trouble| scenario(trouble, 200.0, 10.0)).to_vec();
        scenarios.retain(|scenario| name == "all" || name == format!("{:?}", scenario.trouble));
        least = if name == "all" { 10_000 } else { 0 };
    }
    let failures = play_all(&scenarios, 1).await;
    println!("{failures} failures");
    assert!(failures >= least, "only {failures} failures");
}
