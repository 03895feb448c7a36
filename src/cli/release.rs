//! `lockside release`: releases a lease by its token, or a lock by force.

use std::process::ExitCode;

use clap::Args;

use super::client::{SidecarFlags, path_of};
use super::failure::Failure;
use super::view::printable;
use super::{run_client, say};

#[derive(Args, Debug)]
pub struct ReleaseFlags {
    /// The lock to release
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    how: How,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct How {
    /// Release only if this token holds the lock
    #[arg(long, value_name = "N")]
    token: Option<u64>,

    /// Force-release the lock; its holder is told. Needs the permission manage-locks
    #[arg(long)]
    force: bool,
}

pub const HELP: &str = "\
Example: lockside release orders/1234 --token \"$LOCKSIDE_TOKEN\"
Example: lockside show orders/1234 && lockside release orders/1234 --force";

pub fn run(flags: &ReleaseFlags) -> ExitCode {
    run_client(async {
        let sidecar = flags.sidecar.sidecar()?;
        let key = printable(&flags.key);
        let query = match flags.how.token {
            Some(token) => format!("token={token}"),
            None => "force=true".to_owned(),
        };
        let answer = sidecar.ask("DELETE", &format!("{}?{query}", path_of(&flags.key))).await;
        answer.map_err(|failure| explained(failure, &flags.key))?;
        match flags.how.token {
            Some(token) => say(format!("released `{key}`, token {token}")),
            None => say(format!("`{key}` is free")),
        }
        Ok(())
    })
}

/// What the commonest refusals mean for who typed this.
fn explained(failure: Failure, key: &str) -> Failure {
    let Failure::Refused(mut problem) = failure else { return failure };
    let key = printable(key);
    match problem.code.as_str() {
        "lost" => {
            problem.detail = format!(
                "the lease on `{key}` with this token has ended: it expired, was released or was force-released; \
                 `lockside show` has the current holder"
            );
        }
        "held" => {
            problem.detail = format!(
                "`{key}` is held by another program: the key in Redis is not lockside's, and is left alone; \
                 that program must remove it"
            );
        }
        _ => {}
    }
    Failure::Refused(problem)
}
