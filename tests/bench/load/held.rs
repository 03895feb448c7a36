//! Locks and connections that stay.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::http::{Connection, token};
use super::{Load, Report, Shape, say};

/// The key and the body of an acquire.
fn asked_for(shape: &Shape, number: usize) -> (String, &'static str) {
    match shape {
        Shape::Shares { .. } => ("bench-shared".to_owned(), r#"{"ttlMs":3600000,"limit":10000}"#),
        _ => (format!("bench-held-{number}"), r#"{"ttlMs":3600000}"#),
    }
}

/// Takes `count` locks; their keys and tokens go into `file`.
pub async fn acquires(load: &Load, count: usize, file: Option<&str>) -> Report {
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..load.connections)
        .map(|number| {
            let (load, next) = (load.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut connection = Connection::open(&load.targets[number % load.targets.len()]).await;
                let (mut taken, mut latencies) = (Vec::new(), Vec::new());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return (taken, latencies);
                    }
                    let asked = Instant::now();
                    let (key, body) = asked_for(&load.shape, number);
                    let path = &format!("/v1/locks/{key}");
                    let answer = connection.ask("POST", path, body).await;
                    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(answer.body));
                    taken.push((key, token(answer.body)));
                    latencies.push(asked.elapsed().as_nanos() as u64);
                }
            })
        })
        .collect();
    let (mut lines, mut latencies) = (String::new(), Vec::new());
    for task in tasks {
        let (taken, of_one) = task.await.expect("no panic in a connection");
        lines.extend(taken.into_iter().map(|(key, token)| format!("{key} {token}\n")));
        latencies.extend(of_one);
    }
    let seconds = begin.elapsed().as_secs_f64();
    if let Some(file) = file {
        fs::write(file, lines).expect("a scratch file");
    }
    Report::new(count as u64, seconds, latencies)
}

/// Lets go of the locks in `file`.
pub async fn releases(load: &Load, file: &str) -> Report {
    let text = fs::read_to_string(file).expect("a scratch file");
    let locks: Arc<Vec<String>> = Arc::new(
        text.lines()
            .map(|line| {
                let (key, token) = line.split_once(' ').expect("a line as `acquires` writes it");
                format!("/v1/locks/{key}?token={token}")
            })
            .collect(),
    );
    let begin = Instant::now();
    let tasks: Vec<_> = (0..load.connections)
        .map(|number| {
            let (load, locks) = (load.clone(), Arc::clone(&locks));
            tokio::spawn(async move {
                let mut connection = Connection::open(&load.targets[number % load.targets.len()]).await;
                let mut latencies = Vec::new();
                for path in locks.iter().skip(number).step_by(load.connections) {
                    let asked = Instant::now();
                    assert_eq!(connection.ask("DELETE", path, "").await.status, 204);
                    latencies.push(asked.elapsed().as_nanos() as u64);
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic in a connection"));
    }
    Report::new(locks.len() as u64, begin.elapsed().as_secs_f64(), latencies)
}

/// Opens everything, says so, and keeps it until it is killed.
pub async fn stay(load: &Load) {
    let next = Arc::new(AtomicUsize::new(0));
    // A few at a time, so that no queue of new connections overflows.
    let openers: Vec<_> = (0..64)
        .map(|_| {
            let (load, next) = (load.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut opened = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= load.connections {
                        return opened;
                    }
                    let mut connection = Connection::open(&load.targets[number % load.targets.len()]).await;
                    let status = match load.shape {
                        Shape::Holds { ttl_ms } => {
                            let path = &format!("/v1/locks/bench-hold-{number}/hold");
                            connection.open_stream("POST", path, &format!(r#"{{"ttlMs":{ttl_ms}}}"#)).await
                        }
                        _ => connection.ask("GET", &format!("/v1/locks/bench-idle-{number}"), "").await.status,
                    };
                    assert_eq!(status, 200, "connection {number}");
                    opened.push(connection);
                }
            })
        })
        .collect();
    let mut kept = Vec::new();
    for opener in openers {
        kept.extend(opener.await.expect("no panic in a connection"));
    }
    say(&Report { answers: kept.len() as u64, ..Report::default() });
    let drains: Vec<_> =
        kept.into_iter().map(|mut connection| tokio::spawn(async move { connection.drain().await })).collect();
    for drain in drains {
        drain.await.expect("no panic in a connection");
    }
    // Nobody may end before the bench ends it: what was to be measured would be gone.
    panic!("the server closed connections");
}
