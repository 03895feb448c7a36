//! The engine behind the door: how an attempt becomes a script, and a script's row an outcome that can be relied on.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Shared;
use super::outcome::{Acquired, Attempt, Changed, Holder, LockFailure, Loss, Own, Progress, Wait, Which};
use super::record;
use super::scripts::{AcquireArgs, AcquireRow, Found, RenewRow, Scripts, Seen, UndoRow};
use super::types::{Key, Lease, Token};
use super::undo::{Undo, Undoer};
use super::waiters::{Joining, Line, Turn};
use crate::redis::RedisFailure;

/// How often a waiter that asked for it is told where it stands.
const PROGRESS: Duration = Duration::from_secs(2);

/// What one thread's engine is made of.
pub struct Engine {
    pub scripts: Scripts,
    pub shared: Arc<Shared>,
    pub undoer: Undoer,
    pub line: Arc<Line>,
}

/// One sending of an attempt, as its lease spells it.
pub struct Sending {
    identity: String,
    nonce: String,
    pub request: String,
    id: String,
}

impl Sending {
    pub fn of(attempt: &Attempt, id: String) -> Sending {
        let (nonce, request) = match &attempt.name {
            // In a space of its own, so that no caller's name is ever one of ours.
            Some(name) => (record::nonce(&format!("caller:{name}")), id.clone()),
            None => (record::nonce(&id), String::new()),
        };
        Sending { identity: record::identity(&attempt.owner), nonce, request, id }
    }

    /// Owner and nonce as the lease spells them.
    pub fn attempt(&self) -> String {
        [self.identity.as_str(), &self.nonce].concat()
    }
}

impl Engine {
    pub async fn acquire(&self, key: &Key, attempt: &Attempt, sending: &Sending) -> Result<Acquired, LockFailure> {
        let Attempt { owner, ttl, own, meta, .. } = attempt.clone();
        let args = AcquireArgs {
            ttl,
            identity: &sending.identity,
            nonce: &sending.nonce,
            further: record::further(&owner, meta.as_deref()),
            own: match own {
                Own::Refuse => "refuse",
                Own::Renew => "renew",
                Own::Extend => "extend",
            },
            request: &sending.request,
        };
        let sent = Instant::now();
        match self.scripts.acquire(key, args).await? {
            // An answer to another question, as after a proxy lost one.
            AcquireRow::Granted { token, .. } if token.shard() != key.shard() => {
                Err(RedisFailure::Nonsense(format!("the token {} for a key of shard {}", token.get(), key.shard()))
                    .into())
            }
            AcquireRow::Granted { token, since_ms, valid_until_ms } => {
                self.shared.ledger.granted(key.shard(), ttl.as_ms());
                self.shared.floors.saw(token);
                let (key, ttl_ms) = (key.clone(), ttl.as_ms());
                let lease = Lease { key, token, owner, since_ms, valid_until_ms, ttl_ms, valid_for_ms: ttl_ms, meta };
                promised(lease, ttl_ms, sent).map(Acquired::Granted).map_err(LockFailure::TooLate)
            }
            AcquireRow::Replayed(found) => kept(lease(key, &found)?, sent).map(Acquired::Replayed),
            AcquireRow::Renewed(found) => {
                let lease = kept(lease(key, &found)?, sent)?;
                self.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                Ok(Acquired::Renewed(lease))
            }
            AcquireRow::Held(found) => Ok(Acquired::Held(record::holder(key, &found))),
            AcquireRow::Stranger => Ok(Acquired::Held(Holder::UNKNOWN)),
        }
    }

    /// Waits in line until it is the attempt's turn. A turn counts when it is taken: by a renewal to the whole ttl.
    pub async fn wait(
        &self,
        key: &Key,
        attempt: &Attempt,
        sending: &Sending,
        wait: Wait,
        undo: &mut Undo,
        gone: impl Future<Output = ()>,
    ) -> Result<Acquired, LockFailure> {
        let _seat = Seat::take(&self.shared)?;
        let claim = record::claim(attempt.owner.claim());
        let further = record::further(&attempt.owner, attempt.meta.as_deref());
        let mut draining = self.shared.draining.clone();
        let mut gone = pin!(gone);
        let mut stood = None;
        loop {
            let left = wait.until.saturating_duration_since(Instant::now());
            let joining = Joining {
                id: sending.id.clone(),
                identity: &sending.identity,
                nonce: &sending.nonce,
                request: &sending.request,
                ttl_ms: attempt.ttl.as_ms(),
                further: &further,
                longest_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                stood,
            };
            let mut ticket = match self.line.join(key, joining).await {
                Ok(ticket) => ticket,
                Err((failure, entry)) => {
                    undo.waiter = entry;
                    return Err(failure);
                }
            };
            let entry = ticket.entry.clone();
            let turn = tokio::select! {
                biased;
                turn = ticket.turn() => turn.ok_or(LockFailure::Draining),
                () = tokio::time::sleep_until(wait.until.into()) => Err(LockFailure::WaitTimeout),
                () = gone.as_mut() => Err(LockFailure::WaitTimeout),
                () = begun(&mut draining) => Err(LockFailure::Draining),
                () = self.tell_progress(key, &entry, wait.progress.as_ref()) => Err(LockFailure::WaitTimeout),
            };
            undo.waiter.clone_from(&ticket.entry);
            stood = ticket.stood();
            drop(ticket);
            let token = match turn {
                Ok(Turn::Offered(token)) => token,
                other => {
                    // At once, so that the line moves on; where that fails, the undo that follows tries again.
                    if self.scripts.undo(key, &undo.attempt, &undo.request, &undo.waiter).await.is_ok() {
                        undo.waiter.clear();
                    }
                    other?;
                    match self.acquire(key, attempt, sending).await? {
                        Acquired::Held(_) => continue,
                        acquired => return Ok(acquired),
                    }
                }
            };
            let sent = Instant::now();
            match self.scripts.renew(key, token, &claim, Some(attempt.ttl)).await? {
                RenewRow::Renewed(found) => {
                    undo.waiter.clear();
                    self.shared.ledger.granted(key.shard(), attempt.ttl.as_ms());
                    self.shared.floors.saw(token);
                    let lease = lease(key, &found)?;
                    let ttl_ms = lease.valid_for_ms;
                    return promised(lease, ttl_ms, sent).map(Acquired::Granted).map_err(LockFailure::TooLate);
                }
                // The turn passed before it was taken: in line again.
                RenewRow::Lost | RenewRow::Forced | RenewRow::Other(_) | RenewRow::Stranger => {}
            }
        }
    }

    /// Tells, again and again, where an entry stands in the queue of `key`. Never ends.
    async fn tell_progress(&self, key: &Key, entry: &str, progress: Option<&watch::Sender<Option<Progress>>>) {
        let Some(progress) = progress else { return std::future::pending().await };
        let queue = self.scripts.space.queue(key).into();
        loop {
            let asked = futures_util::future::try_join(
                self.scripts.redis.rank(&queue, entry),
                self.scripts.read(std::slice::from_ref(key)),
            );
            // What is not known just now is asked again.
            if let Ok((Some(rank), found)) = asked.await {
                let holder = match found.into_iter().next() {
                    Some(Seen::Text(found)) => Some(record::holder(key, &found)),
                    Some(Seen::Stranger) => Some(Holder::UNKNOWN),
                    Some(Seen::Nothing) | None => None,
                };
                progress.send_replace(Some(Progress { position: rank + 1, holder }));
            }
            tokio::time::sleep(PROGRESS).await;
        }
    }

    /// Takes a grant back at once that too few replicas have: only then it is certain that there is none.
    pub async fn taken_back(&self, failure: LockFailure, undo: &mut Undo) -> LockFailure {
        // A renewal cannot be taken back, nor a grant that another sending was told of.
        let LockFailure::Redis(RedisFailure::Unreplicated { word, why }) = &failure else { return failure };
        if word != "granted" {
            return failure;
        }
        match Box::pin(self.scripts.undo(&undo.key, &undo.attempt, &undo.request, &undo.waiter)).await {
            Ok(UndoRow::Undone | UndoRow::Nothing) => {
                undo.waiter.clear();
                LockFailure::TakenBack(why.clone())
            }
            Ok(UndoRow::Told) | Err(_) => failure,
        }
    }

    pub async fn find(&self, which: Which) -> Result<Option<(Key, Token)>, LockFailure> {
        match which {
            Which::Of(key, token) => Ok(Some((key, token))),
            Which::Token(token) => Ok(self.key_of(token).await?.map(|key| (key, token))),
        }
    }

    async fn key_of(&self, token: Token) -> Result<Option<Key>, LockFailure> {
        let Scripts { redis, space, .. } = &self.scripts;
        let member =
            redis.member_at(space.tokens(token.shard()), token.get()).await.map_err(RedisFailure::of_a_read)?;
        Ok(member.and_then(|key| Key::parse(std::str::from_utf8(&key).ok()?).ok()))
    }
}

/// What the owner of `lease` can count on from now: what Redis had left − time since the command was sent − drift (1 %
/// of the ttl + 2 ms). Nothing left is an error: how many milliseconds went.
pub fn promised(mut lease: Lease, ttl_ms: u64, sent: Instant) -> Result<Lease, u64> {
    let elapsed_ms = u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let drift_ms = ttl_ms.div_ceil(100) + 2;
    lease.valid_for_ms = lease.valid_for_ms.saturating_sub(elapsed_ms.saturating_add(drift_ms));
    if lease.valid_for_ms == 0 { Err(elapsed_ms) } else { Ok(lease) }
}

/// [`promised`], for a lease that its owner had already: `valid_for_ms` is what a renewal set, or what was left.
pub fn kept(lease: Lease, sent: Instant) -> Result<Lease, LockFailure> {
    let ttl_ms = lease.valid_for_ms;
    promised(lease, ttl_ms, sent).map_err(LockFailure::RenewedTooLate)
}

pub fn lease(key: &Key, found: &Found) -> Result<Lease, RedisFailure> {
    record::read(key, found)
        .ok_or_else(|| RedisFailure::Nonsense("a script took a stranger's text for a lease".to_owned()))
}

/// What `{"other", lease}` means for the holder of `token`.
pub fn not_mine<T>(key: &Key, token: Token, text: &[u8]) -> Changed<T> {
    match record::token(key, text) {
        Some(there) if there == token => Changed::NotYours,
        _ => Changed::Lost(Loss::Superseded),
    }
}

/// Waits until the process is being stopped.
async fn begun(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// One of the seats for those who wait.
struct Seat<'a>(&'a Shared);

impl Seat<'_> {
    fn take(shared: &Shared) -> Result<Seat<'_>, LockFailure> {
        let taken = shared.waiters.fetch_add(1, Ordering::Relaxed);
        shared.metrics.waiters.with_label_values::<&str>(&[]).inc();
        let seat = Seat(shared);
        if taken >= shared.max_waiters { Err(LockFailure::TooManyWaiters(taken)) } else { Ok(seat) }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.waiters.with_label_values::<&str>(&[]).dec();
    }
}
