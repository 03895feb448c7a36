//! The same questions again and again, on many connections, for a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use super::http::{Connection, token};
use super::{Load, Report, Shape};

/// Not counted: caches fill, scripts are loaded, connections grow their buffers.
const WARM_UP: Duration = Duration::from_millis(300);
const LEASE: &str = r#"{"ttlMs":30000}"#;

/// What one connection saw.
#[derive(Default)]
pub struct Seen {
    counting: bool,
    answers: u64,
    latencies: Vec<u64>,
    bytes: u64,
}

impl Seen {
    pub fn answer(&mut self, asked: Instant) {
        self.answers += 1;
        if self.counting {
            self.latencies.push(asked.elapsed().as_nanos() as u64);
        }
    }
}

/// The clock of a run: how long it warms up, and when it is over.
pub struct Clock {
    begin: Instant,
    length: Duration,
}

impl Clock {
    pub fn start(load: &Load) -> Clock {
        Clock { begin: Instant::now() + WARM_UP, length: Duration::from_secs_f64(load.seconds) }
    }

    /// Whether there is time for another question; from when on answers count.
    pub fn runs(&self, seen: &mut Seen) -> bool {
        let now = Instant::now();
        seen.counting = now >= self.begin;
        now < self.begin + self.length
    }

    pub fn report(&self, seen: Vec<Seen>) -> Report {
        let answers = seen.iter().map(|seen| seen.answers).sum();
        let bytes = seen.iter().map(|seen| seen.bytes).sum();
        let seconds = self.begin.elapsed().as_secs_f64();
        let latencies = seen.into_iter().flat_map(|seen| seen.latencies).collect();
        Report { bytes, ..Report::new(answers, seconds, latencies) }
    }
}

pub async fn run(load: &Load) -> Report {
    let barrier = Arc::new(Barrier::new(load.connections + 1));
    let tasks: Vec<_> = (0..load.connections)
        .map(|number| {
            let (load, barrier) = (load.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                let mut connection = Connection::open(&load.targets[number % load.targets.len()]).await;
                let mut mine = Mine { number, count: 0, token: 0, lease: String::new() };
                prepare(&load.shape, &mut connection, &mut mine).await;
                barrier.wait().await;
                let clock = Clock::start(&load);
                let mut seen = Seen::default();
                // One answer at least, however long it takes.
                while clock.runs(&mut seen) || seen.latencies.is_empty() {
                    turn(&load.shape, &mut connection, &mut mine, &mut seen).await;
                }
                seen
            })
        })
        .collect();
    barrier.wait().await;
    let clock = Clock::start(load);
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.expect("no panic in a connection"));
    }
    clock.report(seen)
}

/// What a connection has in hand.
struct Mine {
    number: usize,
    count: u64,
    token: u64,
    /// etcd: the lease of this client.
    lease: String,
}

/// Once, before the clock starts.
async fn prepare(shape: &Shape, connection: &mut Connection, mine: &mut Mine) {
    let number = mine.number;
    match shape {
        Shape::Contended => {
            // The first one in has it; for the others it is the answer that they will get.
            connection.ask("POST", "/v1/locks/bench-contended", r#"{"ttlMs":300000}"#).await;
        }
        Shape::Renewals => {
            let answer = connection.ask("POST", &format!("/v1/locks/bench-renewed-{number}"), LEASE).await;
            mine.token = token(answer.body);
        }
        Shape::Etcd => {
            let answer = connection.ask("POST", "/v3/lease/grant", r#"{"TTL":"60"}"#).await;
            let body = std::str::from_utf8(answer.body).expect("JSON");
            let id = body.split("\"ID\":\"").nth(1).and_then(|rest| rest.split('"').next());
            mine.lease = id.expect("a lease of etcd").to_owned();
        }
        _ => {}
    }
}

/// One question, or a pair of them.
async fn turn(shape: &Shape, connection: &mut Connection, mine: &mut Mine, seen: &mut Seen) {
    let (number, count) = (mine.number, mine.count);
    mine.count += 1;
    let asked = Instant::now();
    match shape {
        Shape::Pairs => {
            let answer = connection.ask("POST", &format!("/v1/locks/bench-{number}-{count}"), LEASE).await;
            assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(answer.body));
            let token = token(answer.body);
            seen.answer(asked);
            let asked = Instant::now();
            let path = &format!("/v1/locks/bench-{number}-{count}?token={token}");
            assert_eq!(connection.ask("DELETE", path, "").await.status, 204);
            seen.answer(asked);
        }
        Shape::Contended => {
            let answer = connection.ask("POST", "/v1/locks/bench-contended", LEASE).await;
            assert_eq!(answer.status, 409, "{}", String::from_utf8_lossy(answer.body));
            seen.answer(asked);
        }
        Shape::Renewals => {
            let path = &format!("/v1/locks/bench-renewed-{number}?token={}", mine.token);
            let answer = connection.ask("PUT", path, LEASE).await;
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(answer.body));
            seen.answer(asked);
        }
        Shape::List => {
            let answer = connection.ask("GET", "/cmn/leasable-locks", "").await;
            assert_eq!(answer.status, 200);
            seen.bytes += answer.body.len() as u64;
            seen.answer(asked);
        }
        Shape::Etcd => etcd_pair(connection, mine, seen).await,
        Shape::DaprHttp => {
            let resource = format!(r#""resourceId":"bench-{number}-{count}","lockOwner":"bench""#);
            let lock = format!(r#"{{{resource},"expiryInSeconds":30}}"#);
            let answer = connection.ask("POST", "/v1.0-alpha1/lock/lockstore", &lock).await;
            assert_eq!(answer.body, br#"{"success":true}"#, "{}", answer.status);
            seen.answer(asked);
            let (asked, unlock) = (Instant::now(), format!("{{{resource}}}"));
            let answer = connection.ask("POST", "/v1.0-alpha1/unlock/lockstore", &unlock).await;
            assert_eq!(answer.body, br#"{"status":0}"#, "{}", answer.status);
            seen.answer(asked);
        }
        _ => unreachable!("not looped"),
    }
}

async fn etcd_pair(connection: &mut Connection, mine: &Mine, seen: &mut Seen) {
    let name = base64(&format!("bench-{}-{}", mine.number, mine.count));
    let asked = Instant::now();
    let body = format!(r#"{{"name":"{name}","lease":"{}"}}"#, mine.lease);
    let answer = connection.ask("POST", "/v3/lock/lock", &body).await;
    let text = std::str::from_utf8(answer.body).expect("JSON");
    let key = text.split("\"key\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let body = format!(r#"{{"key":"{}"}}"#, key.unwrap_or_else(|| panic!("{}: {text}", answer.status)));
    seen.answer(asked);
    let asked = Instant::now();
    assert_eq!(connection.ask("POST", "/v3/lock/unlock", &body).await.status, 200);
    seen.answer(asked);
}

/// Of a text whose length is made a multiple of three by blanks, so that there is no padding to think of.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("{text:<width$}", width = text.len().next_multiple_of(3));
    let letters = text.as_bytes().chunks(3).flat_map(|three| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(LETTERS[bits >> shift & 63]))
    });
    letters.collect()
}

/// A fixed number of turns on one connection: acquire, then a refused acquire and a renewal if `renews`, then release.
pub async fn fixed(load: &Load, turns: u64, renews: bool) -> Report {
    let mut connection = Connection::open(&load.targets[0]).await;
    let begin = Instant::now();
    let mut seen = Seen { counting: true, ..Seen::default() };
    for turn in 0..turns {
        // As long a name each time.
        let path = format!("/v1/locks/bench-fixed-{turn:06}");
        let asked = Instant::now();
        let token = token(connection.ask("POST", &path, LEASE).await.body);
        if renews {
            assert_eq!(connection.ask("POST", &path, LEASE).await.status, 409);
            assert_eq!(connection.ask("PUT", &format!("{path}?token={token}"), LEASE).await.status, 200);
        }
        assert_eq!(connection.ask("DELETE", &format!("{path}?token={token}"), "").await.status, 204);
        seen.answer(asked);
    }
    Report::new(seen.answers, begin.elapsed().as_secs_f64(), seen.latencies)
}
