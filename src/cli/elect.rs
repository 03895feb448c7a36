//! `lockside elect`: who leads an election, and that the sidecar is to lead it no longer.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::client::encoded;
use super::failure::{Failure, not_ours};
use super::sidecar_flags::SidecarFlags;
use super::view::{printable, printable_json};
use super::{complain, exit, runtime, say};
use crate::election::absence;

#[derive(Args, Debug)]
pub struct ElectFlags {
    /// The election, as --elect of the sidecar names it
    #[arg(value_name = "NAME")]
    name: String,

    /// Resign: the sidecar stops leading and re-queues behind all other candidates
    #[arg(long)]
    resign: bool,

    /// With --resign: do not stand again for this long, at most 24h
    #[arg(long = "for", value_name = "DURATION", requires = "resign", value_parser = absence)]
    absence: Option<Duration>,

    /// The response as JSON, for machines
    #[arg(long, conflicts_with = "resign")]
    json: bool,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

pub const HELP: &str = "\
Prints the leader's name. Exit code 0 if the sidecar leads, 1 if another one does or there is no leader, 64 if it takes \
part in no such election.

Example: lockside elect jobs && ./run-the-jobs.sh
Example: lockside elect jobs --resign --for 5m";

#[derive(Deserialize)]
struct Told {
    name: Option<String>,
    leader: bool,
    #[serde(default)]
    stale: bool,
}

pub fn run(flags: &ElectFlags) -> ExitCode {
    let code = match runtime() {
        Ok(runtime) => runtime.block_on(if_leading(flags)),
        Err(code) => return code,
    };
    match code {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(exit::FAILURE),
        Err(Failure::Refused(problem)) if problem.code == "no-such-election" => {
            complain(&problem);
            ExitCode::from(exit::USAGE)
        }
        Err(failure) => ExitCode::from(failure.tell()),
    }
}

/// Whether the sidecar leads, or did what it was asked.
async fn if_leading(flags: &ElectFlags) -> Result<bool, Failure> {
    let sidecar = flags.sidecar.sidecar()?;
    let (name, path) = (printable(&flags.name), format!("/v1/elections/{}", encoded(&flags.name)));
    if flags.resign {
        let query = flags.absence.map(|span| format!("?for={}ms", span.as_millis())).unwrap_or_default();
        sidecar.ask("DELETE", &format!("{path}{query}")).await?;
        say(format!("resigned from election `{name}`"));
        return Ok(true);
    }
    let body = sidecar.ask("GET", &path).await?;
    let told: Told = serde_json::from_slice(&body).map_err(|error| not_ours(&error))?;
    match &told.name {
        _ if flags.json => say(printable_json(&String::from_utf8_lossy(&body))),
        Some(leader) => say(printable(leader)),
        None if told.stale => {
            complain(format!("who leads election `{name}` is not known: Redis has not answered lately"))
        }
        None => complain(format!("election `{name}` has no leader now")),
    }
    Ok(told.leader)
}
