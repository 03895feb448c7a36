//! A page of the list of locks: what the query asks for, how it is written at the pace of its reader, and the cursor of
//! the next page.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::{mpsc, oneshot};

use super::cursor;
use super::failure::Failure;
use super::rights::Rights;
use super::wire::{number, parameter};
use crate::lock::{Listed, Listing, Place, Token};
use crate::redis::RedisFailure;
use crate::request;
use crate::server::{Body, Broken, Response};

/// Longest page that may be asked for.
pub const MAX_LIMIT: usize = 10_000;
/// Time of reading from Redis after which a page ends, however little was found.
pub const LOOKING: Duration = Duration::from_millis(100);
/// Length at which a part of a streamed list is handed over; at most one part waits for a slow reader.
const CHUNK_BYTES: usize = 16 * 1024;
/// Leases that are read and written at a time.
const AT_ONCE: usize = 64;
/// Time without progress after which an answer gives up its place among the lists that read from Redis.
const STALL: Duration = Duration::from_secs(2);

/// A page, as the query asks for it.
pub struct Page {
    pub prefix: String,
    pub limit: Option<usize>,
    pub cursor: Option<Token>,
}

impl Page {
    pub fn of(query: &str) -> Result<Page, Failure> {
        let limit = match number(query, "limit")? {
            None => None,
            Some(limit) => {
                let limit = usize::try_from(limit).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                Some(limit.ok_or_else(|| Failure::BadRequest(format!("limit: expected 1 to {MAX_LIMIT}")))?)
            }
        };
        let cursor = parameter(query, "cursor")?.map(|cursor| cursor::parse(&cursor)).transpose()?;
        Ok(Page { prefix: parameter(query, "prefix")?.unwrap_or_default(), limit, cursor })
    }

    /// The query of the page with this cursor.
    pub fn after(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.prefix.is_empty() {
            query.append_pair("prefix", &self.prefix);
        }
        if let Some(limit) = self.limit {
            query.append_pair("limit", &limit.to_string());
        }
        query.append_pair("cursor", cursor);
        query.finish()
    }
}

/// How a list is spelled.
pub struct Form {
    pub opening: &'static str,
    pub entry: fn(&Listed, &mut Vec<u8>),
    /// Whether it has the keys, too, that are taken yet although their leases were released.
    pub has_rests: bool,
    /// Given the cursor of the next page, where there is one.
    pub closing: fn(Option<&str>) -> String,
}

/// Where a list ends, although there is more.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub leases: usize,
    pub bytes: usize,
    pub looking: Duration,
}

impl Bounds {
    pub const NONE: Bounds = Bounds { leases: usize::MAX, bytes: usize::MAX, looking: Duration::MAX };
}

/// A list that is being written.
pub struct Text {
    listing: Listing,
    form: Form,
    bounds: Bounds,
    /// What the caller may not see is left out.
    rights: Rights,
    chunk: Vec<u8>,
    written: usize,
    is_first: bool,
    is_complete: bool,
    /// The cursor of the next page, once this one is complete.
    next: Option<String>,
    /// The last lease that was written.
    last_shown: Option<Token>,
}

impl Text {
    pub fn new(listing: Listing, form: Form, bounds: Bounds, rights: Rights) -> Text {
        let chunk = form.opening.as_bytes().to_vec();
        let (next, last_shown) = (None, None);
        Text { listing, form, bounds, rights, chunk, written: 0, is_first: true, is_complete: false, next, last_shown }
    }

    /// The answer: whole if it is short, else streamed.
    pub async fn answer(mut self) -> Result<Response, Failure> {
        // Before the head is sent, a failure can still have a status of its own.
        self.write(CHUNK_BYTES).await?;
        if self.is_complete {
            return Ok(self.whole());
        }
        let (chunks, body) = mpsc::channel(1);
        tokio::spawn(request::continued(self.stream(chunks)));
        Ok(json(Body::Parts(body)))
    }

    /// The whole answer, and the cursor of the next page, where there is one.
    pub async fn answer_at_once(mut self) -> Result<(Response, Option<String>), Failure> {
        self.write(usize::MAX).await?;
        let next = self.next.take();
        Ok((self.whole(), next))
    }

    fn whole(self) -> Response {
        let mut body = Body::whole(self.chunk);
        if let Some(place) = self.listing.into_place() {
            body.keep(until_sent(place));
        }
        json(body)
    }

    /// Writes leases until the chunk has so many bytes, or the list is complete.
    async fn write(&mut self, chunk_bytes: usize) -> Result<(), RedisFailure> {
        while self.chunk.len() < chunk_bytes {
            let most = AT_ONCE.min(self.bounds.leases);
            if most == 0 {
                self.complete(self.listing.position()).await?;
                break;
            }
            let leases = self.listing.next_within(most, self.bounds.looking).await?;
            for listed in leases.iter().filter(|listed| self.form.has_rests || !listed.lease.is_resting) {
                if !self.rights.see(&listed.lease) {
                    continue;
                }
                let before = self.chunk.len();
                if !self.is_first {
                    self.chunk.push(b',');
                }
                self.is_first = false;
                (self.form.entry)(listed, &mut self.chunk);
                self.written += self.chunk.len() - before;
                self.bounds.leases -= 1;
                self.last_shown = Some(listed.lease.token);
                if self.written >= self.bounds.bytes {
                    return self.complete(Some(listed.lease.token)).await;
                }
            }
            if leases.len() < most {
                self.complete(self.listing.position()).await?;
                break;
            }
        }
        Ok(())
    }

    /// Ends the list after the lease with this token.
    async fn complete(&mut self, last: Option<Token>) -> Result<(), RedisFailure> {
        let is_last = last == self.listing.position() && self.listing.ends_here(self.bounds.looking).await?;
        let last_shown = self.last_shown;
        let is_open = |last| last_shown == Some(last) || !self.rights.are_ruled();
        let cursor = |last| if is_open(last) { cursor::open(last) } else { cursor::sealed(last) };
        self.next = last.filter(|_| !is_last).map(cursor);
        self.chunk.extend_from_slice((self.form.closing)(self.next.as_deref()).as_bytes());
        self.is_complete = true;
        Ok(())
    }

    /// Writes all of the list, at the pace of its reader.
    async fn stream(mut self, chunks: mpsc::Sender<Result<Bytes, Broken>>) {
        while let Some(room) = self.room(&chunks).await {
            room.send(Ok(Bytes::from(std::mem::take(&mut self.chunk))));
            if self.is_complete {
                // The place is kept until the last part is on its way.
                let _ = tokio::time::timeout(STALL, chunks.reserve()).await;
                return;
            }
            let written = tokio::select! {
                written = self.write(CHUNK_BYTES) => written,
                () = chunks.closed() => return,
            };
            if let Err(failure) = written {
                let (failure, operation) = (Failure::from(failure), "list");
                let (code, outcome, reason) = (failure.code(), failure.outcome(), failure.reason());
                tracing::warn!(operation, code, outcome, reason, "list aborted");
                let _ = chunks.send(Err(Broken)).await;
                return;
            }
        }
    }

    /// Waits until the reader has taken the part before; gives up the place after [`STALL`].
    async fn room<'a>(
        &mut self,
        chunks: &'a mpsc::Sender<Result<Bytes, Broken>>,
    ) -> Option<mpsc::Permit<'a, Result<Bytes, Broken>>> {
        if let Ok(room) = tokio::time::timeout(STALL, chunks.reserve()).await {
            return room.ok();
        }
        self.listing.pause();
        chunks.reserve().await.ok()
    }
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Keeps a place until the returned guard is dropped, at most for [`STALL`].
fn until_sent(place: Place) -> Box<dyn Send> {
    let (sent, dropped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let _ = tokio::time::timeout(STALL, dropped).await;
        drop(place);
    });
    Box::new(sent)
}
