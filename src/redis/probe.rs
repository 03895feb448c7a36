//! Learns whether Redis is there: from what becomes of the connection, and from a probe, which asks when no caller does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::connection::Connection;
use super::diagnosis::{Target, explain};
use super::{RedisFailure, Status};
use crate::metrics::Label;
use crate::redis::operation::Reconnection;

/// So long after the last answer to any command a probe asks. With [`PROBE_TIMEOUT`] well below two seconds, so
/// that readiness follows Redis that fast.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time without a probe even under traffic: the probe also reads the server's clock.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);

/// Connects, and watches from then on.
pub(super) fn follow(connection: Connection, target: Target, errors: Arc<Status>) {
    // The last problem, and what it means: the same one is explained once.
    let last = Arc::new(tokio::sync::Mutex::new((String::new(), String::new())));
    let setup = connection.setup();
    connection.on_problem(move |problem| {
        let (errors, target, setup, last) = (Arc::clone(&errors), target.clone(), setup.clone(), Arc::clone(&last));
        async move {
            if errors.ready().is_ok() {
                errors.metrics.redis_reconnections.with_label_values(&[Reconnection::Lost.label()]).inc();
                // At once: an explanation may have to ask Redis.
                errors.silent(target.lost(&problem));
                return;
            }
            let mut last = last.lock().await;
            if last.0 != problem.text {
                *last = (problem.text.clone(), explain(&problem, &target, &setup).await);
            }
            errors.silent(last.1.clone());
        }
    });
    tokio::spawn(connection.keep());
}

/// Asks when no caller does.
pub(super) async fn probe_on(connection: Connection, timeout: Duration, status: Arc<Status>, clock: Arc<Clock>) {
    let mut probed: Option<Instant> = None;
    loop {
        let pause = match status.quiet(PROBE_INTERVAL) {
            Some(left) if probed.is_some_and(|probed| probed.elapsed() < CLOCK_INTERVAL) => left,
            _ => {
                probe(&connection, timeout, &status, &clock).await;
                probed = Some(Instant::now());
                PROBE_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn probe(connection: &Connection, timeout: Duration, status: &Arc<Status>, clock: &Clock) {
    if !connection.is_connected() {
        status.silent(status.ready().err().unwrap_or_else(|| "the connection to it was lost".to_owned()));
        return;
    }
    let sent = Instant::now();
    let answer = connection.command_within(timeout.min(PROBE_TIMEOUT), "TIME", &[]).await;
    match answer.and_then(|time| time.milliseconds()) {
        Ok(server_ms) => {
            clock.learn(server_ms, sent);
            status.answered();
        }
        Err(failure) => {
            status.refused(&failure);
            status.silent(match &failure {
                RedisFailure::Refused(reason) if reason.contains("unknown command") => format!(
                    "this is no redis that knows TIME, but perhaps a sentinel; use redis-sentinel://…?master=NAME \
                     ({reason})"
                ),
                _ => failure.to_string(),
            });
            status.learn(connection, Some(&failure));
        }
    }
}
