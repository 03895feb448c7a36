//! A page of the list of locks: what the query asks for, and what comes behind it.

use super::failure::Failure;
use super::wire::{number, parameter};
use crate::lock::{Lease, Listing, Token};
use crate::redis::RedisFailure;

/// Longest page that may be asked for.
pub const MAX_LIMIT: usize = 10_000;

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
        let cursor = match number(query, "cursor")? {
            None => None,
            Some(cursor) => {
                let cursor = Token::from_i64(cursor);
                Some(cursor.ok_or_else(|| Failure::BadRequest("cursor: expected one that a page named".to_owned()))?)
            }
        };
        Ok(Page { prefix: parameter(query, "prefix")?.unwrap_or_default(), limit, cursor })
    }

    /// The query of the page behind `last`.
    pub fn after(&self, last: Token) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.prefix.is_empty() {
            query.append_pair("prefix", &self.prefix);
        }
        if let Some(limit) = self.limit {
            query.append_pair("limit", &limit.to_string());
        }
        query.append_pair("cursor", &last.to_string());
        query.finish()
    }
}

/// The next `limit` leases, and the cursor of the page behind them, where there is one.
pub async fn read(listing: &mut Listing, limit: usize) -> Result<(Vec<Lease>, Option<Token>), RedisFailure> {
    // One more than asked for tells whether there is a next page.
    let mut leases = listing.next(limit + 1).await?;
    let more = leases.len() > limit;
    leases.truncate(limit);
    let next = leases.last().filter(|_| more).map(|last| last.token);
    Ok((leases, next))
}
