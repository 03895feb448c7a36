//! `lockside ls`: who holds what.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Sidecar, SidecarFlags, encoded};
use super::failure::{Failure, not_ours};
use super::view::{Holder, printable, span, table};
use super::{run_client, say};

#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only keys with this prefix
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// A JSON array of everything known of each lock, for machines
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

pub const HELP: &str = "\
Example: lockside ls --prefix orders/
Example: lockside ls --json | jq -r '.[] | select(.kind == \"user\") | .key'";

/// A page of the list; each lock is as the sidecar wrote it.
#[derive(Deserialize)]
struct Page {
    locks: Vec<Box<RawValue>>,
    next: Option<String>,
}

struct Lock {
    key: String,
    holder: Holder,
}

impl Lock {
    /// In two readings: one for both would read `meta`, too, which may be more than it can.
    fn read(json: &RawValue) -> Result<Lock, serde_json::Error> {
        #[derive(Deserialize)]
        struct Named {
            key: String,
        }
        let Named { key } = serde_json::from_str(json.get())?;
        Ok(Lock { key, holder: serde_json::from_str(json.get())? })
    }
}

pub fn run(flags: &LsFlags) -> ExitCode {
    run_client(async {
        let sidecar = flags.sidecar.sidecar()?;
        if flags.json { print_json(&sidecar, flags).await } else { print_table(&sidecar, flags).await }
    })
}

/// Page by page, so that a long list needs no memory.
async fn print_json(sidecar: &Sidecar, flags: &LsFlags) -> Result<(), Failure> {
    let mut page = read(sidecar, flags, None).await?;
    let mut opening = "[";
    loop {
        for lock in &page.locks {
            say(format!("{opening}{lock}"));
            opening = ",";
        }
        let Some(next) = page.next else { break };
        page = read(sidecar, flags, Some(&next)).await?;
    }
    say(if opening == "[" { "[]" } else { "]" });
    Ok(())
}

async fn print_table(sidecar: &Sidecar, flags: &LsFlags) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut cursor = None;
    loop {
        let page = read(sidecar, flags, cursor.as_deref()).await?;
        for lock in &page.locks {
            let lock = Lock::read(lock).map_err(|error| not_ours(&error))?;
            rows.push(row(&lock));
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    say(table(["KEY", "OWNER", "KIND", "TOKEN", "SINCE", "VALID FOR"], &rows));
    Ok(())
}

fn row(lock: &Lock) -> [String; 6] {
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), printable);
    let holder = &lock.holder;
    [
        printable(&lock.key),
        text(&holder.owner),
        text(&holder.kind),
        holder.token.map_or_else(|| "-".to_owned(), |token| token.to_string()),
        text(&holder.since),
        holder.valid_for_ms.map_or_else(|| "-".to_owned(), span),
    ]
}

async fn read(sidecar: &Sidecar, flags: &LsFlags, cursor: Option<&str>) -> Result<Page, Failure> {
    let mut path = format!("/v1/locks?prefix={}", encoded(flags.prefix.as_deref().unwrap_or_default()));
    if let Some(cursor) = cursor {
        path = format!("{path}&cursor={}", encoded(cursor));
    }
    let body = sidecar.ask("GET", &path).await?;
    serde_json::from_slice(&body).map_err(|error| not_ours(&error))
}
