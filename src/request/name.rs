//! What names a request: an id that its caller sent, or one that is made; and its trace.

use std::fmt::{self, Display, Formatter, Write};
use std::num::NonZeroU128;
use std::sync::{Arc, OnceLock};

/// Longest id that is taken from a caller, characters.
const LONGEST_ID: usize = 64;

/// What a caller sent to name its request.
pub struct Sent {
    /// `None` where none was sent, or one that is not fit.
    pub id: Option<Box<str>>,
    pub wants_id: bool,
    pub trace_id: Option<NonZeroU128>,
}

/// Names a request in lines that are written after it was served. Cheap to make: its text is made when it is written.
#[derive(Clone, Default)]
pub struct Name {
    pub(super) sent: Option<Arc<Sent>>,
    pub(super) number: u64,
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.sent.as_ref().and_then(|sent| sent.id.as_deref()) {
            Some(id) => f.write_str(id),
            None => f.write_str(&made(self.number)),
        }
    }
}

/// The id that a caller sent, of the values of `X-Request-Id`, where it may come back as it is.
pub fn fit<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Option<&'a str> {
    only(ids).filter(|id| is_fit(id)).and_then(|id| std::str::from_utf8(id).ok())
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

/// The trace that a caller sent, of the values of `traceparent`.
pub fn trace<'a>(traces: impl Iterator<Item = &'a [u8]>) -> Option<NonZeroU128> {
    only(traces).and_then(trace_id)
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
