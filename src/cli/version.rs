//! `lockside version`: which binary this is, and which the sidecar runs.

use std::env::consts::ARCH;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, not_ours};
use super::sidecar_flags::SidecarFlags;
use super::view::printable;
use super::{run_client, say};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the build names, as the Makefile does.
const COMMIT: &str = match option_env!("LOCKSIDE_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "unknown",
};
/// The profile that the compiler optimized for, as the build names it: the first digits of its SHA-256.
const PROFILE: Option<&str> = match option_env!("LOCKSIDE_PROFILE") {
    Some(profile) if !profile.is_empty() => Some(profile),
    _ => None,
};
/// Longest time for the sidecar's answer.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub struct VersionFlags {
    /// The same as JSON, for machines; `sidecar` is null without an answer
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

pub const HELP: &str = "\
Exit code 0 whether the sidecar answers or not.

Example: lockside version
Example: lockside version --json | jq -r .sidecar";

#[derive(Serialize)]
struct Versions {
    version: &'static str,
    commit: &'static str,
    architecture: &'static str,
    profile: Option<&'static str>,
    sidecar: Option<String>,
}

pub fn run(flags: &VersionFlags) -> ExitCode {
    run_client(async {
        let asked = version(&flags.sidecar).await;
        if flags.json {
            let (version, commit, architecture) = (VERSION, COMMIT, ARCH);
            let versions = Versions { version, commit, architecture, profile: PROFILE, sidecar: asked.ok() };
            say(serde_json::to_string(&versions).expect("texts are JSON"));
        } else {
            let sidecar = asked.unwrap_or_else(|failure| format!("unknown: {failure}"));
            let profile = PROFILE.map_or("no profile".to_owned(), |digest| format!("profile {digest}"));
            let build = format!("{ARCH}, {profile}");
            say(format!("version  {VERSION}\ncommit   {COMMIT}\nbuild    {build}\nsidecar  {}", printable(&sidecar)));
        }
        Ok(())
    })
}

/// Of the sidecar, from its description of its API, which it serves to everyone.
async fn version(flags: &SidecarFlags) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Description {
        info: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        version: String,
    }
    let sidecar = flags.sidecar()?;
    let asked = tokio::time::timeout(TIMEOUT, sidecar.ask("GET", "/openapi.json")).await;
    let body = asked.map_err(|_| sidecar.silent(&format!("nothing within {} s", TIMEOUT.as_secs())))??;
    let description: Description = serde_json::from_slice(&body).map_err(|error| not_ours(&error))?;
    Ok(description.info.version)
}
