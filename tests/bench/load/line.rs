//! Many who want one key: how fast it goes from hand to hand.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use super::http::{Connection, token};
use super::{Load, Report};

const KEY: &str = "/v1/locks/bench-handoff";
const WAITING: &str = r#"{"ttlMs":30000,"waitMs":60000}"#;

/// How the key went around so far.
#[derive(Default)]
struct Rounds {
    holder: Option<usize>,
    released: Option<Instant>,
    /// Of grants to somebody else than had it before: the time since that one let go.
    handoffs: Vec<u64>,
    grants: u64,
}

impl Rounds {
    fn granted(&mut self, holder: usize) {
        self.grants += 1;
        if let Some(released) = self.released
            && self.holder != Some(holder)
        {
            self.handoffs.push(released.elapsed().as_nanos() as u64);
        }
        self.holder = Some(holder);
    }
}

/// Waits for the key, and lets go of it at once.
async fn turn(connection: &mut Connection, number: usize, rounds: &Mutex<Rounds>) {
    let answer = connection.ask("POST", KEY, WAITING).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(answer.body));
    let token = token(answer.body);
    {
        let mut rounds = rounds.lock().expect("no panic while held");
        rounds.granted(number);
        rounds.released = Some(Instant::now());
    }
    assert_eq!(connection.ask("DELETE", &format!("{KEY}?token={token}"), "").await.status, 204);
}

/// Everybody stands in line again as soon as they had it.
pub async fn handoffs(load: &Load) -> Report {
    let rounds = Arc::new(Mutex::new(Rounds::default()));
    let barrier = Arc::new(Barrier::new(load.connections + 1));
    let tasks: Vec<_> = (0..load.connections)
        .map(|number| {
            let (load, barrier, rounds) = (load.clone(), Arc::clone(&barrier), Arc::clone(&rounds));
            tokio::spawn(async move {
                let mut connection = Connection::open(&load.targets[number % load.targets.len()]).await;
                barrier.wait().await;
                let end = Instant::now() + Duration::from_secs_f64(load.seconds);
                while Instant::now() < end {
                    turn(&mut connection, number, &rounds).await;
                }
            })
        })
        .collect();
    barrier.wait().await;
    let begin = Instant::now();
    for task in tasks {
        task.await.expect("no panic in a connection");
    }
    let rounds = std::mem::take(&mut *rounds.lock().expect("no panic while held"));
    Report::new(rounds.grants, begin.elapsed().as_secs_f64(), rounds.handoffs)
}

/// Everybody waits; then the key goes through all hands once. Only that is timed.
pub async fn turns(load: &Load) -> Report {
    let end = Instant::now() + Duration::from_secs_f64(load.seconds);
    let rounds = Arc::new(Mutex::new(Rounds::default()));
    let mut first = Connection::open(&load.targets[0]).await;
    let mut connections = Vec::new();
    for number in 0..load.connections {
        connections.push(Connection::open(&load.targets[number % load.targets.len()]).await);
    }
    let mut timed = Duration::ZERO;
    while Instant::now() < end {
        let answer = first.ask("POST", KEY, WAITING).await;
        let token = token(answer.body);
        let tasks: Vec<_> = connections
            .drain(..)
            .enumerate()
            .map(|(number, mut connection)| {
                let rounds = Arc::clone(&rounds);
                tokio::spawn(async move {
                    turn(&mut connection, number, &rounds).await;
                    connection
                })
            })
            .collect();
        let everybody = format!("\"waiters\":{}", load.connections);
        while !String::from_utf8_lossy(first.ask("GET", KEY, "").await.body).contains(&everybody) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let begin = Instant::now();
        {
            let mut rounds = rounds.lock().expect("no panic while held");
            (rounds.holder, rounds.released) = (None, Some(begin));
        }
        assert_eq!(first.ask("DELETE", &format!("{KEY}?token={token}"), "").await.status, 204);
        for task in tasks {
            connections.push(task.await.expect("no panic in a connection"));
        }
        timed += begin.elapsed();
    }
    let rounds = std::mem::take(&mut *rounds.lock().expect("no panic while held"));
    Report::new(rounds.grants, timed.as_secs_f64(), rounds.handoffs)
}
