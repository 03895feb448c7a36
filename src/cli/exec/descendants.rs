//! Every descendant of this process, wherever it went: into a process group or a session of its own, or away from a parent
//! that has ended. This process is a subreaper, so that none of them leaves the tree.

use std::collections::BTreeMap;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper,
    wait,
};

/// Makes this process the parent of descendants that lose theirs.
pub fn adopt_orphans() {
    let _ = set_child_subreaper(Some(getpid()));
}

/// A descendant that could still do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    /// Clock ticks since boot, by which a later process of the same id is told from it.
    started: u64,
    pub name: String,
}

impl Process {
    pub fn id(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Sends it a signal, and no other process that may have its id by now.
    fn signal(&self, signal: Signal) -> Result<(), Errno> {
        // The descriptor is the process's before the id is looked at again.
        let descriptor = pidfd_open(self.pid, PidfdFlags::empty());
        if stat(self.id()).is_none_or(|stat| stat.started != self.started) {
            return Ok(());
        }
        match descriptor {
            Ok(descriptor) => pidfd_send_signal(descriptor, signal),
            // A kernel before 5.3.
            Err(_) => kill_process(self.pid, signal),
        }
    }
}

/// What `/proc` says of a process.
struct Stat {
    name: String,
    is_dead: bool,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    // `PID (NAME) STATE PARENT …`; the name may have anything in it.
    let text = String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
    let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of proc(5), counted from 1; the state is the third.
    let started = fields.nth(22 - 5)?.parse().ok()?;
    Some(Stat { name: name.to_owned(), is_dead, parent, started })
}

/// The descendants that live.
pub fn living() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let all: BTreeMap<i32, Stat> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found = vec![getpid().as_raw_pid()];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let living = found[1..].iter().filter_map(|pid| {
        let stat = all.get(pid).filter(|stat| !stat.is_dead)?;
        Some(Process { pid: Pid::from_raw(*pid)?, started: stat.started, name: stat.name.clone() })
    });
    living.collect()
}

/// Sends a signal to each that lives.
pub fn signal(signal: Signal) {
    for process in living() {
        let _ = process.signal(signal);
    }
}

/// Kills all, those that are started meanwhile too, until none is left or `is_over`; those that are left then.
pub async fn kill(pause: std::time::Duration, is_over: impl Fn() -> bool) -> Vec<Process> {
    loop {
        signal(Signal::KILL);
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let left = living();
        if left.is_empty() || is_over() {
            return left;
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_name_of_the_process() {
        let own = stat(getpid().as_raw_pid()).expect("our own");
        let parent = rustix::process::getppid().map(Pid::as_raw_pid);
        assert_eq!((own.is_dead, Some(own.parent)), (false, parent));
        assert!(own.started > 0 && !own.name.is_empty());
    }
}
