//! What a script answers is true in the instant in which it does.

use super::network::Request;
use super::sidecar::{row, stored, text};
use super::{Engine, Held, World};
use crate::properties::{TRUE, Violation};
use crate::redis::Reply;

impl World {
    /// Compares an answer with what lies in Redis now; `is_alone`: no other script ran in the same call, perhaps behind it.
    pub(super) fn check_truth(&mut self, engine: &Engine, request: &Request, reply: &Reply, is_alone: bool) {
        if self.broken.is_some() {
            return;
        }
        let leases = self.leases(engine);
        let arg = |at: usize| request.args.get(at).map_or("", String::as_str);
        let lease = |token: &str| leases.iter().find(|held| held.token.to_string() == token);
        // A rest is no owner's any more.
        let names = |held: &Held, sending: &str| !held.is_resting && held.sendings().any(|other| other == sending);
        let (word, rest) = row(reply);
        let is_true = match (request.script, word) {
            ("release", "released") => lease(arg(4)).is_none_or(|held| held.is_resting || held.by.contains('!')),
            ("release", "lost") => lease(arg(4)).is_none(),
            ("renew", "lost" | "forced") => lease(arg(1)).is_none(),
            ("queue_decline", "declined") => lease(arg(4)).is_none(),
            ("undo", "undone" | "told" | "nothing") => !leases.iter().any(|held| names(held, arg(5))),
            ("acquire" | "share", "granted") if is_alone => {
                lease(&text(&rest[0])).is_some_and(|held| self.by_redis(held.until_ms).to_string() == text(&rest[2]))
            }
            ("renew", "renewed") if is_alone => {
                let found = stored(rest).map(|found| found.valid_until_ms);
                lease(arg(1)).is_some_and(|held| Some(self.by_redis(held.until_ms)) == found)
            }
            ("acquire" | "share", "replayed" | "renewed") if is_alone => {
                let found = stored(rest).map(|found| found.valid_until_ms);
                // In its last millisecond a lease ends where it is written again.
                found == Some(self.clock_ms()) || leases.iter().any(|held| Some(self.by_redis(held.until_ms)) == found)
            }
            _ => true,
        };
        // Where the clock was set back and data is lost, what ran behind it may have been granted the token that is lost.
        let is_again = !is_alone && self.behind_ms > 0 && !self.has_its_data;
        if !is_true && !is_again {
            let how =
                format!("{} for {:?} is answered `{word}`, and there is {leases:?}", request.script, request.args);
            self.broken = Some(Violation { property: TRUE, how });
        }
    }

    /// A time of the world's by Redis's clock.
    fn by_redis(&self, ms: i64) -> i64 {
        ms + self.clock_ms() - self.now_ms
    }
}
