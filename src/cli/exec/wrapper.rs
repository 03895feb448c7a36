//! The wrapper: what the caller sees of `lockside exec`. Starts the supervisor, passes signals on to it, shares the terminal
//! with the command, and returns the exit code. Decides nothing about the lock.

use std::future::poll_fn;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as Number, WaitOptions, kill_current_process_group, kill_process, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::command::die_of_interrupt;
use super::descendants::{self, adopt_orphans};
use super::ipc::{Channel, FromSupervisor, FromWrapper};
use super::supervisor;
use super::terminal::Terminal;
use super::{ExecFlags, passed_on};
use crate::cli::{complain, exit, runtime};

/// How long what is killed may take to be gone, and how often to look.
const DYING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

pub fn run(flags: &ExecFlags) -> ExitCode {
    if let Err(failure) = flags.sidecar.sidecar() {
        return ExitCode::from(failure.tell());
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(async {
        match Wrapper::start() {
            Ok(mut wrapper) => wrapper.attend().await,
            Err(error) => {
                complain(format!("cannot start: {error}"));
                exit::FAILURE
            }
        }
    });
    ExitCode::from(code)
}

struct Wrapper {
    supervisor: Pid,
    channel: Channel,
    signals: Vec<(Number, Signal)>,
    /// Of the supervisor.
    changes: Signal,
    resumed: Signal,
    terminal: Option<Terminal>,
    running: Option<Running>,
    /// Whether a SIGINT came to us, and not to the command from its terminal.
    has_passed_interrupt: bool,
}

/// A command under its lock.
struct Running {
    group: Pid,
    /// Open as long as we live, so that the lock is not released before the command of a dead supervisor is dead, too.
    _hold: Option<OwnedFd>,
}

impl Wrapper {
    fn start() -> std::io::Result<Wrapper> {
        let (channel, theirs) = Channel::pair()?;
        // Before there is a child, so that no signal is missed.
        let passed_on = passed_on().map(|number| Ok((number, signal(SignalKind::from_raw(number.as_raw()))?)));
        let signals = passed_on.collect::<std::io::Result<_>>()?;
        let changes = signal(SignalKind::child())?;
        let resumed = signal(SignalKind::from_raw(Number::CONT.as_raw()))?;
        adopt_orphans();
        let mut supervisor = Command::new(std::env::current_exe()?);
        // Everything after `exec`. In a group of its own, which no terminal and no killer of our group reaches.
        supervisor.arg("exec-guard").args(std::env::args_os().skip(2)).process_group(0);
        let supervisor = supervisor.stdin(Stdio::from(theirs)).spawn()?;
        channel.send(&FromWrapper::Begin, Some(std::io::stdin().as_fd()));
        let supervisor = Pid::from_child(&supervisor);
        Ok(Wrapper {
            supervisor,
            channel,
            signals,
            changes,
            resumed,
            terminal: Terminal::open(),
            running: None,
            has_passed_interrupt: false,
        })
    }

    /// Lasts as long as the supervisor; the exit code.
    async fn attend(&mut self) -> u8 {
        let mut is_heard = true;
        loop {
            if let Some(code) = self.look_after_supervisor().await {
                return self.finish(code);
            }
            tokio::select! {
                message = self.channel.receive(), if is_heard => match message {
                    Some((FromSupervisor::Ready(group), hold)) => self.ready(group, hold),
                    Some((FromSupervisor::Stopped(signal), _)) => self.stopped(signal),
                    None => is_heard = false,
                },
                number = next_of(&mut self.signals) => {
                    if let Some(code) = self.pass_on(number) {
                        return code;
                    }
                }
                _ = self.resumed.recv() => self.resume(),
                _ = self.changes.recv() => {}
            }
        }
    }

    /// Continues a supervisor that was stopped; the exit code of one that has ended.
    async fn look_after_supervisor(&mut self) -> Option<u8> {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if pid != self.supervisor {
                continue;
            }
            if status.stopped() {
                let _ = kill_process(self.supervisor, Number::CONT);
                continue;
            }
            return Some(match status.exit_status().and_then(|code| u8::try_from(code).ok()) {
                Some(code) => code,
                None => self.replace_supervisor().await,
            });
        }
        None
    }

    /// Kills the command of a supervisor that was killed, and its descendants. Once this process ends, the lock is released.
    async fn replace_supervisor(&self) -> u8 {
        complain("the supervisor process was killed; killing the command");
        let deadline = Instant::now() + DYING;
        supervisor::lost(&descendants::kill(LOOK, || Instant::now() >= deadline).await)
    }

    fn ready(&mut self, group: i32, hold: Option<OwnedFd>) {
        let Some(group) = Pid::from_raw(group) else { return };
        self.running = Some(Running { group, _hold: hold });
        if let Some(terminal) = &self.terminal {
            terminal.share(group);
        }
        self.channel.send(&FromWrapper::Run, None);
    }

    /// Passes a signal on; where there is no command yet, it is meant for us: the exit code of dying of it.
    fn pass_on(&mut self, number: Number) -> Option<u8> {
        if self.running.is_some() {
            self.has_passed_interrupt |= number == Number::INT;
            self.channel.send(&FromWrapper::Signal(number.as_raw()), None);
            return None;
        }
        if number == Number::TSTP {
            stop_the_job();
            return None;
        }
        // The supervisor sees that we are gone, and gives up waiting.
        u8::try_from(128 + number.as_raw()).ok()
    }

    /// The command was stopped: so is the whole job, unless it only wanted the terminal.
    fn stopped(&mut self, signal: i32) {
        let (Some(terminal), Some(running)) = (&mut self.terminal, &self.running) else { return };
        let wants_terminal = [Number::TTIN, Number::TTOU].iter().any(|number| number.as_raw() == signal);
        if !(wants_terminal && terminal.give(running.group)) {
            terminal.take_back(running.group);
            stop_the_job();
        }
        self.resume();
    }

    /// The job goes on, in the foreground or not.
    fn resume(&mut self) {
        if let Some(running) = &self.running {
            if let Some(terminal) = &self.terminal {
                terminal.share(running.group);
            }
            self.channel.send(&FromWrapper::Continue, None);
        }
    }

    /// Takes the terminal back. Without lockside, a Ctrl-C that ends the command would reach the rest of the job, too,
    /// and a shell stops its script or loop when it sees that a command died of it.
    fn finish(&self, code: u8) -> u8 {
        let (Some(terminal), Some(running)) = (&self.terminal, &self.running) else { return code };
        let had_terminal = terminal.take_back(running.group);
        if had_terminal && !self.has_passed_interrupt && i32::from(code) == 128 + Number::INT.as_raw() {
            let _ = kill_current_process_group(Number::INT);
            die_of_interrupt();
        }
        code
    }
}

/// Stops our process group, as Ctrl-Z does, by a signal that we do not catch; returns once the shell continues it. Where
/// no shell could, the kernel lets the signal be.
fn stop_the_job() {
    let _ = kill_current_process_group(Number::TTOU);
}

/// The next signal that came.
async fn next_of(signals: &mut [(Number, Signal)]) -> Number {
    poll_fn(|cx| {
        let mut all = signals.iter_mut();
        let came = all.find_map(|(number, signal)| signal.poll_recv(cx).is_ready().then_some(*number));
        came.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
