//! The index of all leases, key -> token, one zset a shard: read in pages, counted, and kept small.

mod census;
mod list;
mod overlong;
mod pages;
mod sweep;
mod waiting;

pub use census::{Census, Counted};
pub use list::{ListFailure, Listed, Listing, PLACES, Place};
pub use overlong::{Overlong, Walk};
pub use pages::Page;
pub use sweep::{Ledger, run as sweep};
pub use waiting::Waiting;
