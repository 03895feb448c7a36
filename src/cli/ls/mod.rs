//! `lockside ls`: who holds what. `columns` makes the table, `watch` repeats it.

mod columns;
mod watch;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Sidecar, encoded};
use super::failure::{Failure, not_ours};
use super::sidecar_flags::SidecarFlags;
use super::{run_client, say};

#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only keys that begin with this
    #[arg(value_name = "PREFIX", conflicts_with = "prefix")]
    only: Option<String>,

    /// The same as PREFIX
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// A JSON array of everything known of each lock, for machines
    #[arg(long, conflicts_with = "output")]
    json: bool,

    /// wide: more columns; json: the same as --json
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Output>,

    /// List again every second until Ctrl-C: on a terminal in place, otherwise one list after the other
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Wide,
    Json,
}

pub const HELP: &str = "\
AGE is for how long the lock has been held, by the clock of Redis; HOST is `host` of its `meta`, as lockside exec \
writes it; - is unknown. Of a lock that was released, and is still taken as its terms say, OWNER had it last.

Example: lockside ls orders/
Example: lockside ls -o wide --watch
Example: lockside ls --json | jq -r '.[] | select(.kind == \"user\") | .key'";

impl LsFlags {
    fn is_json(&self) -> bool {
        self.json || self.output == Some(Output::Json)
    }

    fn is_wide(&self) -> bool {
        self.output == Some(Output::Wide)
    }
}

/// A page of the list; each lock is as the sidecar wrote it.
#[derive(Deserialize)]
struct Page {
    locks: Vec<Box<RawValue>>,
    next: Option<String>,
}

pub fn run(flags: &LsFlags) -> ExitCode {
    run_client(async {
        let sidecar = flags.sidecar.sidecar()?;
        if flags.watch {
            watch::run(&sidecar, flags).await
        } else if flags.is_json() {
            print_json(&sidecar, flags).await
        } else {
            print_table(&sidecar, flags).await
        }
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
    let locks = read_all(sidecar, flags).await?;
    say(columns::table(&locks, flags.is_wide())?);
    let mut stderr = std::io::stderr();
    if std::io::stdout().is_terminal() && stderr.is_terminal() {
        let _ = writeln!(stderr, "{}", count(locks.len()));
    }
    Ok(())
}

fn count(locks: usize) -> String {
    if locks == 1 { "1 lock".to_owned() } else { format!("{locks} locks") }
}

async fn read_all(sidecar: &Sidecar, flags: &LsFlags) -> Result<Vec<Box<RawValue>>, Failure> {
    let Page { mut locks, mut next } = read(sidecar, flags, None).await?;
    while let Some(cursor) = next {
        let page = read(sidecar, flags, Some(&cursor)).await?;
        locks.extend(page.locks);
        next = page.next;
    }
    Ok(locks)
}

async fn read(sidecar: &Sidecar, flags: &LsFlags, cursor: Option<&str>) -> Result<Page, Failure> {
    let prefix = flags.only.as_ref().or(flags.prefix.as_ref());
    let mut path = format!("/v1/locks?prefix={}", encoded(prefix.map_or("", String::as_str)));
    if let Some(cursor) = cursor {
        path = format!("{path}&cursor={}", encoded(cursor));
    }
    let body = sidecar.ask("GET", &path).await?;
    serde_json::from_slice(&body).map_err(|error| not_ours(&error))
}
