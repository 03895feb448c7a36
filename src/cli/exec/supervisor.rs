//! The supervisor: holds the lock, runs the command under it, and sees to it that no command outlives its lock.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::command::{Change, Group};
use super::descendants;
use super::hold_stream::{Event, Hold, Lease};
use super::ipc::{Channel, FromSupervisor, FromWrapper};
use super::kill_timer::{Act, Heartbeat, KillTimer, Moment};
use super::{ExecFlags, passed_on, wait};
use crate::cli::client::{Sidecar, path_of};
use crate::cli::failure::Failure;
use crate::cli::view::printable;
use crate::cli::{complain, exit, runtime};

/// How long a release may take before the end of the stream has to do for it.
const RELEASE: Duration = Duration::from_secs(1);
/// How long what is killed may take to be gone.
const DYING: Duration = Duration::from_secs(1);
/// How often to look whether what is dying is gone.
const LOOK: Duration = Duration::from_millis(20);

pub fn run(flags: &ExecFlags) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    ExitCode::from(runtime.block_on(async {
        match guard(flags).await {
            Ok(code) | Err(code) => code,
        }
    }))
}

async fn guard(flags: &ExecFlags) -> Result<u8, u8> {
    // What is meant for the command comes through the wrapper; what comes here is not obeyed.
    let _deaf: Vec<Signal> =
        passed_on().filter_map(|number| signal(SignalKind::from_raw(number.as_raw())).ok()).collect();
    let children = signal(SignalKind::child()).map_err(|error| broken(&error))?;
    let wrapper =
        std::io::stdin().as_fd().try_clone_to_owned().and_then(Channel::of).map_err(|error| broken(&error))?;
    let Some((FromWrapper::Begin, Some(stdin))) = wrapper.receive().await else { return Err(exit::USAGE) };
    let sidecar = flags.sidecar.sidecar().map_err(Failure::tell)?;

    let mut heartbeat = Heartbeat::start(Moment::now(), flags.ttl);
    let (hold, lease) = acquire(&sidecar, flags, &wrapper, &mut heartbeat).await?;
    // A cap may be shorter than the ttl: what is left for an end in order follows from what is promised.
    let ttl = flags.ttl.min(lease.valid_for());
    let kill_timer = KillTimer::new(heartbeat.heard(), lease.valid_for(), ttl);
    let all = lease.named();
    let environment = [
        ("LOCKSIDE_KEY", Some(flags.key.as_str().to_owned())),
        ("LOCKSIDE_TOKEN", Some(lease.token.to_string())),
        ("LOCKSIDE_VALID_UNTIL", Some(lease.valid_until)),
        ("LOCKSIDE_LEASES", lease.all),
        ("LOCKSIDE_MODE", Some(lease.mode)),
        ("LOCKSIDE_LIMIT", lease.limit.map(|limit| limit.to_string())),
    ];
    let group = Group::launch(&flags.command, environment, stdin).map_err(|error| broken(&error))?;
    let mut supervisor = Supervisor {
        wrapper: Some(wrapper),
        hold: Some(hold),
        group,
        children,
        heartbeat,
        kill_timer,
        key: printable(flags.key.as_str()),
        capped_from: flags.terms.max_hold.map(|max_hold| Instant::now() + max_hold.saturating_sub(ttl)),
        is_running: false,
        ended: None,
        is_lost: false,
    };
    let code = supervisor.watch().await;
    if supervisor.hold.is_some() && code != exit::NOT_STOPPED {
        release(&sidecar, flags, lease.token, all).await;
    }
    Ok(code)
}

/// So that the lock is free, or rests, when we have ended, and not only soon after. The stream goes after it, which keeps the
/// lock meanwhile.
async fn release(sidecar: &Sidecar, flags: &ExecFlags, token: u64, all: Option<Bytes>) {
    if let Some(all) = all {
        let _ = tokio::time::timeout(RELEASE, sidecar.tell("POST", "/v1/bundles/release", all)).await;
        return;
    }
    let path = format!("{}?token={token}", path_of(flags.key.as_str()));
    let Some(rest) = flags.terms.rest else {
        let _ = tokio::time::timeout(RELEASE, sidecar.ask("DELETE", &path)).await;
        return;
    };
    // The end of the stream does not do for this: the lock would be free at once.
    let path = format!("{path}&restMs={}", rest.as_millis());
    let give_up = Instant::now() + flags.ttl.max(RELEASE);
    let mut may_be_done = false;
    let why = loop {
        let (why, is_final) = match tokio::time::timeout_at(give_up, sidecar.ask("DELETE", &path)).await {
            Ok(Ok(_)) => return,
            Ok(Err(Failure::Refused(problem))) if problem.code == "lost" && may_be_done => return,
            Ok(Err(Failure::Refused(problem))) => (problem.to_string(), problem.status < 500),
            Ok(Err(failure)) => (failure.to_string(), false),
            Err(_) => ("no reply in time".to_owned(), true),
        };
        if is_final || Instant::now() >= give_up {
            break why;
        }
        may_be_done = true;
        tokio::time::sleep(LOOK).await;
    };
    complain(format!("`{}` does not stay taken for --rest: {why}", printable(flags.key.as_str())));
}

/// Waits for the lock, for as long as there is a wrapper.
async fn acquire(
    sidecar: &Sidecar,
    flags: &ExecFlags,
    wrapper: &Channel,
    heartbeat: &mut Heartbeat,
) -> Result<(Hold, Lease), u8> {
    let acquired = wait::acquire(sidecar, flags);
    tokio::pin!(acquired);
    loop {
        tokio::select! {
            // First, so that what was heard is judged by the beats before it.
            biased;
            acquired = &mut acquired => return acquired,
            message = wrapper.receive::<FromWrapper>() => if message.is_none() { return Err(exit::NOT_ACQUIRED) },
            () = tokio::time::sleep(heartbeat.every()) => heartbeat.beat(Moment::now()),
        }
    }
}

struct Supervisor {
    /// `None` once it is gone.
    wrapper: Option<Channel>,
    /// `None` once the lock is lost.
    hold: Option<Hold>,
    group: Group,
    children: Signal,
    heartbeat: Heartbeat,
    kill_timer: KillTimer,
    key: String,
    /// From when on no renewal promises a whole ttl.
    capped_from: Option<Instant>,
    /// Past its start, where it waits to be run.
    is_running: bool,
    ended: Option<u8>,
    is_lost: bool,
}

impl Supervisor {
    /// Lasts as long as the command; its exit code, or that the lock was lost.
    async fn watch(&mut self) -> u8 {
        loop {
            let now = Moment::now();
            self.heartbeat.beat(now);
            self.look_after_command();
            match self.kill_timer.due(now) {
                Some(Act::Terminate) => self.terminate(),
                Some(Act::Kill) => return self.kill().await,
                None => {}
            }
            if let Some(code) = self.ended
                && (!self.kill_timer.is_stopping() || descendants::living().is_empty())
            {
                return if self.is_lost { exit::LOST } else { code };
            }
            let nap = self.kill_timer.left(now).min(if self.ended.is_some() { LOOK } else { self.heartbeat.every() });
            tokio::select! {
                // First, so that what was heard is judged by the beats before it.
                biased;
                event = heard(&mut self.hold) => self.hear(event),
                message = received(self.wrapper.as_ref()) => self.obey(message),
                _ = self.children.recv() => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    fn hear(&mut self, event: Option<Event>) {
        let said = self.heartbeat.heard();
        match event {
            Some(Event::Renewed { valid_for_ms }) => self.kill_timer.renewed(said, Duration::from_millis(valid_for_ms)),
            Some(Event::Draining { grace_ms }) => self.kill_timer.ends_within(said, Duration::from_millis(grace_ms)),
            Some(Event::Lost { reason, key }) => self.lose_one(key, &printable(&reason)),
            Some(Event::Released { key }) => self.lose_one(key, "released"),
            Some(Event::Waiting(_) | Event::Refused(_) | Event::Acquired(_) | Event::Unknown) => {}
            None => self.lose("the connection to the sidecar was lost"),
        }
    }

    /// One of the locks, by its key where there are several.
    fn lose_one(&mut self, key: Option<String>, why: &str) {
        if let Some(key) = key {
            self.key = printable(&key);
        }
        self.lose(why);
    }

    fn lose(&mut self, why: &str) {
        self.hold = None;
        if self.ended.is_none() && !self.is_lost {
            self.is_lost = true;
            complain(format!("lost `{}`: {why}; stopping the command", self.key));
        }
        self.kill_timer.lost(Moment::now());
    }

    fn obey(&mut self, message: Option<FromWrapper>) {
        match message {
            Some(FromWrapper::Run) => {
                self.is_running = true;
                self.group.resume();
            }
            Some(FromWrapper::Signal(number)) => {
                if let Some(signal) = Number::from_named_raw(number) {
                    self.group.signal(signal);
                }
            }
            Some(FromWrapper::Continue) if self.is_running => self.group.resume(),
            Some(FromWrapper::Begin | FromWrapper::Continue) => {}
            None => {
                self.wrapper = None;
                self.kill_timer.stop(Moment::now());
            }
        }
    }

    fn look_after_command(&mut self) {
        let Some(wrapper) = &self.wrapper else {
            if let Some(Change::Ended(code)) = self.group.change() {
                self.ended = Some(code);
            }
            return;
        };
        match self.group.change() {
            Some(Change::Stopped(_)) if !self.is_running => {
                let socket = self.hold.as_ref().map(|hold| hold.socket.as_fd());
                wrapper.send(&FromSupervisor::Ready(self.group.id()), socket);
            }
            Some(Change::Stopped(signal)) => wrapper.send(&FromSupervisor::Stopped(signal), None),
            Some(Change::Ended(code)) => self.ended = Some(code),
            None => {}
        }
    }

    fn terminate(&mut self) {
        if self.wrapper.is_some() && !self.is_lost && self.ended.is_none() {
            self.is_lost = true;
            let is_capped = self.capped_from.is_some_and(|from| Instant::now() >= from);
            let why = if is_capped { "--max-hold is over for" } else { "cannot renew" };
            complain(format!("{why} `{}`; stopping the command before the lease expires", self.key));
        }
        descendants::signal(Number::TERM);
        // What is stopped must run to see it.
        descendants::signal(Number::CONT);
    }

    /// Kills the command and all its descendants, and returns once they are gone.
    async fn kill(&self) -> u8 {
        let deadline = Moment::now() + DYING;
        let left = descendants::kill(LOOK, || Moment::now() >= deadline).await;
        lost(&left)
    }
}

/// The exit code of a lost lock; names what could not be killed.
pub fn lost(left: &[descendants::Process]) -> u8 {
    for process in left {
        let name = printable(&process.name);
        complain(format!("cannot kill process {} ({name}): it runs on without the lock", process.id()));
    }
    if left.is_empty() { exit::LOST } else { exit::NOT_STOPPED }
}

async fn heard(hold: &mut Option<Hold>) -> Option<Event> {
    match hold {
        Some(hold) => hold.event().await,
        None => std::future::pending().await,
    }
}

async fn received(wrapper: Option<&Channel>) -> Option<FromWrapper> {
    match wrapper {
        Some(wrapper) => wrapper.receive().await.map(|(message, _)| message),
        None => std::future::pending().await,
    }
}

fn broken(error: &std::io::Error) -> u8 {
    complain(format!("cannot start: {error}"));
    exit::FAILURE
}
