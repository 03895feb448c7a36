//! The wait for the lock, within the bound that the flags give: for the queue, for a sidecar that is not there yet or starts
//! again, and for its Redis.

use std::time::Duration;

use tokio::time::Instant;

use super::hold_stream::{Attempt, Hold, Lease};
use super::progress::{Progress, Standing};
use super::{ExecFlags, refusal};
use crate::cli::client::Sidecar;
use crate::cli::failure::Failure;

/// How long one request waits. A longer wait is made of several, each of which goes to the end of the queue.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Between two looks for a sidecar.
const LOOK: Duration = Duration::from_millis(250);

/// Waits for the lock as the flags say. Otherwise tells why there is none, and gives the exit code.
pub async fn acquire(sidecar: &Sidecar, flags: &ExecFlags) -> Result<(Hold, Lease), u8> {
    let begun = Instant::now();
    let give_up = flags.bound().and_then(|bound| begun.checked_add(bound));
    let connect_by = begun.checked_add(flags.wait.connect_bound());
    let mut attempt = Attempt::new(sidecar, flags);
    let mut progress = Progress::new(flags);
    let mut longest = LONGEST_WAIT;
    loop {
        let left = give_up.map_or(longest, |at| at.saturating_duration_since(Instant::now()));
        let wait = left.min(longest);
        let failure = match attempt.send(wait, &mut progress).await {
            Ok(granted) => return Ok(granted),
            Err(failure) => failure,
        };
        let end = if attempt.is_answered() { give_up } else { connect_by };
        let pause = match &failure {
            _ if end.is_some_and(|at| Instant::now() >= at) => None,
            Failure::Refused(problem) => match problem.code.as_str() {
                "wait-timeout" => Some(Duration::ZERO),
                "held" | "too-many-waiters" | "overloaded" | "redis-unavailable" | "redis-refused" | "too-late"
                | "outcome-unknown" | "draining" | "keys-unavailable" => {
                    Some(Duration::from_secs(problem.retry_after.unwrap_or(1).max(1)))
                }
                // The sidecar's --max-wait is shorter: wait in smaller parts.
                "bad-request" if problem.detail.starts_with("waitMs") && wait > Duration::from_secs(1) => {
                    longest = wait / 2;
                    Some(Duration::ZERO)
                }
                _ => None,
            },
            Failure::Broken(_) | Failure::NoSidecar(_) => Some(LOOK),
            Failure::Usage(_) | Failure::Declined(_) => None,
        };
        let Some(pause) = pause else { return Err(refusal::tell(failure, sidecar, flags).await) };
        if !pause.is_zero() {
            progress.stands(Standing::without(&failure));
        }
        let pause = end.map_or(pause, |at| pause.min(at.saturating_duration_since(Instant::now())));
        progress.during(tokio::time::sleep(pause)).await;
    }
}
