//! The task that fetches a set for as long as the process lives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fetch::Found;
use super::{KeySet, LEAST_PAUSE, lack};
use crate::auth::jwt::Verifier;
use crate::metrics::Metrics;

/// Longest time for one fetch.
const LONGEST_FETCH: Duration = Duration::from_secs(5);
/// After a fetch that failed, while there are keys and while there are none.
const RETRY: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The label of its metric.
const FLAG: &str = "jwks-url";

impl KeySet {
    /// Fetches the keys at each turn, when a token names one that is not here, and when it is told to by `look`.
    pub async fn follow(self, metrics: Arc<Metrics>, mut look: Receiver<()>) {
        let unfit = metrics.secret_file_unfit.with_label_values(&[FLAG]);
        unfit.set(0);
        let mut last = None;
        loop {
            let began = Instant::now();
            self.begin(began);
            let found = match timeout(LONGEST_FETCH, self.0.origin.fetch()).await {
                Ok(found) => found,
                Err(_) => Err(format!("no whole answer within {} s", LONGEST_FETCH.as_secs())),
            };
            let outcome = found.and_then(|found| self.take(found, &mut last));
            let has_failed = outcome.is_err();
            let pause = self.settle(outcome);
            unfit.set(has_failed.into());
            // Who asked meanwhile has what was fetched.
            let _ = self.0.wanted.notified().now_or_never();
            self.0.ended.send_modify(|ended| *ended += 1);
            let is_wanted = async {
                self.0.wanted.notified().await;
                sleep_until(began + LEAST_PAUSE).await;
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = is_wanted => {}
                Ok(()) = look.changed() => {}
            }
        }
    }

    /// Takes what was found into use, unless it is what was found last.
    fn take(&self, found: Found, last: &mut Option<Found>) -> Result<(), String> {
        if last.as_ref() == Some(&found) {
            return Ok(());
        }
        let verifier = self.0.origin.verifier(&found)?;
        self.say_fetched(&verifier, last.as_ref().is_some_and(|last| last.is_of_another_issuer(&found)));
        *self.0.now.write().expect("no holder of this lock panics") = Some(Arc::new(verifier));
        *last = Some(found);
        Ok(())
    }

    fn say_fetched(&self, verifier: &Verifier, is_of_another_issuer: bool) {
        let (url, skipped) = (&self.0.origin, verifier.skipped());
        match skipped.first() {
            None => tracing::info!(%url, keys = verifier.count(), "JWT keys fetched"),
            Some(reason) => {
                tracing::info!(%url, keys = verifier.count(), skipped = skipped.len(), reason, "JWT keys fetched");
            }
        }
        if is_of_another_issuer {
            tracing::warn!(%url, "the discovery document names another issuer; tokens of the previous one are refused");
        }
        if verifier.shows_private() {
            tracing::warn!(%url, "the set holds a private key (`d`): anyone who can read it can sign tokens");
        }
    }

    fn begin(&self, began: Instant) {
        let mut latest = self.latest();
        (latest.began, latest.is_under_way) = (Some(began), true);
    }

    /// Notes how a fetch ended, and logs what is new about that. Returns when to fetch next.
    fn settle(&self, outcome: Result<(), String>) -> Duration {
        let has_keys = self.now().is_ok();
        let pause = match (&outcome, has_keys) {
            (Ok(()), _) => self.0.refresh,
            (Err(_), true) => RETRY.min(self.0.refresh),
            (Err(_), false) => FIRST_RETRY,
        };
        let mut latest = self.latest();
        (latest.is_under_way, latest.next) = (false, Some(Instant::now() + pause));
        if outcome.is_ok() {
            latest.success = latest.began;
        }
        let before = std::mem::replace(&mut latest.problem, outcome.err());
        if let Some(problem) = &latest.problem {
            latest.lack = lack(&self.0.origin, problem);
        }
        let url = &self.0.origin;
        match &latest.problem {
            None if before.is_some() => tracing::info!(%url, "JWT keys can be fetched again"),
            Some(problem) if before.as_ref() != Some(problem) && has_keys => {
                tracing::error!(%url, problem, "cannot fetch the JWT keys; keeping the previous ones");
            }
            Some(problem) if before.as_ref() != Some(problem) => {
                tracing::error!(%url, problem, "cannot fetch the JWT keys; requests with a JWT are 503 until then");
            }
            _ => {}
        }
        pause
    }
}
