//! `lockside show`: who holds one key.

use std::process::ExitCode;

use clap::Args;

use super::client::path_of;
use super::failure::{Failure, not_ours};
use super::sidecar_flags::SidecarFlags;
use super::view::{Holder, Shown, UNKNOWN_OWNER, one_line, printable, span, table};
use super::{run_client, say};

#[derive(Args, Debug)]
pub struct ShowFlags {
    /// The lock to show
    #[arg(value_name = "KEY")]
    key: String,

    /// The response as JSON, for machines
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

pub const HELP: &str = "\
Exit code 0 whether the lock is held or free.

Example: lockside show orders/1234
Example: lockside show --json orders/1234 | jq -r .state";

pub fn run(flags: &ShowFlags) -> ExitCode {
    run_client(async {
        let body = flags.sidecar.sidecar()?.ask("GET", &path_of(&flags.key)).await?;
        let shown: Shown = serde_json::from_slice(&body).map_err(|error| not_ours(&error))?;
        if flags.json {
            say(String::from_utf8_lossy(&body));
        } else {
            say(for_people(&flags.key, &shown));
        }
        Ok::<(), Failure>(())
    })
}

fn for_people(key: &str, shown: &Shown) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:9}  {}", printable(&value)));
    line("key", key.to_owned());
    match &shown.holder {
        None => line("state", "free".to_owned()),
        Some(_) if shown.shared_by.is_some() => {
            line("state", shown.state.clone());
            line("mode", "shared".to_owned());
            line("shared by", shown.shared_by.unwrap_or_default().to_string());
        }
        Some(holder) => {
            line("state", shown.state.clone());
            let kind = holder.kind.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
            match &holder.owner {
                Some(owner) => line("owner", format!("{owner}{kind}")),
                None => line("owner", UNKNOWN_OWNER.to_owned()),
            }
            let left = holder.valid_for_ms.map(|ms| format!(" ({})", span(ms))).unwrap_or_default();
            let known = [
                ("mode", holder.mode()),
                ("token", holder.token.map(|token| token.to_string())),
                ("since", holder.since.clone()),
                ("valid", holder.valid_until.as_ref().map(|until| format!("until {until}{left}"))),
                ("meta", holder.meta.as_ref().map(|meta| one_line(meta.get()))),
            ];
            known
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .for_each(|(name, value)| line(name, value));
        }
    }
    line("waiters", shown.waiters.to_string());
    if !shown.holders.is_empty() {
        lines.push(format!("\n{}", holders(&shown.holders)));
    }
    lines.join("\n")
}

/// Those who share a lock, a line each.
fn holders(holders: &[Holder]) -> String {
    let cell = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let row = |holder: &Holder| {
        let released = if holder.state.as_deref() == Some("resting") { " (released)" } else { "" };
        vec![
            format!("{}{released}", holder.name()),
            cell(holder.place()),
            cell(holder.limit.map(|limit| limit.to_string())),
            cell(holder.token.map(|token| token.to_string())),
            cell(holder.valid_for_ms.map(span)),
        ]
    };
    table(&["OWNER", "HOST", "LIMIT", "TOKEN", "VALID FOR"], &holders.iter().map(row).collect::<Vec<_>>())
}
