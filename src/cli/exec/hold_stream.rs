//! The hold stream: acquires a lock, and tells what becomes of it.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::ExecFlags;
use super::progress::{Progress, Standing};
use crate::cli::client::{Sidecar, path_of};
use crate::cli::failure::{Failure, Problem};
use crate::cli::view::Holder;
use crate::lock::Mode;

/// What a response may take beyond the wait that was asked for, and a line of the stream: the sidecar writes one every
/// two seconds.
const SLACK: Duration = Duration::from_secs(10);
/// Longest line of the stream, bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// What the stream tells.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Event {
    /// Where the request stands in the queue.
    #[serde(skip)]
    Waiting(Waiting),
    /// There is no lock.
    #[serde(skip)]
    Refused(Box<Problem>),
    #[serde(skip)]
    Acquired(Lease),
    Renewed {
        valid_for_ms: u64,
    },
    /// The lock is lost, or may be.
    Lost {
        reason: String,
        /// Of several locks the one that is.
        key: Option<String>,
    },
    /// A request with the lock's token has released it.
    Released {
        key: Option<String>,
    },
    /// The sidecar ends and will release the lock.
    Draining {
        grace_ms: u64,
    },
    #[serde(other)]
    Unknown,
}

/// A line of the wait. A field that Redis has not told yet is missing.
#[derive(Debug, Deserialize)]
pub struct Waiting {
    /// Of several locks the one that it waits for.
    pub key: Option<String>,
    pub position: Option<u64>,
    pub holder: Option<Holder>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    pub token: u64,
    /// Missing in the answer of a sidecar that knows exclusive locks alone.
    #[serde(default = "exclusive")]
    pub mode: String,
    pub limit: Option<u16>,
    valid_for_ms: u64,
    pub valid_until: String,
    /// The leases of all locks, as the sidecar wrote them, where there are several; this is the first of them.
    #[serde(skip)]
    pub all: Option<String>,
}

/// The leases of several locks, of which that of KEY is the first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leases<'a> {
    #[serde(borrow)]
    leases: Vec<&'a RawValue>,
    valid_for_ms: u64,
}

fn exclusive() -> String {
    Mode::Exclusive.label().to_owned()
}

impl Lease {
    /// The lease of a line, or of several the first, with what all of them promise.
    fn read(line: &[u8]) -> Option<Lease> {
        let Ok(Leases { leases, valid_for_ms }) = serde_json::from_slice(line) else {
            return serde_json::from_slice(line).ok();
        };
        let read: Vec<Lease> =
            leases.iter().map(|lease| serde_json::from_str(lease.get()).ok()).collect::<Option<_>>()?;
        // Times of one form: the earliest is the first by its letters.
        let valid_until = read.iter().map(|lease| lease.valid_until.clone()).min()?;
        let all = serde_json::to_string(&leases).ok();
        Some(Lease { valid_for_ms, valid_until, all, ..read.into_iter().next()? })
    }

    /// The keys and tokens of all, as a release names them; `None` where there is one.
    pub fn named(&self) -> Option<Bytes> {
        #[derive(Deserialize, serde::Serialize)]
        struct Named {
            key: String,
            token: u64,
        }
        let leases: Vec<Named> = serde_json::from_str(self.all.as_deref()?).ok()?;
        Some(Bytes::from(json!({"leases": leases}).to_string()))
    }

    pub fn valid_for(&self) -> Duration {
        Duration::from_millis(self.valid_for_ms)
    }
}

impl Event {
    fn read(line: &[u8]) -> Option<Event> {
        #[derive(Deserialize)]
        struct Named {
            event: String,
        }
        // A holder has a `meta`, which cannot be read behind a tag.
        let Named { event } = serde_json::from_slice(line).ok()?;
        match event.as_str() {
            "acquired" => Lease::read(line).map(Event::Acquired),
            "waiting" => serde_json::from_slice(line).ok().map(Event::Waiting),
            "refused" => serde_json::from_slice::<Problem>(line).ok().map(|it| Event::Refused(Box::new(it.masked()))),
            _ => serde_json::from_slice(line).ok(),
        }
    }
}

/// A lock, for as long as this is kept.
pub struct Hold {
    body: Incoming,
    buffer: BytesMut,
    /// The socket once more: while anybody has it open, the sidecar keeps the lock.
    pub socket: std::os::fd::OwnedFd,
}

impl Hold {
    /// The next event; `None` when the stream has ended, or is no hold stream. Nothing is lost when this is dropped.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return Event::read(&line);
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
            if self.buffer.len() > LONGEST_LINE {
                return None;
            }
        }
    }
}

/// One attempt. Each repetition has the same name and owner, so that a lease whose grant was not heard of is found again.
pub struct Attempt<'a> {
    sidecar: &'a Sidecar,
    flags: &'a ExecFlags,
    name: String,
    owner: String,
    is_answered: bool,
}

impl<'a> Attempt<'a> {
    pub fn new(sidecar: &'a Sidecar, flags: &'a ExecFlags) -> Attempt<'a> {
        let name = format!("{:016x}", getrandom::u64().expect("the operating system has random bytes"));
        let owner = format!("{}/{}", host(), wrapper().unwrap_or_default());
        Attempt { sidecar, flags, name, owner, is_answered: false }
    }

    /// Whether a sidecar has answered, whatever it said.
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Sends it, and waits in the queue for at most `wait`.
    pub async fn send(&mut self, wait: Duration, progress: &mut Progress) -> Result<(Hold, Lease), Failure> {
        let granted = tokio::time::timeout(wait + SLACK, self.wait_in_queue(wait, progress)).await;
        granted.unwrap_or_else(|_| Err(self.sidecar.silent(&"it is frozen, or overloaded")))
    }

    async fn wait_in_queue(&mut self, wait: Duration, progress: &mut Progress) -> Result<(Hold, Lease), Failure> {
        let mut hold = tokio::time::timeout(SLACK, progress.during(self.open(wait)))
            .await
            .unwrap_or_else(|_| Err(self.sidecar.silent(&"it is frozen, or overloaded")))?;
        loop {
            let Ok(event) = tokio::time::timeout(SLACK, progress.during(hold.event())).await else {
                return Err(self.sidecar.silent(&"it is frozen, or overloaded"));
            };
            match event {
                Some(Event::Acquired(lease)) => return Ok((hold, lease)),
                Some(Event::Refused(problem)) => return Err(Failure::Refused(problem)),
                Some(Event::Waiting(Waiting { key, position, holder })) => {
                    progress.waits_for(key.as_deref());
                    progress.stands(Standing::in_queue(position, holder.as_ref()));
                }
                Some(_) => {}
                None => return Err(self.sidecar.silent(&"the connection was closed before the lock was granted")),
            }
        }
    }

    async fn open(&mut self, wait: Duration) -> Result<Hold, Failure> {
        let mut body = json!({
            "ttlMs": millis(self.flags.ttl),
            "waitMs": millis(wait),
            "owner": self.owner,
            "progress": true,
            "meta": meta(self.flags),
        });
        let flags = self.flags;
        let path = if flags.also.is_empty() {
            set_mode(&mut body, flags.mode.mode());
            format!("{}/hold", path_of(flags.key.as_str()))
        } else {
            let keys = std::iter::once(&flags.key).chain(&flags.also).map(|key| {
                let mut entry = json!({"key": key.as_str()});
                set_mode(&mut entry, flags.mode.mode());
                entry
            });
            body["keys"] = keys.collect();
            "/v1/bundles/hold".to_owned()
        };
        let terms = &self.flags.terms;
        for (name, term) in [("delayMs", terms.delay), ("minHoldMs", terms.min_hold()), ("maxHoldMs", terms.max_hold)] {
            if let Some(term) = term {
                body[name] = millis(term).into();
            }
        }
        let connection = self.sidecar.connect().await?.named(&self.name);
        let socket = connection.socket.try_clone().map_err(|error| Failure::NoSidecar(error.to_string()))?;
        let answer = connection.send("POST", &path, Bytes::from(body.to_string())).await?;
        self.is_answered = true;
        if !answer.status().is_success() {
            return Err(Failure::Refused(Box::new(Problem::read(answer).await)));
        }
        Ok(Hold { body: answer.into_body(), buffer: BytesMut::new(), socket })
    }
}

fn set_mode(body: &mut serde_json::Value, mode: Mode) {
    if let Mode::Shared { limit } = mode {
        body["mode"] = mode.label().into();
        if let Some(limit) = limit {
            body["limit"] = limit.into();
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// The wrapper: whom to signal.
fn wrapper() -> Option<i32> {
    rustix::process::getppid().map(rustix::process::Pid::as_raw_pid)
}

/// Where the command runs, for those who look at the lock. Not its arguments: they may hold secrets.
fn meta(flags: &ExecFlags) -> serde_json::Value {
    let command = flags.command.first().map(|program| program.to_string_lossy().chars().take(200).collect::<String>());
    json!({"host": host(), "pid": wrapper(), "command": command})
}
