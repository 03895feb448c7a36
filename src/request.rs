//! Which request a log line belongs to: its id and its trace, who asks, and for what. It goes along with the task that
//! serves the request, and `cli/log.rs` adds it to every line that is written there. Knows no HTTP and no lock.
//!
//! Nothing is made for a request that no line and no problem speaks of: an id is a number until it is written.

mod caller;
mod name;
#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use caller::{Caller, Remote, Sender};
pub use name::{Name, fit};
use name::{Sent, trace};

tokio::task_local! {
    static CURRENT: Request;
}

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

/// Who asks and for what, as far as it is known yet.
#[derive(Clone, Default)]
struct Named {
    key: Option<Arc<str>>,
    token: Option<u64>,
    owner: Option<Box<str>>,
    /// `None` before it is authenticated, and where its credential is not valid.
    caller: Option<Caller>,
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
        let sent = Sent { id, wants_id, trace_id: trace(traces) };
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

/// The name of the request that is being served.
pub fn name() -> Name {
    CURRENT.try_with(Request::name).unwrap_or_default()
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
