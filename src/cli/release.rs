//! `lockside release`: releases a lease by its token, or a lock by force.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use hyper::HeaderMap;
use percent_encoding::percent_decode_str;

use super::client::{Sidecar, encoded, path_of};
use super::failure::Failure;
use super::sidecar_flags::SidecarFlags;
use super::view::printable;
use super::{run_client, say};

#[derive(Args, Debug)]
pub struct ReleaseFlags {
    /// The lock to release
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    how: How,

    /// Why the lock is force-released, for the sidecar's log; at most 200 bytes
    #[arg(long, value_name = "TEXT", conflicts_with = "token")]
    reason: Option<String>,

    /// Do not ask for confirmation, which happens on a terminal only
    #[arg(short, long, conflicts_with = "token")]
    yes: bool,

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
Exit code 0 too for a force-release of a lock that was not held.

Example: lockside release orders/1234 --token \"$LOCKSIDE_TOKEN\"
Example: lockside release orders/1234 --force --reason 'OPS-1234, hangs'";

pub fn run(flags: &ReleaseFlags) -> ExitCode {
    run_client(async {
        let sidecar = flags.sidecar.sidecar()?;
        let path = path_of(&flags.key);
        let Some(token) = flags.how.token else { return force(&sidecar, flags, &path).await };
        let released = sidecar.ask("DELETE", &format!("{path}?token={token}")).await;
        released.map_err(|failure| explained(failure, &flags.key))?;
        say(format!("released `{}`, token {token}", printable(&flags.key)));
        Ok(())
    })
}

async fn force(sidecar: &Sidecar, flags: &ReleaseFlags, path: &str) -> Result<(), Failure> {
    let key = printable(&flags.key);
    if !flags.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let Some(holder) = sidecar.holder(&flags.key).await? else {
            say(format!("`{key}` is not held"));
            return Ok(());
        };
        let place = holder.place().map(|place| format!(" ({place})")).unwrap_or_default();
        if !is_confirmed(&format!("`{key}` is held by {}{place}. Force-release it?", holder.quoted())) {
            return Err(Failure::Declined(format!("`{key}` was not released")));
        }
    }
    let reason = flags.reason.as_ref().map(|reason| format!("&reason={}", encoded(reason))).unwrap_or_default();
    let answer = sidecar.answer("DELETE", &format!("{path}?force=true{reason}")).await;
    let answer = answer.map_err(|failure| explained(failure, &flags.key))?;
    let Some(owner) = header(answer.headers(), "lockside-released-owner") else {
        say(format!("`{key}` was not held"));
        return Ok(());
    };
    let token = header(answer.headers(), "lockside-released-token").unwrap_or_default();
    let now = match header(answer.headers(), "lockside-holder") {
        Some(next) => format!("; now held by `{next}`"),
        // The sidecar may have failed to find out.
        None if matches!(sidecar.holder(&flags.key).await, Ok(None)) => "; now free".to_owned(),
        None => String::new(),
    };
    say(format!("force-released `{key}`, held by `{owner}`, token {token}{now}"));
    Ok(())
}

/// A header's value, without what a terminal would obey.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = percent_decode_str(headers.get(name)?.to_str().ok()?);
    Some(printable(&value.decode_utf8_lossy()))
}

/// Asks on the terminal.
fn is_confirmed(question: &str) -> bool {
    let mut answer = String::new();
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
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
