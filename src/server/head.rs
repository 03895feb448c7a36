//! The first head of a connection, gathered before anything else is kept for it: a client that is slow with it, or never
//! ends it, costs what it has sent. Knows where a head and its lines end; hyper reads them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::header::HeaderName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Limits of a listener for heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Bytes of one head.
    pub longest: usize,
    /// From a head's first byte to its last; for the first head, from the opening of the connection.
    pub timeout: Duration,
    /// Whether one connection too many closes the one that has been without a whole head for longest, instead of being
    /// turned away.
    pub give_way: bool,
}

impl Heads {
    /// Room for a large cookie.
    pub const API: Heads = Heads { longest: 16 * 1024, timeout: Duration::from_secs(30), give_way: false };
    /// Probes and scrapers send short heads, in one piece.
    pub const OPS: Heads = Heads { longest: 4 * 1024, timeout: Duration::from_secs(5), give_way: true };
}

/// Most bytes of unfinished heads and handshakes over all connections of a listener; a connection that needs more is
/// turned away.
pub const ALL_HEADS: usize = 32 * 1024 * 1024;

/// Bytes that are read from a socket at a time.
const PIECE: usize = 1024;

/// How the gathering of a head ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Gathered {
    /// The head is whole, or cannot be a head: hyper decides.
    Whole,
    TooLong,
    /// The unfinished heads of all connections take all the room.
    NoRoom,
    /// It does not begin as the protocol of the listener does.
    Foreign,
    Closed,
}

/// Bytes of unfinished heads and handshakes.
pub type Unfinished = Arc<AtomicUsize>;

/// One connection's part of them.
pub struct Share {
    all: Unfinished,
    counted: usize,
}

impl Share {
    pub fn new(all: Unfinished) -> Share {
        Share { all, counted: 0 }
    }

    /// Counts so many bytes for this connection; whether there is room for those of all.
    pub fn count(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.counted, bytes);
        if bytes == before {
            return true;
        }
        let more = bytes.wrapping_sub(before);
        self.all.fetch_add(more, Ordering::Relaxed).wrapping_add(more) <= ALL_HEADS
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(0);
    }
}

/// A connection's stream, from which hyper first reads the gathered head.
pub struct Gathering<S> {
    stream: S,
    held: Vec<u8>,
    /// How much of `held` hyper has read.
    given: usize,
    share: Share,
}

impl<S: AsyncRead + Unpin> Gathering<S> {
    pub fn new(stream: S, unfinished: Unfinished) -> Gathering<S> {
        Gathering { stream, held: Vec::new(), given: 0, share: Share::new(unfinished) }
    }

    /// Ready once the first head is whole, or cannot become whole.
    pub fn poll_head(&mut self, longest: usize, cx: &mut Context<'_>) -> Poll<io::Result<Gathered>> {
        loop {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let read = read.filled();
            if read.is_empty() {
                return Poll::Ready(Ok(Gathered::Closed));
            }
            let before = self.held.len();
            self.held.extend_from_slice(read);
            let end = end(&self.held, before);
            if end.unwrap_or(self.held.len()) > longest {
                return Poll::Ready(Ok(Gathered::TooLong));
            }
            if end.is_some() || !may_be_a_head(&self.held) {
                self.share.count(0);
                return Poll::Ready(Ok(Gathered::Whole));
            }
            if !self.share.count(self.held.capacity()) {
                return Poll::Ready(Ok(Gathered::NoRoom));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Gathering<S> {
    /// Ready once the connection has begun with `preface`, or cannot.
    pub fn poll_preface(&mut self, preface: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<Gathered>> {
        loop {
            let seen = self.held.len().min(preface.len());
            if self.held[..seen] != preface[..seen] {
                return Poll::Ready(Ok(Gathered::Foreign));
            }
            if seen == preface.len() {
                return Poll::Ready(Ok(Gathered::Whole));
            }
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(Gathered::Closed));
            }
            self.held.extend_from_slice(read.filled());
        }
    }
}

impl<S> Gathering<S> {
    /// The values of the fields of this name in the first head, as far as whole lines of it have come.
    pub fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let lines = self.held.split_inclusive(|byte| *byte == b'\n').skip(1);
        let lines = lines.map_while(|line| line.strip_suffix(b"\n")).map(<[u8]>::trim_ascii);
        lines.take_while(|line| !line.is_empty()).filter_map(move |line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            line[..colon].eq_ignore_ascii_case(name.as_str().as_bytes()).then(|| line[colon + 1..].trim_ascii())
        })
    }
}

/// Where the first head ends in `text`, whose first `before` bytes have no end.
fn end(text: &[u8], before: usize) -> Option<usize> {
    let from = before.saturating_sub(3);
    let lines = text[from..].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines.map(|(at, _)| from + at + 1).find_map(|next| match &text[next..] {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

/// Whether to wait for more: bytes that cannot be a request are answered at once.
fn may_be_a_head(text: &[u8]) -> bool {
    let is_method = text.first().is_none_or(u8::is_ascii_uppercase);
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return is_method };
    let line = text[..end].strip_suffix(b"\r").unwrap_or(&text[..end]);
    is_method && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
}

/// Length of a parsed head, without optional spaces.
pub fn length<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |path| path.as_str().len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + fields.sum::<usize>()
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let rest = &self.held[self.given..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.given += count;
        if self.given == self.held.len() {
            self.held = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_first_empty_line_wherever_it_was_cut() {
        for (text, ends) in [
            ("GET / HTTP/1.1\r\nA: b\r\n\r\nbody", Some(24)),
            ("GET / HTTP/1.1\nA: b\n\nbody", Some(21)),
            ("GET / HTTP/1.1\nA: b\n\r\nbody", Some(22)),
            ("GET / HTTP/1.1\r\nA: b\r\n", None),
            ("GET / HTTP/1.1\r\nA: b\r\n\r", None),
        ] {
            for before in 0..ends.unwrap_or(text.len()) {
                assert_eq!(end(text.as_bytes(), before), ends, "{text:?} from {before}");
            }
        }
    }

    #[test]
    fn what_cannot_become_a_request_is_not_waited_for() {
        for text in ["", "G", "GET / HTTP/1.", "GET / HTTP/1.1\r\n", "GET / HTTP/1.0\nHost: x"] {
            assert!(may_be_a_head(text.as_bytes()), "{text:?}");
        }
        for text in ["\x16\x03\x01", "get / HTTP/1.1", "\r\n", "GARBAGE\r\n", "GET / HTTP/2.0\r\n", "\n"] {
            assert!(!may_be_a_head(text.as_bytes()), "{text:?}");
        }
    }
}
