//! `lockside exec`: a command under a lock.
//!
//! Three processes, so that the one that must kill the command is never the one that was killed or frozen:
//!
//! ```text
//! wrapper      lockside exec         the caller's child: passes signals on, owns the terminal, returns the exit code
//! supervisor   lockside exec-guard   holds the lock's stream, starts the command, kills all its descendants in time
//! command      lockside exec-launch  the leader of a group of its own; becomes CMD
//! ```
//!
//! A wrapper that is frozen is not needed; when it dies, the supervisor stops the command while it still holds the lock.
//! The wrapper keeps the supervisor running (it continues a stopped one), and when the supervisor dies, the kernel kills the
//! command and the wrapper the rest of its descendants: it has the stream's socket too, so that the sidecar sees the end of the
//! stream, and releases the lock, only after that.

mod command;
mod descendants;
mod hold_stream;
mod ipc;
mod kill_timer;
mod progress;
mod refusal;
mod supervisor;
mod terminal;
mod wait;
mod wrapper;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::exit;
use super::sidecar_flags::SidecarFlags;
use crate::config;
use crate::lock::{Key, Mode};

pub use command::{LaunchFlags, interrupted, launch};
pub use supervisor::run as guard;

/// So much of an interval a run may come too early at most.
const EARLY: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub struct ExecFlags {
    /// Lease duration, at least 100ms; renewed automatically. How long the lock survives if the sidecar dies
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = ttl)]
    ttl: Duration,

    #[command(flatten)]
    wait: WaitFlags,

    #[command(flatten)]
    terms: TermFlags,

    #[command(flatten)]
    mode: ModeFlags,

    /// Another lock to hold, all or none; may be repeated. LOCKSIDE_LEASES lists the leases
    #[arg(long, value_name = "KEY", value_parser = key, conflicts_with_all = TERMS)]
    also: Vec<Key>,

    /// Exit code for a lock that is held, or was for as long as --wait; 1 to 255
    #[arg(short = 'E', long, value_name = "N", default_value_t = exit::NOT_ACQUIRED, value_parser = clap::value_parser!(u8).range(1..))]
    conflict_exit_code: u8,

    /// Do not report on stderr what is waited for
    #[arg(short, long)]
    quiet: bool,

    /// The lock to run under
    #[arg(value_name = "KEY", value_parser = key)]
    key: Key,

    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<OsString>,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

#[derive(Args, Debug)]
struct WaitFlags {
    /// Maximum time to wait for the lock [default: forever]
    #[arg(long, value_name = "DURATION", value_parser = wait_bound)]
    wait: Option<Duration>,

    /// Do not wait for the lock; exit 75 (or --conflict-exit-code) if it is held
    #[arg(long, conflicts_with = "wait")]
    r#try: bool,

    /// Maximum time to wait for a sidecar that never answered, within --wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = wait_bound)]
    connect_wait: Duration,
}

/// What only one lock can have.
const TERMS: [&str; 5] = ["at_most_every", "min_hold", "delay", "max_hold", "rest"];

/// With whom the lock is shared.
#[derive(Args, Debug)]
struct ModeFlags {
    /// Share the lock with others that run with --shared or --limit; those that want it alone wait
    #[arg(long)]
    shared: bool,

    /// Share the lock, and run while fewer than N share it; 1 to 10000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(Mode::MOST)))]
    limit: Option<u16>,
}

impl ModeFlags {
    /// As the command finds it in LOCKSIDE_MODE, and the sidecar in the request.
    fn mode(&self) -> Mode {
        if self.shared || self.limit.is_some() { Mode::Shared { limit: self.limit } } else { Mode::Exclusive }
    }
}

/// When the lock gets free, beyond the lease.
#[derive(Args, Debug)]
struct TermFlags {
    /// Run at most once in this time over all hosts, from start to start; do not wait for the lock. At least 1s
    #[arg(long, value_name = "DURATION", value_parser = interval, conflicts_with_all = ["wait", "min_hold"])]
    at_most_every: Option<Duration>,

    /// Keep the lock taken for at least this long after the grant, even if the command ends earlier
    #[arg(long, value_name = "DURATION", value_parser = wait_bound)]
    min_hold: Option<Duration>,

    /// Keep the lock taken for this long if it ends for any reason other than the command ending
    #[arg(long, value_name = "DURATION", value_parser = wait_bound)]
    delay: Option<Duration>,

    /// Renew the lock for no longer than this, and stop the command before it ends; no less than 2s and --ttl
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    max_hold: Option<Duration>,

    /// Keep the lock taken for this long after the command ends
    #[arg(long, value_name = "DURATION", value_parser = wait_bound)]
    rest: Option<Duration>,
}

impl TermFlags {
    /// How long the lock stays taken from its start on.
    fn min_hold(&self) -> Option<Duration> {
        self.at_most_every.map(|every| every - (every / 10).min(EARLY)).or(self.min_hold)
    }
}

impl ExecFlags {
    fn waits(&self) -> bool {
        !self.wait.r#try && self.terms.at_most_every.is_none()
    }

    /// The longest wait; `None` for no bound.
    fn bound(&self) -> Option<Duration> {
        if self.waits() { self.wait.wait } else { Some(Duration::ZERO) }
    }
}

impl WaitFlags {
    /// The longest wait for a sidecar that never answered.
    fn connect_bound(&self) -> Duration {
        self.wait.map_or(self.connect_wait, |wait| wait.min(self.connect_wait))
    }
}

pub const HELP: &str = "\
The command finds its lock in LOCKSIDE_KEY, LOCKSIDE_TOKEN (fencing token; pass it to the protected resource), \
LOCKSIDE_VALID_UNTIL (the end of the lease when it was granted), LOCKSIDE_MODE (exclusive or shared) and, with --limit, \
LOCKSIDE_LIMIT. With --also they are those of KEY, LOCKSIDE_VALID_UNTIL is the least of all, and LOCKSIDE_LEASES is a JSON array with \
the leases of all. Signals go to its whole process group. When the lock is \
about to be lost, the command and all its descendants get SIGTERM, and a fifth of --ttl later (10 s at most) SIGKILL, \
before the lease ends; after a force-release SIGKILL comes within a second. Background processes left by a command that \
ended by itself continue without the lock.

A wait is reported on stderr after a second, and again when something changes. A sidecar that has not started yet is \
waited for by --connect-wait, also with --try; one that restarts, and its Redis, by --wait.

With --at-most-every one of all hosts runs the command in each interval, as with one cron job for many: the others exit \
75 at once, or -E. The lock stays taken for a tenth less than the interval, at most 1m less: a run that comes a little early \
must not be left out. A command that fails counts as a run. --ttl is how soon another host may take over from one that dies.

With --limit at most N commands run at once over all hosts; with --shared any number, but none beside one that runs without \
either. Waiters are served in order, whichever they want.

Exit code: the command's (128 + n when signal n ended it), or
  64   wrong usage
  69   no sidecar, or Redis is unavailable, or the caller is at its quota, which is not waited for
  71   the lock was lost, and a process of the command could not be killed
  75   held, or not granted in time, or too many waiters, or not yet due again
  76   the lock was lost
  77   not allowed (401, 403)
  126  CMD cannot be executed
  127  no such CMD

Example: lockside exec nightly-report -- ./report.sh --full
Example: lockside exec --at-most-every 10m report -- ./report.sh
Example: lockside exec account-1 --also account-2 -- ./transfer.sh
Example: lockside exec --limit 3 encode -- ./encode.sh
Example: lockside exec --try --ttl 10s job -- sh -c './job \"$LOCKSIDE_TOKEN\"'";

pub fn run(flags: &ExecFlags) -> ExitCode {
    wrapper::run(flags)
}

fn ttl(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::from_millis(100), Duration::from_secs(365 * 24 * 3600))
}

fn interval(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::from_secs(1), Duration::from_secs(365 * 24 * 3600))
}

fn wait_bound(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::ZERO, Duration::from_secs(365 * 24 * 3600))
}

fn key(text: &str) -> Result<Key, String> {
    Key::parse(text).map_err(|error| error.to_string())
}

/// A signal that is passed on, unless our parent had it ignored: what `nohup` or a shell's `&` ignores,
/// we leave ignored, and so does the command.
fn passed_on() -> impl Iterator<Item = rustix::process::Signal> {
    use rustix::process::Signal as S;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    let all = [S::TERM, S::INT, S::HUP, S::QUIT, S::USR1, S::USR2, S::TSTP];
    all.into_iter().filter(move |signal| ignored >> (signal.as_raw() - 1) & 1 == 0)
}
