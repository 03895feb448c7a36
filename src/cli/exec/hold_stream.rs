//! The hold stream: acquires a lock, and tells what becomes of it.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{ExecFlags, refusal};
use crate::cli::client::{Sidecar, path_of};
use crate::cli::failure::{Failure, Problem};

/// How long one request waits. A longer wait is made of several, each of which goes to the end of the line.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// What an answer may take beyond the wait that was asked for.
const SLACK: Duration = Duration::from_secs(10);
/// Longest line of the stream, bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// What the stream tells.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Event {
    Acquired {
        token: u64,
        valid_for_ms: u64,
        valid_until: String,
    },
    Renewed {
        valid_for_ms: u64,
    },
    /// The lock is lost, or may be.
    Lost {
        reason: String,
    },
    /// A request with the lock's token has released it.
    Released,
    /// The sidecar ends and will release the lock.
    Draining {
        grace_ms: u64,
    },
    #[serde(other)]
    Unknown,
}

/// A lock, for as long as this is kept.
pub struct Hold {
    body: Incoming,
    buffer: BytesMut,
    /// The socket once more: while anybody has it open, the sidecar keeps the lock.
    pub socket: std::os::fd::OwnedFd,
}

impl Hold {
    /// The next event; `None` when the stream has ended, or is no hold stream. Nothing is lost when this is dropped.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return serde_json::from_slice(&line).ok();
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
            if self.buffer.len() > LONGEST_LINE {
                return None;
            }
        }
    }
}

/// Waits for the lock as the flags say. Otherwise tells why there is none, and gives the exit code.
pub async fn acquire(sidecar: &Sidecar, flags: &ExecFlags) -> Result<Hold, u8> {
    let bound = flags.wait.bound();
    let give_up = bound.and_then(|bound| Instant::now().checked_add(bound));
    let mut longest = LONGEST_WAIT;
    loop {
        let left = give_up.map_or(longest, |at| at.saturating_duration_since(Instant::now()));
        let wait = left.min(longest);
        let failure = match request(sidecar, flags, wait).await {
            Ok(hold) => return Ok(hold),
            Err(failure) => failure,
        };
        let goes_on = give_up.is_none_or(|at| Instant::now() < at);
        let pause = match &failure {
            _ if !goes_on => None,
            Failure::Refused(problem) => match problem.code.as_str() {
                "wait-timeout" => Some(Duration::ZERO),
                "held" | "too-many-waiters" | "overloaded" | "redis-unavailable" | "redis-refused" | "too-late"
                | "outcome-unknown" | "draining" => Some(Duration::from_secs(problem.retry_after.unwrap_or(1).max(1))),
                // The sidecar's --max-wait is shorter: wait in smaller parts.
                "bad-request" if problem.detail.starts_with("waitMs") && wait > Duration::from_secs(1) => {
                    longest = wait / 2;
                    Some(Duration::ZERO)
                }
                _ => None,
            },
            // A sidecar that restarts in the middle of a wait; one that is not there at all is no reason to wait.
            Failure::Broken(_) => Some(Duration::from_secs(1)),
            Failure::NoSidecar(_) | Failure::Usage(_) => None,
        };
        let Some(pause) = pause else { return Err(refusal::tell(failure, sidecar, flags).await) };
        let pause = give_up.map_or(pause, |at| pause.min(at.saturating_duration_since(Instant::now())));
        tokio::time::sleep(pause).await;
    }
}

/// One attempt.
async fn request(sidecar: &Sidecar, flags: &ExecFlags, wait: Duration) -> Result<Hold, Failure> {
    let body = json!({
        "ttlMs": u64::try_from(flags.ttl.as_millis()).unwrap_or(u64::MAX),
        "waitMs": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        "meta": meta(flags),
    });
    let path = format!("{}/hold", path_of(flags.key.as_str()));
    let connection = sidecar.connect().await?;
    let socket = connection.socket.try_clone().map_err(|error| Failure::NoSidecar(error.to_string()))?;
    let answer = connection.send("POST", &path, Bytes::from(body.to_string()));
    let answer = tokio::time::timeout(wait + SLACK, answer).await;
    let answer = answer.unwrap_or_else(|_| Err(sidecar.silent(&"it is frozen, or overloaded")))?;
    if !answer.status().is_success() {
        return Err(Failure::Refused(Box::new(Problem::read(answer).await)));
    }
    Ok(Hold { body: answer.into_body(), buffer: BytesMut::new(), socket })
}

/// Where the command runs, for those who look at the lock. Not its arguments: they may hold secrets.
fn meta(flags: &ExecFlags) -> serde_json::Value {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let command = flags.command.first().map(|program| program.to_string_lossy().chars().take(200).collect::<String>());
    // The wrapper: whom to signal.
    let pid = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
    json!({"host": host.trim_end(), "pid": pid, "command": command})
}
