//! The command, in a process group of its own: started, signalled, watched. Knows no lock.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, kill_process_group, set_parent_process_death_signal,
    test_kill_process_group, wait,
};

use super::descendants::adopt_orphans;
use crate::cli::{complain, exit};

/// The start of a command: `lockside exec-launch`, which becomes the command.
#[derive(Args, Debug)]
pub struct LaunchFlags {
    /// The supervisor; the command does not outlive it
    #[arg(long)]
    supervisor: i32,

    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Stops until the supervisor says run, and becomes the command. As a process of its own, so that the terminal is the
/// command's before its first instruction, and so that the kernel kills it should the supervisor be killed.
pub fn launch(flags: &LaunchFlags) -> ExitCode {
    let tied = set_parent_process_death_signal(Some(Signal::KILL));
    let is_orphan = getppid().map(Pid::as_raw_pid) != Some(flags.supervisor);
    if tied.is_err() || is_orphan || kill_process(getpid(), Signal::STOP).is_err() {
        return ExitCode::from(exit::LOST);
    }
    let [program, args @ ..] = &flags.command[..] else { return ExitCode::from(exit::USAGE) };
    let error = Command::new(program).args(args).exec();
    let program = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            complain(format!("cannot run `{program}`: no such command"));
            ExitCode::from(exit::NOT_FOUND)
        }
        _ => {
            complain(format!("cannot run `{program}`: {error}"));
            ExitCode::from(exit::NOT_EXECUTABLE)
        }
    }
}

/// Becomes a process that dies of Ctrl-C, which one that catches SIGINT cannot. Returns only where that fails.
pub fn die_of_interrupt() {
    if let Ok(program) = std::env::current_exe() {
        let _ = Command::new(program).arg("exec-interrupted").exec();
    }
}

/// `lockside exec-interrupted`: dies of SIGINT.
pub fn interrupted() -> ExitCode {
    let _ = kill_process(getpid(), Signal::INT);
    ExitCode::from(128 + 2)
}

/// What became of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Stopped by a signal.
    Stopped(i32),
    /// Ended, with the exit code that a shell would give.
    Ended(u8),
}

/// The command's process group.
pub struct Group {
    leader: Pid,
    has_ended: bool,
}

impl Group {
    /// Starts the launcher of a command, without those variables that have no value here; it stops, and runs with the first [`Group::resume`].
    pub fn launch(command: &[OsString], environment: [(&str, Option<String>); 6], stdin: OwnedFd) -> io::Result<Group> {
        adopt_orphans();
        let mut launcher = Command::new(std::env::current_exe()?);
        launcher.args(["exec-launch", "--supervisor", &getpid().to_string(), "--"]).args(command);
        for (name, value) in environment {
            match value {
                Some(value) => launcher.env(name, value),
                None => launcher.env_remove(name),
            };
        }
        let child = launcher.stdin(Stdio::from(stdin)).process_group(0).spawn()?;
        Ok(Group { leader: Pid::from_child(&child), has_ended: false })
    }

    pub fn id(&self) -> i32 {
        self.leader.as_raw_pid()
    }

    /// What changed since the last look; reaps what the command left behind, too, for not every init does.
    pub fn change(&mut self) -> Option<Change> {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if pid != self.leader {
                continue;
            }
            if let Some(signal) = status.stopping_signal() {
                return Some(Change::Stopped(signal));
            }
            self.has_ended = true;
            let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
            return Some(Change::Ended(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILURE)));
        }
        None
    }

    pub fn signal(&self, signal: Signal) {
        if !self.is_empty() {
            let _ = kill_process_group(self.leader, signal);
        }
    }

    /// Lets a stopped command run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// No process of the group is left, not only the command itself.
    fn is_empty(&self) -> bool {
        // Until it is reaped, the leader keeps the number from being another group's; after that its members do.
        self.has_ended && test_kill_process_group(self.leader).is_err()
    }
}
