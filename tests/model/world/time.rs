//! Time, which passes only where nothing else happens at once.

use super::{BEGIN_MS, Engine, World};

/// How long a command may be on its way from a connection that broke: for longer than until its deadline.
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
        // Of leases that share a key each has an end of its own.
        let leases = self.held.iter().map(|held| held.until_ms);
        let due =
            keys.chain(sidecars).chain(courses).chain(holds).chain(promises).min().map(|due| due.max(self.now_ms));
        let further = leases.chain(self.around_each_end()).filter(|due| *due > self.now_ms).min();
        due.into_iter().chain(further).min()
    }

    /// Where the time passes millisecond by millisecond around each end: the last one before it, it, and the first one behind.
    fn around_each_end(&self) -> impl Iterator<Item = i64> {
        let leases = self.held.iter().map(|held| held.until_ms);
        let promises = self.clients.iter().filter_map(|client| Some(client.promise.as_ref()?.until_ms));
        let ends = leases.chain(promises).filter(|_| self.is_exact);
        ends.flat_map(|end| end - 1..=end + 1)
    }

    pub(super) fn pass(&mut self, engine: &Engine) {
        self.pass_until(engine, self.next_due(engine).unwrap_or(self.now_ms));
    }

    /// Time passes, and what is due happens.
    pub(super) fn pass_until(&mut self, engine: &Engine, until_ms: i64) {
        self.now_ms = until_ms;
        self.purge();
        let now_ms = self.now_ms;
        for client in 0..self.clients.len() {
            if let Some(promise) = self.clients[client].promise.clone().filter(|promise| now_ms >= promise.until_ms) {
                self.keep_taken(&promise, promise.until_ms);
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
        self.forget_what_is_lost();
    }

    /// What was on its way for so long does not arrive any more. What arrives past its deadline the script refuses.
    fn forget_what_is_lost(&mut self) {
        let (now_ms, ends_ms) = (self.now_ms, self.ends_ms);
        for requests in &mut self.late {
            requests.retain(|request| {
                let is_endless = request.not_after_ms.is_none();
                let last_ms = request.sent_ms + ON_ITS_WAY_MS;
                now_ms <= if is_endless { ends_ms.max(last_ms) } else { last_ms }
            });
        }
        self.late.retain(|requests| !requests.is_empty());
    }
}
