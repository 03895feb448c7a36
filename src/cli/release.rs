//! `lockside release`: releases a lease by its token, or a lock by force.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use hyper::HeaderMap;
use percent_encoding::percent_decode_str;

use super::client::{Sidecar, encoded, path_of};
use super::failure::Failure;
use super::sidecar_flags::SidecarFlags;
use super::view::{Holder, Shown, printable};
use super::{run_client, say};

#[derive(Args, Debug)]
pub struct ReleaseFlags {
    /// The lock to release
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    how: How,

    /// Why the lock is force-released, for the sidecar's log; at most 200 bytes
    #[arg(long, value_name = "TEXT", requires = "force")]
    reason: Option<String>,

    /// Do not ask for confirmation, which happens on a terminal only
    #[arg(short, long, requires = "force")]
    yes: bool,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct How {
    /// Release only the lease with this token; with --force also one of another owner
    #[arg(long, value_name = "N")]
    token: Option<u64>,

    /// Force-release the lock, with --token that lease alone; the holders are told. Needs the permission manage-locks
    #[arg(long)]
    force: bool,
}

pub const HELP: &str = "\
Exit code 0 too for a force-release of a lock that was not held.

Example: lockside release orders/1234 --token \"$LOCKSIDE_TOKEN\"
Example: lockside release orders/1234 --force --reason 'OPS-1234, hangs'
Example: lockside release encoder --force --token 3843017113731109";

pub fn run(flags: &ReleaseFlags) -> ExitCode {
    run_client(async {
        let sidecar = flags.sidecar.sidecar()?;
        let path = path_of(&flags.key);
        let token = match flags.how {
            How { token: Some(token), force: false } => token,
            _ => return force(&sidecar, flags, &path).await,
        };
        let released = sidecar.ask("DELETE", &format!("{path}?token={token}")).await;
        released.map_err(|failure| explained(failure, &flags.key))?;
        say(format!("released `{}`, token {token}", printable(&flags.key)));
        Ok(())
    })
}

async fn force(sidecar: &Sidecar, flags: &ReleaseFlags, path: &str) -> Result<(), Failure> {
    let key = printable(&flags.key);
    if !flags.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let Some(question) = question(sidecar, flags).await? else {
            say(format!("`{key}` is not held"));
            return Ok(());
        };
        if !is_confirmed(&question) {
            return Err(Failure::Declined(format!("`{key}` was not released")));
        }
    }
    let one = flags.how.token.map(|token| format!("&token={token}")).unwrap_or_default();
    let reason = flags.reason.as_ref().map(|reason| format!("&reason={}", encoded(reason))).unwrap_or_default();
    let answer = sidecar.answer("DELETE", &format!("{path}?force=true{one}{reason}")).await;
    let answer = answer.map_err(|failure| explained(failure, &flags.key))?;
    let headers = answer.headers();
    let Some(had) = had(headers) else {
        say(format!("`{key}` was not held"));
        return Ok(());
    };
    // The sidecar may have failed to find out.
    let shown = sidecar.show(&flags.key).await.ok();
    let now = match (shown.as_ref().and_then(Shown::shares), header(headers, "lockside-holder")) {
        (Some(count), _) => format!("; now shared by {count}"),
        (None, Some(next)) => format!("; now held by `{next}`"),
        (None, None) if shown.is_some_and(|shown| shown.holder.is_none()) => "; now free".to_owned(),
        (None, None) => String::new(),
    };
    say(format!("force-released `{key}`, {had}{now}"));
    Ok(())
}

/// What to ask before a force-release; `None` of a lock that is not held.
async fn question(sidecar: &Sidecar, flags: &ReleaseFlags) -> Result<Option<String>, Failure> {
    let key = printable(&flags.key);
    let shown = match sidecar.show(&flags.key).await {
        // A caller may release what it may not read.
        Err(Failure::Refused(problem)) if problem.status == 403 => None,
        shown => Some(shown?),
    };
    if let Some(token) = flags.how.token {
        let holder = shown.as_ref().and_then(|shown| shown.holder_with(token));
        let held = holder.map(|holder| format!(", held by {}", placed(holder))).unwrap_or_default();
        return Ok(Some(format!("Force-release the lease of `{key}` with token {token}{held}?")));
    }
    let Some(shown) = shown else { return Ok(Some(format!("Force-release `{key}`?"))) };
    let Some(holder) = &shown.holder else { return Ok(None) };
    Ok(Some(match shown.shares() {
        Some(count) => format!("`{key}` is shared by {count}. Force-release all of them?"),
        None => format!("`{key}` is held by {}. Force-release it?", placed(holder)),
    }))
}

/// A holder, and where it runs.
fn placed(holder: &Holder) -> String {
    let place = holder.place().map(|place| format!(" ({place})")).unwrap_or_default();
    format!("{}{place}", holder.quoted())
}

/// Who had the lock that was force-released, as the headers say it; `None` if it was free.
fn had(headers: &HeaderMap) -> Option<String> {
    let owner = header(headers, "lockside-released-owner");
    let count = header(headers, "lockside-released-count").and_then(|count| count.parse().ok());
    // Sidecars that are too old to count name the owner.
    match count.unwrap_or(u64::from(owner.is_some())) {
        0 => None,
        1 => Some(match owner {
            Some(owner) => {
                let token = header(headers, "lockside-released-token").unwrap_or_default();
                format!("held by `{owner}`, token {token}")
            }
            None => "held by an owner that you may not read".to_owned(),
        }),
        count => Some(format!("shared by {count}")),
    }
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
