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
    let bound = flags.wait.bound();
    let give_up = bound.and_then(|bound| Instant::now().checked_add(bound));
    let attempt = Attempt::new(sidecar, flags);
    let mut progress = Progress::new(flags);
    let mut longest = LONGEST_WAIT;
    // Without a bound, a sidecar that never was there is a mistake in --url, and is not waited for.
    let mut is_expected = bound.is_some();
    loop {
        let left = give_up.map_or(longest, |at| at.saturating_duration_since(Instant::now()));
        let wait = left.min(longest);
        let failure = match attempt.send(wait, &mut progress).await {
            Ok(granted) => return Ok(granted),
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
            Failure::Broken(_) => Some(LOOK),
            Failure::NoSidecar(_) => is_expected.then_some(LOOK),
            Failure::Usage(_) => None,
        };
        let Some(pause) = pause else { return Err(refusal::tell(failure, sidecar, flags).await) };
        is_expected |= !matches!(failure, Failure::NoSidecar(_));
        if !pause.is_zero() {
            progress.stands(Standing::without(&failure));
        }
        let pause = give_up.map_or(pause, |at| pause.min(at.saturating_duration_since(Instant::now())));
        progress.during(tokio::time::sleep(pause)).await;
    }
}
