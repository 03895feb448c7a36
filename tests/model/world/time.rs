//! Time, which passes only where nothing else happens at once.

use std::rc::Rc;

use super::network::Request;
use super::{BEGIN_MS, Engine, Fault, World};

/// How long a command without a deadline may be on its way from a connection that broke.
const ON_ITS_WAY_MS: i64 = 1_500;

impl World {
    /// When something is due next.
    pub(super) fn next_due(&self, engine: &Engine) -> Option<i64> {
        let since_begin = |ends: i64| ends - BEGIN_MS + self.behind_ms + 1;
        let keys = self.redis.iter().filter_map(|(_, stored)| stored.expires_ms).map(since_begin);
        // A queue is kept for a minute more than any waiter waits, and a mark is none of the world's.
        let keys = keys.filter(|ends| *ends < self.ends_ms + 10_000);
        let is_awake = |sidecar: usize| !self.sidecars[sidecar].is_frozen;
        let sidecars = self.sidecars.iter().filter(|sidecar| !sidecar.is_frozen);
        let sidecars = sidecars.filter_map(|sidecar| sidecar.next_due(engine));
        let courses = self.clients.iter().filter(|client| is_awake(client.sidecar));
        let courses = courses.filter_map(|client| client.course.as_ref()?.next_due(engine));
        let holds = self.holds.iter().filter(|hold| is_awake(hold.sidecar)).filter_map(|hold| hold.next_due(engine));
        let promises = self.clients.iter().filter_map(|client| Some(client.promise.as_ref()?.until_ms));
        keys.chain(sidecars).chain(courses).chain(holds).chain(promises).min().map(|due| due.max(self.now_ms))
    }

    pub(super) fn pass(&mut self, engine: &Engine) {
        self.now_ms = self.next_due(engine).unwrap_or(self.now_ms);
        self.purge();
        let now_ms = self.now_ms;
        for client in 0..self.clients.len() {
            if self.clients[client].promise.as_ref().is_some_and(|promise| now_ms >= promise.until_ms) {
                self.lapse(client);
                self.close_hold(engine, client);
            }
        }
        for sidecar in 0..self.sidecars.len() {
            if !self.sidecars[sidecar].is_frozen {
                self.sidecar_due(engine, sidecar);
            }
        }
        for client in 0..self.clients.len() {
            if !self.sidecars[self.clients[client].sidecar].is_frozen {
                self.attempt_due(engine, client);
            }
        }
        self.forget_what_is_too_late(engine);
    }

    /// What may be run no more does nothing.
    fn forget_what_is_too_late(&mut self, engine: &Engine) {
        let (now_ms, clock_ms, ends_ms) = (self.now_ms, self.clock_ms(), self.ends_ms);
        let has_deadline = |request: &Request| {
            let is_planted = engine.plant.has(Fault::JoinsWithoutDeadline) && request.script == "queue_join";
            !engine.plant.has(Fault::HasNoDeadlines) && !is_planted
        };
        let may_run = |request: &Rc<Request>| match request.not_after_ms {
            Some(not_after_ms) if has_deadline(request) => clock_ms <= not_after_ms,
            _ => now_ms <= ends_ms.max(request.sent_ms + ON_ITS_WAY_MS),
        };
        for requests in &mut self.late {
            requests.retain(may_run);
        }
        self.late.retain(|requests| !requests.is_empty());
    }
}
