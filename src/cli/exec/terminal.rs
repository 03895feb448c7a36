//! The terminal that the job runs on, if any: whose signals and input it gives. Knows process groups; knows no lock.

use std::fs::File;
use std::io::IsTerminal;

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, getpgrp};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The controlling terminal.
pub struct Terminal {
    tty: File,
    /// Whether the command should have it whenever it is ours to give.
    is_shared: bool,
}

impl Terminal {
    pub fn open() -> Option<Terminal> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        // In a pipeline another command of the job may want it, such as a pager: then ours gets it when it asks.
        let is_shared = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Some(Terminal { tty, is_shared })
    }

    /// Whether our job is in the foreground.
    pub fn is_ours(&self) -> bool {
        tcgetpgrp(&self.tty).is_ok_and(|group| group == getpgrp())
    }

    /// Gives the terminal to the command, if it is ours and the command should have it.
    pub fn share(&self, group: Pid) {
        if self.is_shared && self.is_ours() {
            let _ = tcsetpgrp(&self.tty, group);
        }
    }

    /// Gives the terminal to a command that was stopped because it used it; `false` where it is not ours.
    pub fn give(&mut self, group: Pid) -> bool {
        if !self.is_ours() {
            return false;
        }
        self.is_shared = true;
        tcsetpgrp(&self.tty, group).is_ok()
    }

    /// Takes the terminal back from the command; `false` where the command did not have it.
    pub fn take_back(&self, group: Pid) -> bool {
        let is_theirs = tcgetpgrp(&self.tty).is_ok_and(|foreground| foreground == group);
        if is_theirs {
            // A process that takes the terminal from the background is stopped by SIGTTOU, unless it is blocked.
            let mask = SigSet::from(Signal::SIGTTOU);
            let blocked = mask.thread_block();
            let _ = tcsetpgrp(&self.tty, getpgrp());
            if blocked.is_ok() {
                let _ = mask.thread_unblock();
            }
        }
        is_theirs
    }
}
