//! Looks at the lock of an election, for those that do not lead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::knowledge::Seen;
use super::{Election, now_ms};
use crate::lock::{Locks, Looked};

/// Behind the end of a lease, so that Redis has let it expire.
const SLACK: Duration = Duration::from_millis(3);
/// Looks in a ttl, at least.
const LOOKS_IN_A_TTL: u32 = 3;
/// Longest time between two looks: so late a sidecar that does not stand names a new leader.
const LONGEST: Duration = Duration::from_secs(2);
/// Pause after a look that Redis did not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(20);

/// Looks for as long as the process lives: in turn, when the leader's lease ends, and when there is reason to.
pub async fn keep_looking(election: Arc<Election>, locks: Locks) {
    let turn = (Duration::from_millis(election.ttl.as_ms()) / LOOKS_IN_A_TTL).min(LONGEST);
    loop {
        // From before the question, so that what is told of a look is never younger than it says.
        let (at, at_ms) = (Instant::now(), now_ms());
        let pause = match locks.look(election.key.clone()).await {
            Ok(Looked { state, waiters }) => {
                let seen = Seen::of(&state, waiters, at, at_ms);
                let ends = seen.leader.as_ref().map(|leader| leader.ends.saturating_duration_since(at) + SLACK);
                election.see(seen);
                ends.map_or(turn, |ends| ends.min(turn))
            }
            Err(failure) => {
                tracing::debug!(election = election.name, %failure, "cannot look at an election; retrying");
                RETRY.min(turn)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause.max(SHORTEST)) => {}
            () = election.look_again.notified() => {}
        }
    }
}
