//! Which request a log line belongs to: its id and its trace, who asks, and for what. It goes along with the task that
//! serves the request, and `cli/log.rs` adds it to every line that is written there. Knows no HTTP and no lock.
//!
//! Nothing is made for a request that no line and no problem speaks of: an id is a number until it is written.

#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt::{self, Display, Formatter, Write};
use std::net::SocketAddr;
use std::num::NonZeroU128;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

tokio::task_local! {
    static CURRENT: Request;
}

/// Longest id that is taken from a caller, characters.
const LONGEST_ID: usize = 64;

/// A request that is being served.
#[derive(Default)]
pub struct Request {
    /// `None` where nothing came over a connection.
    peer: Option<Remote>,
    /// What the caller sent to name it; most send nothing.
    sent: Option<Arc<Sent>>,
    /// Its number in this process; 0 until one is needed.
    number: Cell<u64>,
    named: RefCell<Named>,
    /// Whether a line or a problem has the id.
    is_written: Cell<bool>,
    /// Whether a line of a task that went on for it has the id.
    is_written_elsewhere: OnceCell<Arc<AtomicBool>>,
}

struct Sent {
    /// `None` where none was sent, or one that is not fit.
    id: Option<Box<str>>,
    wants_id: bool,
    trace_id: Option<NonZeroU128>,
}

/// Who asks and for what, as far as it is known yet.
#[derive(Clone, Default)]
struct Named {
    key: Option<Arc<str>>,
    token: Option<u64>,
    owner: Option<Box<str>>,
    /// `None` before it is authenticated, and where its credential is not valid.
    caller: Option<Caller>,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    Tcp(SocketAddr),
    /// A process of this machine, over a unix socket.
    Unix,
}

impl Display for Remote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Tcp(address) => address.fmt(f),
            Remote::Unix => f.write_str("unix"),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// A user whose token was verified, and how it was sent.
    User(Box<str>, Sender),
    /// A caller with the API token.
    System,
    /// A caller with an API token of its own, by its name.
    Token(Box<str>),
    /// A caller with a client certificate, by its name.
    Certificate(Box<str>),
    /// A caller without a credential, or whose credential is not valid.
    #[default]
    Anonymous,
}

/// By what a user's token was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Header,
    Cookie,
}

impl Caller {
    pub fn kind(&self) -> &'static str {
        match self {
            Caller::User(..) => "user",
            Caller::System | Caller::Token(_) | Caller::Certificate(_) => "system",
            Caller::Anonymous => "anonymous",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Caller::User(id, _) | Caller::Token(id) | Caller::Certificate(id) => id,
            other => other.kind(),
        }
    }
}

/// A field that every line of a request has.
pub enum Detail<'a> {
    Text(&'a str),
    Number(u64),
}

impl Request {
    /// `ids` are the values of `X-Request-Id`, `traces` those of `traceparent`; either counts only if it came once.
    pub fn of<'a>(ids: impl Iterator<Item = &'a [u8]>, traces: impl Iterator<Item = &'a [u8]>) -> Request {
        let (mut ids, mut traces) = (ids.peekable(), traces.peekable());
        if ids.peek().is_none() && traces.peek().is_none() {
            return Request::default();
        }
        let wants_id = ids.peek().is_some();
        let id = fit(ids).map(Box::from);
        let sent = Sent { id, wants_id, trace_id: only(traces).and_then(trace_id) };
        Request { sent: Some(Arc::new(sent)), ..Request::default() }
    }

    pub fn coming_from(self, peer: Remote) -> Request {
        Request { peer: Some(peer), ..self }
    }

    /// Runs what serves the request.
    pub fn serve<F: Future>(self, serving: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, serving)
    }

    fn id(&self) -> String {
        self.is_written.set(true);
        if let Some(written) = self.is_written_elsewhere.get() {
            written.store(true, Ordering::Relaxed);
        }
        self.name().to_string()
    }

    fn name(&self) -> Name {
        Name { sent: self.sent.clone(), number: self.number() }
    }

    fn number(&self) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        if self.number.get() == 0 {
            self.number.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        self.number.get()
    }

    /// This request, for a task that goes on for it.
    fn continued(&self) -> Request {
        let written = self.is_written_elsewhere.get_or_init(Arc::default);
        Request {
            peer: self.peer,
            sent: self.sent.clone(),
            number: Cell::new(self.number()),
            named: self.named.clone(),
            is_written: Cell::new(false),
            is_written_elsewhere: OnceCell::from(Arc::clone(written)),
        }
    }
}

/// Names a request in lines that are written after it was served. Cheap to make: its text is made when it is written.
#[derive(Clone, Default)]
pub struct Name {
    sent: Option<Arc<Sent>>,
    number: u64,
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.sent.as_ref().and_then(|sent| sent.id.as_deref()) {
            Some(id) => f.write_str(id),
            None => f.write_str(&made(self.number)),
        }
    }
}

/// The name of the request that is being served.
pub fn name() -> Name {
    CURRENT.try_with(Request::name).unwrap_or_default()
}

/// The id that a caller sent, of the values of `X-Request-Id`, where it may come back as it is.
pub fn fit<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Option<&'a str> {
    only(ids).filter(|id| is_fit(id)).and_then(|id| std::str::from_utf8(id).ok())
}

/// The id of the request that is being served, for a problem.
pub fn id() -> Option<String> {
    CURRENT.try_with(Request::id).ok()
}

/// The id that the answer must have: its caller sent one, or a line or a problem has it.
pub fn id_for_answer() -> Option<String> {
    let id = CURRENT.try_with(|request| {
        let written_elsewhere = request.is_written_elsewhere.get().is_some_and(|it| it.load(Ordering::Relaxed));
        let is_wanted = request.sent.as_ref().is_some_and(|sent| sent.wants_id);
        (request.is_written.get() || written_elsewhere || is_wanted).then(|| request.id())
    });
    id.ok().flatten()
}

/// All that is known of a request.
pub struct Account {
    pub key: Option<Arc<str>>,
    pub token: Option<u64>,
    /// That a service caller names.
    pub owner: Option<Box<str>>,
    /// `None` where its credential is not valid, or was not looked at.
    pub caller: Option<Caller>,
    pub peer: Remote,
    pub request_id: String,
    pub trace_id: Option<String>,
}

/// Of the request that is being served; `None` for what this process does of its own accord.
pub fn account() -> Option<Account> {
    let account = CURRENT.try_with(|request| {
        let peer = request.peer?;
        let Named { key, token, owner, caller } = request.named.borrow().clone();
        let trace_id = request.sent.as_ref().and_then(|sent| sent.trace_id).map(|id| format!("{id:032x}"));
        Some(Account { key, token, owner, caller, peer, request_id: request.id(), trace_id })
    });
    account.ok().flatten()
}

/// Who asks.
pub fn caller() -> Caller {
    CURRENT.try_with(|request| request.named.borrow().caller.clone()).ok().flatten().unwrap_or_default()
}

/// Notes who asks.
pub fn asked_by(caller: Caller) {
    note(|named| named.caller = Some(caller));
}

/// Notes the lock that is asked for.
pub fn asks_for(key: impl FnOnce() -> Arc<str>) {
    note(|named| named.key = Some(key()));
}

/// Notes the token that is shown.
pub fn shows(token: u64) {
    note(|named| named.token = Some(token));
}

/// Notes the owner that a system caller names.
pub fn speaks_for(owner: &str) {
    note(|named| named.owner = Some(owner.into()));
}

fn note(what: impl FnOnce(&mut Named)) {
    // Without a request there is nothing to note, as in a test of a parser.
    let _ = CURRENT.try_with(|request| what(&mut request.named.borrow_mut()));
}

/// `work`, so that its lines belong to the request that is being served now, wherever it runs.
pub fn continued<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let request = CURRENT.try_with(Request::continued).unwrap_or_default();
    CURRENT.scope(request, work)
}

/// The fields of every line of the request that is being served, if there is one.
pub fn describe(mut field: impl FnMut(&'static str, Detail<'_>)) {
    let _ = CURRENT.try_with(|request| {
        let Named { key, token, owner, caller } = &*request.named.borrow();
        if let Some(key) = key {
            field("key", Detail::Text(key));
        }
        if let Some(token) = token {
            field("token", Detail::Number(*token));
        }
        if let Some(owner) = owner {
            field("owner", Detail::Text(owner));
        }
        let caller = caller.as_ref().unwrap_or(&Caller::Anonymous);
        field("caller", Detail::Text(caller.id()));
        field("caller_kind", Detail::Text(caller.kind()));
        field("request_id", Detail::Text(&request.id()));
        if let Some(trace_id) = request.sent.as_ref().and_then(|sent| sent.trace_id) {
            field("trace_id", Detail::Text(&format!("{trace_id:032x}")));
        }
    });
}

/// 64 random bits of this process, and a number.
fn made(number: u64) -> String {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    let process = PROCESS.get_or_init(|| getrandom::u64().expect("the operating system has random bytes"));
    let mut id = String::with_capacity(32);
    write!(id, "{process:016x}-{number:x}").expect("memory takes all that is written");
    id
}

fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Visible ASCII characters, so that it may stand in a header and in a line as it is.
fn is_fit(id: &[u8]) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// The trace of a `traceparent` (W3C Trace Context, 3.2): `00-<trace>-<parent>-<flags>`; a later version may have more.
fn trace_id(traceparent: &[u8]) -> Option<NonZeroU128> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let mut parts = text.split('-');
    let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let are_digits = [(version, 2), (trace, 32), (parent, 16), (flags, 2)].into_iter().all(|(part, length)| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    let has_more = parts.next().is_some();
    if !are_digits || version == "ff" || (version == "00" && has_more) || parent.bytes().all(|byte| byte == b'0') {
        return None;
    }
    u128::from_str_radix(trace, 16).ok().and_then(NonZeroU128::new)
}
