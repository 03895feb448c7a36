//! Why there is no lock: what is told, and the exit code that lets a script tell a lock that is held from a lock service
//! that is unavailable or forbids it.

use super::ExecFlags;
use crate::cli::client::Sidecar;
use crate::cli::failure::{Failure, Problem};
use crate::cli::view::{Holder, clock, printable};
use crate::cli::{complain, exit};

/// Tells why the lock was not acquired, and gives the exit code.
pub async fn tell(failure: Failure, sidecar: &Sidecar, flags: &ExecFlags) -> u8 {
    let key = printable(flags.key.as_str());
    match failure {
        Failure::Refused(problem) => match (problem.code.as_str(), problem.status) {
            ("held" | "wait-timeout", _) => {
                let key_in_the_way = problem.key.as_deref().unwrap_or(flags.key.as_str());
                let key = printable(key_in_the_way);
                let is_resting = problem.state.as_deref() == Some("resting");
                let holder = match problem.holder {
                    Some(holder) => Some(holder),
                    None => sidecar.holder(key_in_the_way).await.ok().flatten(),
                };
                complain(format!("`{key}` {}", held(holder.as_ref(), is_resting, flags)));
                flags.conflict_exit_code
            }
            ("bad-request", _) => {
                complain(problem);
                exit::USAGE
            }
            (_, 404 | 405) => {
                complain(format!("not a lockside API that can hold a lock; check --url: {problem}"));
                exit::UNAVAILABLE
            }
            _ => {
                complain(format!("`{key}` was not acquired: {problem}"));
                exit_code(&problem, flags)
            }
        },
        other => other.tell(),
    }
}

/// How the lock is taken, and what may be done about it.
fn held(holder: Option<&Holder>, is_resting: bool, flags: &ExecFlags) -> String {
    let times = holder.and_then(|holder| Some((holder, clock(holder.since.as_ref()?)?)));
    if let Some((holder, since)) = times {
        let place = holder.host().unwrap_or_else(|| holder.name());
        let until = holder.valid_until.as_deref().and_then(clock).unwrap_or_default();
        if is_resting {
            return format!("ran at {since} on {place}; not before {until}");
        }
        if flags.terms.at_most_every.is_some() {
            return format!("running since {since} on {place}");
        }
    }
    let holder = holder.map_or_else(|| "another owner".to_owned(), Holder::to_string);
    let step = match (flags.terms.at_most_every, flags.waits()) {
        (Some(_), _) => "",
        (None, true) => "; wait longer with --wait",
        (None, false) => "; wait for it with --wait 1m",
    };
    format!("is held by {holder}{step}")
}

fn exit_code(problem: &Problem, flags: &ExecFlags) -> u8 {
    match (problem.code.as_str(), problem.exit_code()) {
        ("too-many-waiters", _) => flags.conflict_exit_code,
        // No answer of lockside: what is asked is no sidecar.
        (_, exit::FAILURE) => exit::UNAVAILABLE,
        (_, code) => code,
    }
}
