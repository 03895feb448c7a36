//! Scripts that run in one call, as `redis/batch.rs` sends them.

use std::rc::Rc;

use super::Engine;
use super::network::Request;
use crate::redis::Reply;

/// Those that may.
pub const SCRIPTS: [&str; 6] = ["acquire", "share", "renew", "release", "queue_join", "queue_advance"];

/// What `batch.lua` is given for them: its counts as texts, which Lua reads as numbers.
pub fn args<'a>(engine: &Engine, requests: impl Iterator<Item = &'a Request>) -> Rc<[String]> {
    requests
        .flat_map(|Request { script, args, .. }| {
            let counts = [engine.keys_of(script, args).len(), args.len()].map(|count| count.to_string());
            [(*script).to_owned()].into_iter().chain(counts).chain(args.iter().cloned())
        })
        .collect()
}

/// The scripts that these are arguments of, and the arguments of each.
pub fn operations(args: &[String]) -> impl Iterator<Item = (&str, &[String])> {
    let mut rest = args;
    std::iter::from_fn(move || {
        let [script, _, count, further @ ..] = rest else { return None };
        let (its, behind) = further.split_at(count.parse().ok()?);
        rest = behind;
        Some((script.as_str(), its))
    })
}

/// Of each the row that its own script would answer.
pub fn rows(reply: Reply) -> Vec<Reply> {
    let Reply::Array(rows) = reply else { panic!("a batch is answered by rows: {reply:?}") };
    rows.into_iter().map(row).collect()
}

fn row(row: Reply) -> Reply {
    match row {
        Reply::Bulk(words) => Reply::Array(words.split(|byte| *byte == b' ').map(Reply::bulk).collect()),
        Reply::Array(parts) => match parts.as_slice() {
            [Reply::Bulk(word), Reply::Bulk(text), _] if word == b"error" => {
                Reply::Error(String::from_utf8_lossy(text).into_owned())
            }
            _ => Reply::Array(parts),
        },
        other => other,
    }
}
