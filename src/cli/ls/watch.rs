//! The list again and again. Ctrl-C is left to do what it does to any program: nothing of the terminal needs to be put
//! back.

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::value::RawValue;
use tokio::time::MissedTickBehavior;

use super::{LsFlags, columns, count, read_all};
use crate::cli::client::Sidecar;
use crate::cli::failure::Failure;
use crate::cli::view::printable;
use crate::cli::{complain, say};

const EVERY: Duration = Duration::from_secs(1);
/// Of a terminal that does not know its height.
const HEIGHT: usize = 24;

/// Lists until stdout is closed. Only the first list must succeed: a sidecar may restart while it is watched.
pub async fn run(sidecar: &Sidecar, flags: &LsFlags) -> Result<(), Failure> {
    let is_screen = stdout().is_terminal() && !flags.is_json();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        ticks.tick().await;
        if is_closed() {
            return Ok(());
        }
        match list(sidecar, flags).await {
            Ok((table, locks)) if is_screen => redraw(&table, locks, is_first),
            Ok((text, _)) if is_first || flags.is_json() => say(text),
            Ok((text, _)) => say(format!("\n{text}")),
            Err(failure) if !is_first && may_pass(&failure) && is_screen => show(&failure),
            Err(failure) if !is_first && may_pass(&failure) => complain(failure),
            Err(failure) => return Err(failure),
        }
        is_first = false;
    }
}

/// What is shown, and of how many locks.
async fn list(sidecar: &Sidecar, flags: &LsFlags) -> Result<(String, usize), Failure> {
    let locks = read_all(sidecar, flags).await?;
    let text = if flags.is_json() { json(&locks) } else { columns::table(&locks, flags.is_wide())? };
    Ok((text, locks.len()))
}

fn json(locks: &[Box<RawValue>]) -> String {
    format!("[{}]", locks.iter().map(|lock| lock.get()).collect::<Vec<_>>().join("\n,"))
}

/// Over what stands on the screen: it does not flicker. Lines end at the right margin.
fn redraw(table: &str, locks: usize, is_first: bool) {
    let height = rustix::termios::tcgetwinsize(stdout()).map_or(0, |size| usize::from(size.ws_row));
    let height = if height == 0 { HEIGHT } else { height };
    // Below the table, the number of locks and the line of the cursor; above, its head.
    let shown = locks.min(height.saturating_sub(3));
    let mut screen = if is_first { "\x1b[2J".to_owned() } else { String::new() };
    screen += "\x1b[H\x1b[?7l";
    for line in table.lines().take(shown + 1) {
        screen += line;
        screen += "\x1b[K\n";
    }
    screen += &count(locks);
    if shown < locks {
        screen += &format!(", the first {shown} shown");
    }
    screen += "\x1b[K\x1b[?7h\n\x1b[J";
    let mut out = stdout();
    let _ = out.write_all(screen.as_bytes()).and_then(|()| out.flush());
}

/// Instead of the list, which is not known.
fn show(failure: &Failure) {
    let text = printable(&failure.to_string());
    let mut out = stdout();
    let _ = writeln!(out, "\x1b[H\x1b[J{text}").and_then(|()| out.flush());
}

fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::NoSidecar(_) | Failure::Broken(_) => true,
        Failure::Refused(problem) => problem.status == 429 || problem.status >= 500,
        Failure::Usage(_) | Failure::Declined(_) => false,
    }
}

/// Whether what reads our output has closed it, as `head` does.
fn is_closed() -> bool {
    let out = stdout();
    let mut ends = [PollFd::new(&out, PollFlags::empty())];
    let asked = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    asked.is_ok() && ends[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
