//! Waiting for a time that may never come.

use std::time::Instant;

/// Ends at that time, if there is one.
pub async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
