//! The subcommands, and what they share: parsing, logging, exit codes.

mod acl;
mod check;
mod client;
mod completions;
mod dev;
mod elect;
mod exec;
mod failure;
mod health;
mod inject;
mod install;
mod ls;
mod man;
mod parse;
mod place;
mod policy;
mod release;
mod serve;
mod show;
mod sidecar_flags;
mod version;
mod view;
mod watch;
mod webhook;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Flags;

/// Exit codes, after sysexits.h.
mod exit {
    /// The command line or a setting is wrong.
    pub const USAGE: u8 = 64;
    /// What is needed is not there: a sidecar, a redis-server.
    pub const UNAVAILABLE: u8 = 69;
    /// The lock was lost, and something that runs under it could not be stopped.
    pub const NOT_STOPPED: u8 = 71;
    /// Another owner has the lock, or had it for as long as the command was to wait.
    pub const NOT_ACQUIRED: u8 = 75;
    /// The lock was lost under the command.
    pub const LOST: u8 = 76;
    /// The credentials are not good, or not enough.
    pub const NOT_ALLOWED: u8 = 77;
    /// Something failed that should not.
    pub const FAILURE: u8 = 1;
    /// The command is there and cannot be executed, as shells say it.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// There is no such command, as shells say it.
    pub const NOT_FOUND: u8 = 127;
}

/// A distributed lock sidecar: locks over HTTP on localhost, kept in a Redis that all sidecars share.
#[derive(Parser, Debug)]
#[command(name = "lockside", version, arg_required_else_help = true)]
#[command(max_term_width = 120, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Help texts are written one paragraph a line, and wrapped to the terminal; a line that must stay as it is, an example or
// one that begins with spaces, fits into 80 columns.
const EXAMPLES: &str = "\
Try it locally, with a private Redis and a ready-made cookie:
  lockside dev

Run it next to an app:
  lockside serve --redis-url redis://redis:6379 --jwt-secret-file jwt.secret

Inspect locks and act on them from a shell:
  lockside ls
  lockside exec nightly-report -- ./report.sh

Every flag of serve is an environment variable too: --redis-url is LOCKSIDE_REDIS_URL.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve the lock APIs, for production
    #[command(after_help = SERVE_HELP)]
    Serve(Box<Flags>),
    /// Check the settings of serve, Redis and the machine, and say what to change
    #[command(after_help = check::HELP)]
    Check(Box<check::CheckFlags>),
    /// Run lockside locally with a private Redis and a JWT key, and print what to try
    #[command(mut_arg("ops_listen", |arg| {
        arg.default_value("127.0.0.1:9420").help("Listener for /metrics, /healthz, /readyz and /leader/NAME, nothing else")
    }))]
    Dev(Box<dev::DevFlags>),
    /// Liveness or readiness check, for container probes (exit 0 or 69)
    Health(health::HealthFlags),
    /// Run a command under a lock
    #[command(after_help = exec::HELP)]
    Exec(Box<exec::ExecFlags>),
    /// What `exec` starts to watch over the command
    #[command(hide = true)]
    ExecGuard(Box<exec::ExecFlags>),
    /// What `exec` starts to become the command
    #[command(hide = true)]
    ExecLaunch(exec::LaunchFlags),
    /// What `exec` becomes when Ctrl-C ended the command
    #[command(hide = true)]
    ExecInterrupted,
    /// List locks and their holders
    #[command(after_help = ls::HELP)]
    Ls(ls::LsFlags),
    /// Show a lock's holder and number of waiters
    #[command(after_help = show::HELP)]
    Show(show::ShowFlags),
    /// Stream the events of a lock, or of all locks with a prefix
    #[command(after_help = watch::HELP)]
    Watch(watch::WatchFlags),
    /// Release a lease, or force-release a lock
    #[command(after_help = release::HELP)]
    Release(release::ReleaseFlags),
    /// Show who leads an election, or resign from it
    #[command(after_help = elect::HELP)]
    Elect(elect::ElectFlags),
    /// Explain what a policy file decides
    #[command(after_help = policy::HELP)]
    Policy(policy::PolicyFlags),
    /// Print the ACL user that a namespace needs in Redis
    #[command(after_help = acl::HELP)]
    Acl(acl::AclFlags),
    /// Add the sidecar to Kubernetes manifests: YAML in, YAML out
    #[command(after_help = inject::HELP)]
    Inject(inject::InjectFlags),
    /// Add the sidecar to labelled pods of a cluster, as an admission webhook
    #[command(after_help = webhook::HELP, override_usage = webhook::USAGE)]
    Webhook(webhook::WebhookFlags),
    /// Copy this binary into a directory, for `exec` in the containers of an app
    #[command(after_help = install::HELP)]
    Install(install::InstallFlags),
    /// Show the version and commit of this binary, and the version of the sidecar
    #[command(after_help = version::HELP)]
    Version(version::VersionFlags),
    /// Print completions for a shell
    #[command(after_help = completions::HELP)]
    Completions(completions::CompletionsFlags),
    /// Print the man page, or write one for each command
    #[command(after_help = man::HELP)]
    Man(man::ManFlags),
}

const SERVE_HELP: &str = "\
Invalid settings are all reported at startup (exit 64). Redis may be down at startup: /healthz is 200 and /readyz 503 \
until it is up. SIGTERM drains and exits 0.

Example: lockside serve --redis-url redis://redis:6379 \\
           --redis-password-file /run/secrets/redis --user-directory \\
           --jwt-public-key-file /etc/lockside/jwt.pem --log-format json";

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match parse::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Check(flags) => check::run(&flags),
        Command::Dev(flags) => dev::run(&flags),
        Command::Health(flags) => health::run(&flags),
        Command::Exec(flags) => exec::run(&flags),
        Command::ExecGuard(flags) => exec::guard(&flags),
        Command::ExecLaunch(flags) => exec::launch(&flags),
        Command::ExecInterrupted => exec::interrupted(),
        Command::Ls(flags) => ls::run(&flags),
        Command::Show(flags) => show::run(&flags),
        Command::Watch(flags) => watch::run(&flags),
        Command::Release(flags) => release::run(&flags),
        Command::Elect(flags) => elect::run(&flags),
        Command::Policy(flags) => policy::run(&flags),
        Command::Acl(flags) => acl::run(&flags),
        Command::Inject(flags) => inject::run(&flags),
        Command::Webhook(flags) => webhook::run(&flags),
        Command::Install(flags) => install::run(&flags),
        Command::Version(flags) => version::run(&flags),
        Command::Completions(flags) => completions::run(&flags),
        Command::Man(flags) => man::run(&flags),
    }
}

/// The command line as it is documented: without what lockside starts by itself.
fn documented() -> clap::Command {
    let whole = Cli::command();
    let known = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("lockside")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .after_help(whole.get_after_help().cloned().unwrap_or_default())
        .subcommand_required(true)
        .subcommands(known)
}

/// Runs what asks a sidecar to its end, tells what went wrong, and gives the exit code.
fn run_client(work: impl Future<Output = Result<(), failure::Failure>>) -> ExitCode {
    match runtime().map(|runtime| runtime.block_on(work)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => ExitCode::from(failure.tell()),
        Err(code) => code,
    }
}

/// One thread for everything that a command does.
fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        complain(format!("cannot start: {error}"));
        ExitCode::from(exit::FAILURE)
    })
}

/// Writes a line for people. A closed pipe is no reason to fail.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes an error for people. What it quotes may hold anything: nothing of it is obeyed by a terminal.
fn complain(line: impl std::fmt::Display) {
    use std::io::Write;
    let mut text = String::new();
    for c in line.to_string().chars() {
        match c {
            '\n' => text.push(c),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    let _ = writeln!(std::io::stderr(), "lockside: {text}");
}
