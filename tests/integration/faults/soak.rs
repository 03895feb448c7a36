//! For minutes under load, with one trouble after the other: nothing grows.
//!
//! `make soak` takes ten minutes; `make test` about as many seconds, with little growth to be seen and little allowed.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Stage, asked_for};
use crate::harness::{Dice, Sidecar, TestRedis, heavy};

const RATE: f64 = 30.0;
/// Shorter than a minute, so that the keys of one are gone in the next.
const LEASE_MS: u64 = 5_000;

/// How long the soak takes.
struct Plan {
    minutes: usize,
    minute: Duration,
    /// From one trouble to the next, and how long each lasts.
    between: Duration,
    span: Duration,
}

/// What may not grow.
#[derive(Clone, Copy)]
struct Sample {
    memory_kib: u64,
    /// File descriptors, but for those of the callers' own connections.
    files: u64,
    threads: u64,
    /// Waiters and holds: each has a task beside its connection's.
    tasks: u64,
    redis_keys: u64,
    redis_clients: u64,
    redis_kib: u64,
}

const NAMES: [&str; 7] = ["VmRSS KiB", "files", "threads", "tasks", "keys", "clients", "redis KiB"];
/// What each may differ by, whatever it is.
const NOISE: [u64; 7] = [4096, 16, 1, 16, 64, 8, 2048];

impl Sample {
    fn figures(self) -> [u64; 7] {
        let Sample { memory_kib, files, threads, tasks, redis_keys, redis_clients, redis_kib } = self;
        [memory_kib, files, threads, tasks, redis_keys, redis_clients, redis_kib]
    }

    /// Of both sidecars together.
    async fn take(sidecars: &[Sidecar], redis: &TestRedis) -> Sample {
        let mut sample = Sample {
            memory_kib: 0,
            files: 0,
            threads: 0,
            tasks: 0,
            redis_keys: redis.ask("DBSIZE", &[]),
            redis_clients: info(redis, "clients", "connected_clients:"),
            redis_kib: info(redis, "memory", "used_memory:") / 1024,
        };
        for sidecar in sidecars {
            let process = format!("/proc/{}", sidecar.pid());
            sample.memory_kib += sidecar.memory() / 1024;
            let count = |what: &str| std::fs::read_dir(format!("{process}/{what}")).unwrap().count() as u64;
            let metrics = sidecar.ops("/metrics").await;
            let gauge = |name: &str| {
                let mut lines = metrics.text().lines();
                lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            sample.files += count("fd").saturating_sub(gauge("lockside_connections{listener=\"api\"}"));
            sample.threads += count("task");
            sample.tasks += gauge("lockside_waiters") + gauge("lockside_holds");
        }
        sample
    }
}

/// A number of Redis's INFO.
fn info(redis: &TestRedis, section: &str, field: &str) -> u64 {
    let text: String = redis.ask("INFO", &[section]);
    text.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()).expect("a number")
}

/// The median of a minute, each figure by itself: what a trouble swells for seconds is not what grows.
fn median(samples: &[Sample]) -> [u64; 7] {
    std::array::from_fn(|figure| {
        let mut values: Vec<u64> = samples.iter().map(|sample| sample.figures()[figure]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    })
}

struct Table<'a>(&'a [[u64; 7]]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "minute")?;
        NAMES.iter().try_for_each(|name| write!(f, " {name:>10}"))?;
        for (minute, figures) in self.0.iter().enumerate() {
            write!(f, "\n{:6}", minute + 1)?;
            figures.iter().try_for_each(|figure| write!(f, " {figure:>10}"))?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_grows_under_load_and_one_trouble_after_the_other() {
    let _turn = heavy().await;
    let seconds = Duration::from_secs_f64;
    let plan = if asked_for().as_deref() == Some("soak") {
        Plan { minutes: 10, minute: seconds(60.0), between: seconds(10.0), span: seconds(3.0) }
    } else {
        Plan { minutes: 3, minute: seconds(4.0), between: seconds(2.0), span: seconds(0.5) }
    };
    let Stage { mut redis, proxy, troubles, callers, end, calling } = Stage::set(RATE, LEASE_MS).await;

    let mut dice = Dice(u64::from(std::process::id()));
    let mut minutes = Vec::new();
    for _ in 0..plan.minutes {
        let (begun, mut samples, mut struck) = (Instant::now(), Vec::new(), Vec::new());
        while begun.elapsed() < plan.minute {
            let trouble = troubles[dice.roll(troubles.len() as u64) as usize];
            struck.push(trouble);
            let calm = Instant::now() + plan.between;
            trouble.strike(&mut redis, &proxy, plan.span).await;
            // Once at least, however long the trouble has taken.
            loop {
                samples.push(Sample::take(&callers.sidecars, &redis).await);
                tokio::time::sleep(plan.between / 20).await;
                if Instant::now() >= calm {
                    break;
                }
            }
        }
        minutes.push(median(&samples));
        println!("{struck:?}\n{}", Table(&minutes));
    }
    end.send_replace(true);
    println!("{} operations", calling.await.expect("no caller panics"));

    let (second, last) = (minutes[1], minutes[plan.minutes - 1]);
    for (figure, name) in NAMES.iter().enumerate() {
        let most = second[figure] * 115 / 100 + NOISE[figure];
        assert!(
            last[figure] <= most,
            "{name} grows: {} in the second minute, {} in the last",
            second[figure],
            last[figure]
        );
    }
    assert_eq!(callers.ledger.wrong_answers(true), Vec::<String>::new());
}
