//! `GET /v1/locks`: a page of the locks of every API that the caller may see, oldest grant first.

use hyper::Request;
use hyper::body::Incoming;
use serde::Serialize;

use super::request::no_body;
use super::view::{HolderView, state_of_lease};
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::pagination::{self, Bounds, Form, Page, Text};
use crate::auth::Anonymous;
use crate::lock::Listed;
use crate::server::Response;

/// Locks on a page, unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 1000;
/// Bytes after which a page ends.
const PAGE_BYTES: usize = 1024 * 1024;

pub async fn list(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    const PARAMETERS: &[&str] = &["prefix", "limit", "cursor"];
    known::parameters(request.uri().query(), PARAMETERS, known::no_fields)?;
    let page = Page::of(request.uri().query().unwrap_or_default())?;
    no_body(request, PARAMETERS).await?;
    let bounds =
        Bounds { leases: page.limit.unwrap_or(DEFAULT_LIMIT), bytes: PAGE_BYTES, looking: pagination::LOOKING };
    let listing = cx.locks.list(page.prefix, page.cursor, bounds.leases)?;
    Text::new(listing, FORM, bounds, caller.rights).answer().await
}

const FORM: Form = Form { opening: r#"{"locks":["#, entry, has_rests: true, closing };

fn entry(Listed { lease, waiters }: &Listed, text: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Entry<'a> {
        key: &'a str,
        state: &'static str,
        #[serde(flatten)]
        holder: HolderView<'a>,
        waiters: u64,
    }
    let (state, holder) = (state_of_lease(lease), HolderView::in_a_row(lease));
    let entry = Entry { key: lease.key.as_str(), state, holder, waiters: *waiters };
    serde_json::to_writer(text, &entry).expect("a lease is always JSON");
}

fn closing(next: Option<&str>) -> String {
    match next {
        Some(next) => format!(r#"],"next":"{next}"}}"#),
        None => r#"],"next":null}"#.to_owned(),
    }
}
