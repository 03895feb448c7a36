//! The rows of the table, one file a subject. Each starts the servers it needs, and ends them.

mod dapr;
mod handoff;
mod held;
mod redis;
mod replicas;
mod requests;
mod rivals;
pub mod shared;

use crate::Bench;
use crate::table::Line;

/// Measures one row, which may be several lines.
type Row = fn(&Bench) -> Vec<Line>;

/// Every row that was asked for, in the order of their letters.
pub fn all(bench: &Bench) -> Vec<Line> {
    let rows: [(char, Row); 14] = [
        ('a', requests::pairs),
        ('b', requests::one_connection),
        ('c', requests::contended),
        ('d', requests::renewals),
        ('e', held::list),
        ('f', handoff::row),
        ('g', held::holds),
        ('h', held::memory),
        ('i', redis::row),
        ('j', rivals::row),
        ('k', replicas::row),
        ('l', held::lists_beside_renewals),
        ('m', dapr::row),
        ('n', shared::row),
    ];
    let only = &bench.settings.only;
    let mut lines = Vec::new();
    for (letter, row) in rows {
        if only.is_empty() || only.contains(&letter) {
            eprintln!("row {letter} …");
            lines.extend(row(bench));
        }
    }
    lines
}
