//! The task by which this sidecar takes part in one election: it waits until it may stand, stands in the queue of the lock,
//! leads while it holds the lock, and begins again, at the end of the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::condition::{Conditions, Obstacle};
use super::leader::{Leader, Withdrawal};
use super::{Election, look};
use crate::hold::{Granted, Keeper};
use crate::lock::{Acquired, Attempt, LockFailure, Reentry, Succession, Wait};
use crate::timer::sleep_until;

/// Longest time in the queue before it is joined again, at its end.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Pause after an attempt that failed.
const RETRY: Duration = Duration::from_millis(200);

/// To stop leading; and not to stand for a while.
pub struct Resignation {
    pub absent_for: Option<Duration>,
    /// Told once the lock is released.
    pub done: oneshot::Sender<()>,
}

/// One candidate of one election.
pub struct Candidate {
    pub election: Arc<Election>,
    pub keeper: Keeper,
    pub conditions: Conditions,
    pub resignations: mpsc::Receiver<Resignation>,
}

impl Candidate {
    /// Takes part until the process is being stopped.
    pub async fn run(mut self) {
        tokio::spawn(look::keep_looking(Arc::clone(&self.election), self.keeper.locks.clone()));
        loop {
            let now = Instant::now();
            match self.conditions.obstacle(now) {
                Some(Obstacle::Drain) => return,
                Some(_) => tokio::select! {
                    () = self.conditions.changed(now) => {}
                    Some(resignation) = self.resignations.recv() => self.stay_away(resignation),
                },
                None => {
                    if let Some((granted, from)) = self.stand().await {
                        self.lead(granted, from).await;
                        self.election.look_again.notify_one();
                    }
                }
            }
        }
    }

    /// Stands until it is granted the lock, and since when it leads then; `None` where something keeps it from standing.
    async fn stand(&mut self) -> Option<(Granted, Instant)> {
        let Candidate { election, keeper, conditions, resignations } = self;
        let (tell, mut progress) = watch::channel(None);
        let succession = Succession::default();
        let mut attempt = Attempt::plain(election.owner(), election.ttl, Reentry::Refuse);
        attempt.meta = Some(election.meta());
        attempt.is_hold = true;
        attempt.wait = Some(Wait {
            until: Instant::now() + LONGEST_WAIT,
            progress: Some(tell),
            succession: Some(succession.clone()),
        });
        let mut acquiring = Box::pin(keeper.locks.acquire(election.key.clone(), attempt));
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut acquiring => break outcome,
                _ = conditions.hindered() => return None,
                Some(resignation) = resignations.recv() => {
                    if resignation.absent_for.is_none() {
                        let _ = resignation.done.send(());
                        continue;
                    }
                    drop(acquiring);
                    self.stay_away(resignation);
                    return None;
                }
                Ok(()) = progress.changed() => {
                    let holder = progress.borrow_and_update().as_ref().and_then(|progress| progress.holder.clone());
                    election.has_heard(holder.as_ref());
                }
            }
        };
        match outcome {
            Ok((Acquired::Granted(lease), unconfirmed)) => {
                let granted = Granted::of(lease, unconfirmed);
                let now = Instant::now();
                let is_succession = succession.is_of(granted.lease.token, now);
                let silence = if is_succession { Duration::ZERO } else { election.silence() };
                Some((granted, now + silence))
            }
            Ok(_) | Err(LockFailure::WaitTimeout | LockFailure::Draining) => None,
            Err(failure) => {
                tracing::debug!(election = election.name, %failure, "cannot stand; retrying");
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    _ = conditions.hindered() => {}
                }
                None
            }
        }
    }

    /// Leads from then on, until it loses the lock or has released it.
    async fn lead(&mut self, granted: Granted, from: Instant) {
        let Candidate { election, keeper, conditions, resignations } = self;
        election.granted(&granted, from);
        let (client, end) = Leader::of(Arc::clone(election), from);
        let mut hold = Box::pin(keeper.clone().keep(granted, election.ttl, Arc::new(client)));
        let (mut resigned, mut speaks_at) = (Vec::new(), Some(from));
        loop {
            tokio::select! {
                biased;
                () = &mut hold => break,
                obstacle = conditions.hindered(), if end.borrow().is_none() => {
                    let (why, withdrawal) = match obstacle {
                        Obstacle::Drain => ("drain", Withdrawal::Resigned),
                        Obstacle::Unhealthy => ("unhealthy", Withdrawal::Unhealthy),
                        Obstacle::Absent => ("resigned", Withdrawal::Resigned),
                    };
                    election.withdraw(why);
                    end.send_replace(Some(withdrawal));
                }
                Some(Resignation { absent_for, done }) = resignations.recv() => {
                    election.withdraw("resigned");
                    end.send_if_modified(|end| {
                        let is_first = end.is_none();
                        end.get_or_insert(Withdrawal::Resigned);
                        is_first
                    });
                    conditions.absent_until = absent_for.map(|span| Instant::now() + span);
                    resigned.push(done);
                }
                () = sleep_until(speaks_at), if speaks_at.is_some() => {
                    speaks_at = None;
                    election.has_begun();
                }
            }
        }
        for done in resigned {
            let _ = done.send(());
        }
    }

    fn stay_away(&mut self, Resignation { absent_for, done }: Resignation) {
        if let Some(span) = absent_for {
            self.conditions.absent_until = Some(Instant::now() + span);
        }
        let _ = done.send(());
    }
}
