//! Why there is no lock: what is told, and the exit code that lets a script tell a lock that is held from a lock service
//! that is unavailable or forbids it.

use super::ExecFlags;
use crate::cli::client::Sidecar;
use crate::cli::failure::{Failure, Problem};
use crate::cli::view::printable;
use crate::cli::{complain, exit};

/// Tells why the lock was not acquired, and gives the exit code.
pub async fn tell(failure: Failure, sidecar: &Sidecar, flags: &ExecFlags) -> u8 {
    let key = printable(flags.key.as_str());
    match failure {
        Failure::Refused(problem) => match (problem.code.as_str(), problem.status) {
            ("held" | "wait-timeout", _) => {
                let holder = match problem.holder {
                    Some(holder) => Some(holder),
                    None => sidecar.holder(flags.key.as_str()).await.ok().flatten(),
                };
                let holder = holder.map_or_else(|| "another owner".to_owned(), |holder| holder.to_string());
                let step = if flags.wait.r#try { "wait for it with --wait 1m" } else { "wait longer with --wait" };
                complain(format!("`{key}` is held by {holder}; {step}"));
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

fn exit_code(problem: &Problem, flags: &ExecFlags) -> u8 {
    match (problem.code.as_str(), problem.exit_code()) {
        ("too-many-waiters", _) => flags.conflict_exit_code,
        // No answer of lockside: what is asked is no sidecar.
        (_, exit::FAILURE) => exit::UNAVAILABLE,
        (_, code) => code,
    }
}
