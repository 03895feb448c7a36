//! `GET /v1/locks/{key}/queue`: who waits for a key, in the order of their turns.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Serialize;

use super::request::{key_in, no_body};
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::wire::{json, rfc3339};
use crate::auth::Anonymous;
use crate::lock::{OwnerKind, Waiter};
use crate::policy::Verb;
use crate::server::Response;

/// Waiters that are named.
const MOST: u32 = 1000;

pub async fn queue(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct QueueView<'a> {
        key: &'a str,
        queue: Vec<WaiterView<'a>>,
    }
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    caller.rights.need(Verb::Read, &key)?;
    known::parameters(request.uri().query(), &[], known::no_fields)?;
    no_body(request, &[]).await?;
    let waiters = cx.locks.queue(&key, MOST).await?;
    let queue = waiters.iter().zip(1..).map(|(waiter, position)| WaiterView::of(waiter, position));
    Ok(json(StatusCode::OK, &QueueView { key: key.as_str(), queue: queue.collect() }))
}

/// One who waits.
#[derive(Serialize)]
struct WaiterView<'a> {
    /// 1 is next.
    position: u64,
    owner: &'a str,
    kind: OwnerKind,
    since: String,
}

impl<'a> WaiterView<'a> {
    fn of(Waiter { owner, kind, since_ms }: &'a Waiter, position: u64) -> WaiterView<'a> {
        WaiterView { position, owner, kind: *kind, since: rfc3339(*since_ms) }
    }
}
