//! Elections: of all sidecars that are candidates, one leads. A leader holds a lock, and each election is the queue of one.
//!
//! Architecture invariant: no two sidecars say at once that they lead, whatever Redis does. So a promise is withdrawn before
//! the lock is released; and a sidecar that is granted the lock is silent for a whole ttl, since Redis may have lost the lease of
//! another one that still counts on it, unless the lock came straight from a leader that had withdrawn.

mod absence;
mod candidate;
mod condition;
mod health;
mod knowledge;
mod leader;
mod look;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::drain::Drain;
use crate::hold::{Granted, Keeper};
use crate::lock::{Holder, Key, Owner, Ttl};
use crate::metrics::Metrics;
use crate::timer::sleep_until;
pub use absence::absence;
use candidate::{Candidate, Resignation};
pub use condition::Asker;
use condition::{Asks, Conditions};
pub use knowledge::Answer;
use knowledge::{Knowledge, Leading, Seen};
pub use settings::{Condition, ElectionConfig, ElectionSettings};

/// The app is asked for its health so often in a ttl.
const PROBES_IN_A_TTL: u32 = 8;

/// One election, as this sidecar knows it.
pub struct Election {
    pub name: String,
    pub key: Key,
    /// By which name this sidecar stands.
    candidate: String,
    pub ttl: Ttl,
    knowledge: watch::Sender<Knowledge>,
    asks: watch::Sender<Asks>,
    /// Whether it counts how often the app asks.
    counts_asks: bool,
    resign: mpsc::Sender<Resignation>,
    look_again: Notify,
    metrics: Arc<Metrics>,
}

/// Every election that this sidecar is a candidate of.
pub struct Elections {
    all: Vec<Arc<Election>>,
    /// What their tasks are made of, until they are started.
    condition: Condition,
    waiting: std::sync::Mutex<Vec<(Arc<Election>, mpsc::Receiver<Resignation>)>>,
}

impl Elections {
    pub fn new(config: &ElectionConfig, metrics: &Arc<Metrics>) -> Elections {
        let mut waiting = Vec::new();
        for ElectionSettings { name, key } in &config.elections {
            let (resign, resignations) = mpsc::channel(16);
            let election = Arc::new(Election {
                name: name.clone(),
                key: key.clone(),
                candidate: config.candidate.clone(),
                ttl: config.ttl,
                knowledge: watch::Sender::default(),
                asks: watch::Sender::default(),
                counts_asks: matches!(config.condition, Condition::Asked(_)),
                resign,
                look_again: Notify::new(),
                metrics: Arc::clone(metrics),
            });
            waiting.push((election, resignations));
        }
        let all = waiting.iter().map(|(election, _)| Arc::clone(election)).collect();
        Elections { all, condition: config.condition.clone(), waiting: std::sync::Mutex::new(waiting) }
    }

    /// Takes part in all of them, from the runtime that owns the keeper's locks, until the process is being stopped.
    pub fn start(&self, keeper: &Keeper) {
        let waiting = std::mem::take(&mut *self.waiting.lock().expect("no holder of this lock panics"));
        let Some((first, _)) = waiting.first() else { return };
        let healthy = match &self.condition {
            Condition::Healthy { url, tls } => {
                let (tell, healthy) = watch::channel(false);
                let every = first.span() / PROBES_IN_A_TTL;
                tokio::spawn(health::watch(url.clone(), tls.clone(), every, tell));
                Some(healthy)
            }
            Condition::Always | Condition::Asked(_) => None,
        };
        for (election, resignations) in waiting {
            let asked = match &self.condition {
                Condition::Asked(span) => Some((*span, election.asks.subscribe())),
                Condition::Always | Condition::Healthy { .. } => None,
            };
            let drain = Drain::clone(&keeper.drain);
            let conditions = Conditions { drain, absent_until: None, healthy: healthy.clone(), asked };
            tokio::spawn(Candidate { election, keeper: keeper.clone(), conditions, resignations }.run());
        }
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Election>> {
        self.all.iter().find(|election| election.name == name)
    }

    /// The election, where there is exactly one.
    pub fn only(&self) -> Option<&Arc<Election>> {
        if let [election] = self.all.as_slice() { Some(election) } else { None }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|election| election.name.as_str())
    }

    /// Brings the gauge of the leaders up to date.
    pub fn gauge(&self, metrics: &Metrics) {
        for election in &self.all {
            let leads = i64::from(election.leads());
            metrics.leader.with_label_values(&[election.name.as_str()]).set(leads);
        }
    }
}

impl Election {
    /// What is said of it now.
    pub fn answer(&self) -> Answer {
        let (wall_ms, now) = times();
        self.knowledge.borrow().at(now, wall_ms, &self.candidate, self.span())
    }

    pub fn leads(&self) -> bool {
        self.answer().leads_for.is_some()
    }

    /// Says that it was asked.
    pub fn ask(&self, by: Asker) {
        if self.counts_asks && by == Asker::App {
            self.asks.send_modify(|asks| asks.last = Some(Instant::now()));
        }
    }

    /// Hears of all that changes, for as long as it is kept.
    pub fn listen(self: &Arc<Election>, by: Asker) -> Listener {
        if by == Asker::App {
            self.asks.send_modify(|asks| asks.listeners += 1);
        }
        Listener { election: Arc::clone(self), knowledge: self.knowledge.subscribe(), answered: Instant::now(), by }
    }

    /// Stops leading, and stays away for so long; ends once the lock is released. False where the process is being stopped.
    pub async fn resign(&self, absent_for: Option<Duration>) -> bool {
        let (done, told) = oneshot::channel();
        self.resign.send(Resignation { absent_for, done }).await.is_ok() && told.await.is_ok()
    }

    fn span(&self) -> Duration {
        Duration::from_millis(self.ttl.as_ms())
    }

    fn owner(&self) -> Owner {
        Owner::system(self.candidate.clone())
    }

    /// Of the lease of a leader.
    fn meta(&self) -> String {
        format!(r#"{{"election":"{}"}}"#, self.name)
    }

    /// For how long a new leader is silent: as long as the longest promise of another one that Redis may have lost.
    fn silence(&self) -> Duration {
        self.span().max(self.knowledge.borrow().longest_promise(Instant::now()))
    }

    fn granted(&self, granted: &Granted, from: Instant) {
        let lease = &granted.lease;
        let (token, since_ms, until) = (lease.token, lease.since_ms, granted.promised);
        self.knowledge.send_modify(|knowledge| {
            knowledge.lead(Leading { token, since_ms, from, until, renewed_ms: now_ms() });
        });
        self.look_again.notify_one();
    }

    /// It leads from now on.
    fn has_begun(&self) {
        if self.leads() {
            let token = self.knowledge.borrow().token();
            tracing::info!(election = self.name, token, "elected");
            self.changed("elected");
        }
    }

    fn renewed(&self, until: Instant, is_renewal: bool) {
        let renewed_ms = is_renewal.then(now_ms);
        self.knowledge.send_if_modified(|knowledge| knowledge.renew(until, renewed_ms));
    }

    /// From now on it does not lead.
    fn withdraw(&self, why: &'static str) {
        let mut led = false;
        self.knowledge.send_modify(|knowledge| led = knowledge.withdraw(Instant::now()));
        if led {
            tracing::info!(election = self.name, why, "leads no longer");
            self.changed(why);
        }
    }

    fn changed(&self, why: &'static str) {
        self.metrics.leader_changes.with_label_values(&[self.name.as_str(), why]).inc();
    }

    fn see(&self, seen: Seen) {
        self.knowledge.send_modify(|knowledge| knowledge.see(seen, Instant::now()));
    }

    /// What a candidate heard of the holder of the lock: it is looked at again where that is news.
    fn has_heard(&self, holder: Option<&Holder>) {
        let token = match holder {
            Some(Holder::Lease(lease)) => Some(lease.token),
            _ => None,
        };
        if token != self.knowledge.borrow().other().map(|other| other.token) {
            self.look_again.notify_one();
        }
    }
}

/// Hears of what changes in an election.
pub struct Listener {
    election: Arc<Election>,
    knowledge: watch::Receiver<Knowledge>,
    /// The time of the last answer.
    answered: Instant,
    by: Asker,
}

impl Listener {
    pub fn answer(&mut self) -> Answer {
        let election = &self.election;
        let (wall_ms, now) = times();
        self.answered = now;
        self.knowledge.borrow_and_update().at(now, wall_ms, &election.candidate, election.span())
    }

    /// Ends when something may have changed since the last answer.
    pub async fn changed(&mut self) {
        let next = self.knowledge.borrow().next_change(self.answered, self.election.span());
        tokio::select! {
            // The election lives as long as this.
            _ = self.knowledge.changed() => {}
            () = sleep_until(next) => {}
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.by == Asker::App {
            self.election.asks.send_modify(|asks| {
                asks.listeners -= 1;
                asks.last = Some(Instant::now());
            });
        }
    }
}

/// Whether the meta of a lease is that of a candidate.
fn is_of_an_election(meta: &str) -> bool {
    #[derive(Deserialize)]
    struct Meta {
        #[allow(dead_code, reason = "that it is there is all that is asked")]
        election: String,
    }
    serde_json::from_str::<Meta>(meta).is_ok()
}

/// Now, by both clocks. The machine's first: frozen between the two, this process promises less, not more.
fn times() -> (u64, Instant) {
    (now_ms(), Instant::now())
}

/// Milliseconds since 1970, by this machine's clock.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
