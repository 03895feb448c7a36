//! One line of the trail. What it does not say itself, the request that is being served says.

use crate::json::{push_string, rfc3339};
use crate::request::{self, Account, Caller, Sender};

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::settings::Scope;

/// Most lines are shorter.
const MOST_LINES_BYTES: usize = 384;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Granted,
    Renewed,
    Released,
    Lost,
    Forced,
    /// The caller may not.
    Denied,
    /// The caller may, but the lock is another's.
    Conflict,
}

impl Event {
    /// As the line has it.
    fn label(self) -> &'static str {
        match self {
            Event::Granted => "granted",
            Event::Renewed => "renewed",
            Event::Released => "released",
            Event::Lost => "lost",
            Event::Forced => "forced",
            Event::Denied | Event::Conflict => "refused",
        }
    }

    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Event::Denied | Event::Conflict)
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Event::Forced | Event::Denied => Scope::Denials,
            Event::Granted | Event::Released | Event::Lost => Scope::Changes,
            Event::Renewed | Event::Conflict => Scope::All,
        }
    }
}

/// What a line says of a lock and a lease.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub event: Event,
    pub verb: Option<&'static str>,
    /// Whose lease it is, or who asks, with the kind; `None`: as the request says.
    pub who: Option<(&'a str, &'static str)>,
    /// `None`: as the request says, and so with the token.
    pub key: Option<&'a str>,
    pub token: Option<u64>,
    /// Milliseconds since 1970.
    pub valid_until_ms: Option<u64>,
    /// When the lease was granted, milliseconds since 1970, where it has ended.
    pub since_ms: Option<u64>,
    pub reason: Option<&'a str>,
    /// Who holds the lock, or held it until it was force-released.
    pub holder: Option<&'a str>,
}

impl<'a> Entry<'a> {
    pub fn new(event: Event) -> Entry<'a> {
        Entry {
            event,
            verb: None,
            who: None,
            key: None,
            token: None,
            valid_until_ms: None,
            since_ms: None,
            reason: None,
            holder: None,
        }
    }

    /// The members behind the time.
    pub(super) fn body(self) -> String {
        let account = request::account();
        let mut line = Line(String::with_capacity(MOST_LINES_BYTES));
        line.text("event", Some(self.event.label()));
        line.text("verb", self.verb);
        let (who, kind) = match (self.who, &account) {
            (Some((who, kind)), _) => (Some(who), Some(kind)),
            (None, Some(account)) => caller(account),
            (None, None) => (None, None),
        };
        line.text("who", who.filter(|who| !who.is_empty()));
        line.text("kind", kind);
        let of_request = account.as_ref();
        let caller = of_request.and_then(|account| account.caller.as_ref());
        line.text("credential", caller.map(credential).as_deref());
        line.text("peer", of_request.map(|account| account.peer.to_string()).as_deref());
        line.text("key", self.key.or_else(|| of_request.and_then(|account| account.key.as_deref())));
        line.number("token", self.token.or_else(|| of_request.and_then(|account| account.token)));
        line.text("valid_until", self.valid_until_ms.map(rfc3339).as_deref());
        line.number("held_ms", self.since_ms.map(|since_ms| now_ms().saturating_sub(since_ms)));
        line.text("reason", self.reason.filter(|reason| !reason.is_empty()));
        line.text("holder", self.holder.filter(|holder| !holder.is_empty()));
        line.text("request_id", of_request.map(|account| account.request_id.as_str()));
        line.text("trace_id", of_request.and_then(|account| account.trace_id.as_deref()));
        line.0
    }
}

/// A whole line, with the time that it is now.
pub(super) fn dated(body: &str) -> String {
    let mut line = String::with_capacity(body.len() + 48);
    line.extend(["{\"time\":\"", &rfc3339(now_ms()), "\"", body, "}\n"]);
    line
}

/// Who asks, and the kind, where that is known.
fn caller(Account { owner, caller, .. }: &Account) -> (Option<&str>, Option<&'static str>) {
    match (caller, owner) {
        (Some(Caller::User(id, _)), _) => (Some(id), Some("user")),
        (_, Some(owner)) => (Some(owner), Some("system")),
        (Some(Caller::Token(name) | Caller::Certificate(name)), None) => (Some(name), Some("system")),
        (Some(Caller::System), None) => (None, Some("system")),
        (Some(Caller::Anonymous) | None, None) => (None, None),
    }
}

fn credential(caller: &Caller) -> String {
    match caller {
        Caller::User(_, Sender::Header) => "jwt".to_owned(),
        Caller::User(_, Sender::Cookie) => "cookie".to_owned(),
        Caller::System => "token:default".to_owned(),
        Caller::Token(name) => format!("token:{name}"),
        Caller::Certificate(name) => format!("cert:{name}"),
        Caller::Anonymous => "anonymous".to_owned(),
    }
}

/// Members, each behind a comma.
struct Line(String);

impl Line {
    fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.0.extend([",\"", name, "\":"]);
        push_string(&mut self.0, value);
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        let Some(value) = value else { return };
        let _ = write!(self.0, ",\"{name}\":{value}");
    }
}

/// Milliseconds since 1970, by this machine's clock.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
