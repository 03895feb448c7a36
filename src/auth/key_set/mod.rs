//! The keys of `--jwks-url`: fetched when the process starts, from then on at each turn, and at once for a token whose key is
//! not among them. What was fetched last stays in use when a fetch fails.

mod fetch;
mod follow;

use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::jwt::Verifier;
use super::unauthorized::Unauthorized;
pub use fetch::{Origin, check_url};

/// Least time between two fetches for tokens whose keys are unknown: anyone can send such tokens.
const LEAST_PAUSE: Duration = Duration::from_secs(5);
/// Longest time that a request waits for a key.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A set of keys that is fetched. Clones share it.
#[derive(Clone)]
pub struct KeySet(Arc<Inner>);

struct Inner {
    origin: Origin,
    /// Between two fetches.
    refresh: Duration,
    now: RwLock<Option<Arc<Verifier>>>,
    latest: Mutex<Latest>,
    /// A token names a key that is not here.
    wanted: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
}

/// The latest fetch.
#[derive(Default)]
struct Latest {
    began: Option<Instant>,
    is_under_way: bool,
    /// When the next one is due at the latest.
    next: Option<Instant>,
    /// When the latest one that succeeded began: what was published later may not be in it.
    success: Option<Instant>,
    /// Why it failed, if it did.
    problem: Option<String>,
    /// Why no token can be verified, while no keys were fetched.
    lack: String,
}

impl KeySet {
    /// The set of this origin, of which nothing is known yet.
    pub fn new(origin: Origin, refresh: Duration) -> KeySet {
        let latest = Latest { lack: lack(&origin, "the first fetch has not ended"), ..Latest::default() };
        KeySet(Arc::new(Inner {
            origin,
            refresh,
            now: RwLock::default(),
            latest: latest.into(),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
        }))
    }

    /// Whether it is named by an issuer's discovery document, which also says what `iss` a token must have.
    pub fn is_discovery(&self) -> bool {
        self.0.origin.is_discovery()
    }

    /// The keys as they are now.
    pub fn now(&self) -> Result<Arc<Verifier>, Unauthorized> {
        let now = self.0.now.read().expect("no holder of this lock panics").clone();
        now.ok_or_else(|| Unauthorized::NoKeys(self.latest().lack.clone()))
    }

    /// Why no token can be verified, while no keys were fetched.
    pub fn lack(&self) -> Option<String> {
        self.0.now.read().expect("no holder of this lock panics").is_none().then(|| self.latest().lack.clone())
    }

    /// Has the keys fetched for a token whose key is not among them, and waits for that where it is due soon. Whether they
    /// were fetched since: else they will be, and until then the token is neither valid nor invalid.
    pub async fn fetch_again(&self) -> bool {
        let (asked, mut ended) = (Instant::now().into_std(), self.0.ended.subscribe());
        self.0.wanted.notify_one();
        if self.is_due_soon() {
            // A request that has waited for long enough is answered with the keys that there are.
            let _ = tokio::time::timeout(LONGEST_WAIT, ended.changed()).await;
        }
        self.was_fetched_since(asked)
    }

    /// Whether the keys were fetched since that moment; has them fetched otherwise, without waiting for that.
    pub fn has_fetched_since(&self, moment: std::time::Instant) -> bool {
        let was_fetched = self.was_fetched_since(moment);
        if !was_fetched {
            self.0.wanted.notify_one();
        }
        was_fetched
    }

    fn was_fetched_since(&self, moment: std::time::Instant) -> bool {
        self.latest().success.is_some_and(|success| success.into_std() > moment)
    }

    /// Why a token of an unknown key is not judged.
    pub fn not_fetched_since(&self, why: &str) -> Unauthorized {
        Unauthorized::NoKeys(format!("{why}, and the keys were not fetched again yet from {}", self.0.origin))
    }

    /// Whether a fetch is under way, or may begin while a request waits for it.
    fn is_due_soon(&self) -> bool {
        let latest = self.latest();
        let allowed = latest.began.map(|began| began + LEAST_PAUSE);
        let due = allowed.into_iter().chain(latest.next).min();
        latest.is_under_way || due.is_none_or(|due| due <= Instant::now() + LONGEST_WAIT)
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.0.latest.lock().expect("no holder of this lock panics")
    }
}

fn lack(origin: &Origin, why: &str) -> String {
    format!("no JWT keys yet from {origin}: {why}")
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySet({})", self.0.origin)
    }
}
