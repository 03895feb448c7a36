//! The columns of the list.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::failure::{Failure, not_ours};
use crate::cli::view::{self, Holder, one_line, printable, span};

const ALWAYS: [&str; 5] = ["KEY", "OWNER", "HOST", "AGE", "VALID FOR"];
const WIDE: [&str; 6] = ["WAITERS", "MODE", "KIND", "TOKEN", "SINCE", "META"];

struct Lock {
    key: String,
    /// Whether its lease was released, and nothing is left but that the key is taken.
    is_resting: bool,
    /// Of a sidecar that says it.
    waiters: Option<u64>,
    holder: Holder,
}

impl Lock {
    /// In two readings: one for both would read `meta`, too, which may be more than it can.
    fn read(json: &RawValue) -> Result<Lock, Failure> {
        #[derive(Deserialize)]
        struct Named {
            key: String,
            state: Option<String>,
            waiters: Option<u64>,
        }
        let read = |json| {
            let Named { key, state, waiters } = serde_json::from_str(json)?;
            let is_resting = state.as_deref() == Some("resting");
            Ok(Lock { key, is_resting, waiters, holder: serde_json::from_str(json)? })
        };
        read(json.get()).map_err(|error| not_ours(&error))
    }

    fn row(&self) -> Vec<String> {
        // Else several rows of a key would look like several who have it alone.
        let is_shared = self.holder.mode.as_deref() == Some("shared") && !self.is_resting;
        self.cells(if is_shared { " (shared)" } else { "" })
    }

    /// `note` stands behind the owner.
    fn cells(&self, note: &str) -> Vec<String> {
        let Holder { owner, valid_for_ms, .. } = &self.holder;
        vec![
            printable(&self.key),
            cell(owner.as_deref().map(|owner| {
                let released = if self.is_resting { " (released)" } else { "" };
                format!("{}{released}{note}", printable(owner))
            })),
            cell(self.holder.host()),
            cell(self.holder.held_for_ms().map(span)),
            cell(valid_for_ms.map(span)),
        ]
    }

    fn wide_row(&self) -> Vec<String> {
        let Holder { kind, token, since, meta, .. } = &self.holder;
        let more = [
            cell(self.waiters),
            cell(self.holder.mode()),
            cell(kind.as_deref().map(printable)),
            cell(*token),
            cell(since.as_deref().map(printable)),
            cell(meta.as_ref().map(|meta| printable(&one_line(meta.get())))),
        ];
        self.cells("").into_iter().chain(more).collect()
    }
}

fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The locks for people.
pub fn table(locks: &[Box<RawValue>], is_wide: bool) -> Result<String, Failure> {
    let locks = locks.iter().map(|json| Lock::read(json)).collect::<Result<Vec<_>, _>>()?;
    if !is_wide {
        return Ok(view::table(&ALWAYS, &locks.iter().map(Lock::row).collect::<Vec<_>>()));
    }
    Ok(view::table(&[&ALWAYS[..], &WIDE[..]].concat(), &locks.iter().map(Lock::wide_row).collect::<Vec<_>>()))
}
