//! The engine behind the door: how an attempt becomes a script, and a script's row an outcome that can be relied on.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Shared;
use super::outcome::{Acquired, Attempt, Changed, Expiry, Holder, LockFailure, Loss, Own, Wait, Which};
use super::queue::{Joining, Queue, Turn};
use super::record;
use super::scripts::{AcquireArgs, AcquireRow, Found, How, RenewRow, Scripts, UndoRow};
use super::types::{Key, Lease, Token};
use super::undo::{Undo, Undoer};
use crate::redis::RedisFailure;

/// Between two times that a waiter that lost Redis joins the queue again.
const AGAIN: Duration = Duration::from_millis(50);

/// How long a sending is undone at most that may have been told of an older lease: the longest ttl that is allowed unless
/// it is configured.
const TOLD_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// What one thread's engine is made of.
pub struct Engine {
    pub scripts: Scripts,
    pub shared: Arc<Shared>,
    pub undoer: Undoer,
    pub queue: Queue,
}

/// One sending of an attempt, as its lease spells it.
pub struct Sending {
    /// Owner and nonce.
    attempt: String,
    /// How much of it is the owner, bytes.
    identity: usize,
    /// Its name where the nonce does not name it; else nothing.
    request: String,
    /// Its name, which no other sending has.
    pub id: String,
    further: String,
}

impl Sending {
    pub fn of(attempt: &Attempt, id: String, sidecar: &str) -> Sending {
        let mut text = record::identity(&attempt.owner);
        let identity = text.len();
        let request = match &attempt.name {
            // In a space of its own, so that no caller's name is ever one of ours.
            Some(name) => {
                record::push_nonce(&mut text, &format!("caller:{name}"));
                id.clone()
            }
            None => {
                record::push_nonce(&mut text, &id);
                String::new()
            }
        };
        let hold = attempt.is_hold.then_some(sidecar);
        let further = record::further(&attempt.owner, attempt.meta.as_deref(), hold);
        Sending { attempt: text, identity, request, id, further }
    }

    fn identity(&self) -> &str {
        &self.attempt[..self.identity]
    }

    fn nonce(&self) -> &str {
        &self.attempt[self.identity..]
    }

    /// What undoes it.
    fn undo(&self, key: Key, attempt: &Attempt) -> Undo {
        Undo::new(key, self.identity().to_owned(), self.id.clone(), longest(attempt))
    }

    /// What undoes it.
    pub fn into_undo(mut self, key: Key, attempt: &Attempt) -> Undo {
        self.attempt.truncate(self.identity);
        Undo::new(key, self.attempt, self.id, longest(attempt))
    }
}

impl Engine {
    pub async fn acquire(&self, key: &Key, attempt: &Attempt, sending: &Sending) -> Result<Acquired, LockFailure> {
        let ttl = attempt.ttl;
        let args = AcquireArgs {
            ttl,
            identity: sending.identity(),
            nonce: sending.nonce(),
            further: &sending.further,
            own: attempt.own,
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
                self.saw(token);
                let (key, ttl_ms) = (key.clone(), ttl.as_ms());
                let (owner, meta) = (attempt.owner.clone(), attempt.meta.clone());
                let lease = Lease { key, token, owner, since_ms, valid_until_ms, ttl_ms, valid_for_ms: ttl_ms, meta };
                promised(lease, ttl_ms, sent).map(Acquired::Granted).map_err(LockFailure::TooLate)
            }
            AcquireRow::Replayed(found) => {
                let lease = self.lease(key, &found)?;
                let left_ms = lease.valid_for_ms;
                promised(lease, left_ms, sent).map(Acquired::Replayed).map_err(LockFailure::TooLate)
            }
            AcquireRow::Renewed(found) => {
                let lease = self.lease(key, &found)?;
                self.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                let left_ms = lease.valid_for_ms;
                promised(lease, left_ms, sent).map(Acquired::Renewed).map_err(LockFailure::TooLate)
            }
            AcquireRow::Held(found) => Ok(Acquired::Held(self.holder(key, &found))),
            AcquireRow::Stranger => Ok(Acquired::Held(Holder::UNKNOWN)),
            AcquireRow::Rejoining { valid_until_ms, left_ms } => {
                Ok(Acquired::Held(Holder::Queue(Expiry { valid_until_ms, valid_for_ms: left_ms })))
            }
        }
    }

    /// Waits in the queue until it is the attempt's turn. A turn counts when it is taken: by a renewal to the whole ttl.
    /// `sending` is the attempt's latest one: each time that it asks for the key again it does so by a new name, since the
    /// undo of an older one may still be on its way.
    pub async fn wait(
        &self,
        key: &Key,
        attempt: &Attempt,
        sending: &mut Sending,
        wait: &Wait,
        gone: impl Future<Output = ()>,
    ) -> Result<Acquired, LockFailure> {
        let _seat = Seat::take(&self.shared)?;
        let mut draining = self.shared.draining.clone();
        let mut gone = pin!(gone);
        let (mut position, mut has_waited) = (None, false);
        loop {
            let left = wait.until.saturating_duration_since(Instant::now());
            let joining = Joining {
                id: &sending.id,
                identity: sending.identity(),
                nonce: sending.nonce(),
                request: &sending.request,
                ttl_ms: attempt.ttl.as_ms(),
                further: &sending.further,
                own: attempt.own,
                wait_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                position: position.clone(),
                progress: wait.progress.clone(),
            };
            let mut ticket = match self.queue.join(key, joining).await {
                Ok(ticket) => ticket,
                Err((failure, entry)) => {
                    self.undoer.push_entry(sending.undo(key.clone(), attempt), entry);
                    if !has_waited || !failure.is_passing() || left < AGAIN {
                        return Err(failure);
                    }
                    // A caller that waits need not hear of a Redis that is gone for a moment.
                    *sending = self.another(attempt);
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            has_waited = true;
            let turn = tokio::select! {
                biased;
                turn = ticket.turn() => turn.ok_or(LockFailure::Draining),
                () = tokio::time::sleep_until(wait.until.into()) => Err(LockFailure::WaitTimeout),
                () = gone.as_mut() => Err(LockFailure::WaitTimeout),
                () = begun(&mut draining) => Err(LockFailure::Draining),
            };
            match turn {
                Ok(Turn::Offered(token)) => {
                    // The ticket is kept meanwhile: without it the offer would be declined.
                    let mut taken = self.take(key, attempt, sending, token).await;
                    // Taken twice it is taken once.
                    while taken.as_ref().is_err_and(LockFailure::is_passing) && Instant::now() + AGAIN < wait.until {
                        tokio::time::sleep(AGAIN).await;
                        taken = self.take(key, attempt, sending, token).await;
                    }
                    match taken {
                        Ok(Some(lease)) => return Ok(Acquired::Granted(lease)),
                        // The turn passed before it was taken: in the queue again.
                        Ok(None) => {}
                        Err(failure) => {
                            if !failure.leaves_a_grant() {
                                self.leave(sending.undo(key.clone(), attempt), &ticket.entry).await;
                            }
                            return Err(failure);
                        }
                    }
                }
                Ok(Turn::AskAgain) => {
                    self.leave(sending.undo(key.clone(), attempt), &ticket.entry).await;
                    *sending = self.another(attempt);
                    match self.acquire(key, attempt, sending).await {
                        // It has ended meanwhile, or takes no further sending: without a pause it would be asked for again and
                        // again.
                        Ok(Acquired::Held(_)) => tokio::time::sleep(AGAIN.min(left)).await,
                        Ok(acquired) => return Ok(acquired),
                        Err(failure) if failure.is_passing() => {
                            self.undoer.push(sending.undo(key.clone(), attempt));
                            *sending = self.another(attempt);
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                Err(failure) => {
                    self.leave(sending.undo(key.clone(), attempt), &ticket.entry).await;
                    return Err(failure);
                }
            }
            if ticket.position.is_some() {
                position.clone_from(&ticket.position);
            }
        }
    }

    /// A further sending of an attempt.
    pub fn another(&self, attempt: &Attempt) -> Sending {
        Sending::of(attempt, self.shared.nonces.next(), self.queue.sidecar())
    }

    /// Takes the lease that is on offer to a sending; `None` where the offer has lapsed.
    async fn take(
        &self,
        key: &Key,
        attempt: &Attempt,
        sending: &Sending,
        token: Token,
    ) -> Result<Option<Lease>, LockFailure> {
        let sent = Instant::now();
        let how = How::Take(&sending.id);
        match self.scripts.renew(key, token, sending.identity(), Some(attempt.ttl), how).await? {
            RenewRow::Renewed(found) => {
                self.shared.ledger.granted(key.shard(), attempt.ttl.as_ms());
                let lease = self.lease(key, &found)?;
                let left_ms = lease.valid_for_ms;
                promised(lease, left_ms, sent).map(Some).map_err(LockFailure::TooLate)
            }
            RenewRow::Lost | RenewRow::Forced | RenewRow::Superseded | RenewRow::Other(_) | RenewRow::Stranger => {
                Ok(None)
            }
        }
    }

    /// Leaves the queue at once, so that it moves on, and with it whatever was granted meanwhile; where that fails, it is
    /// tried until it is known to have happened.
    async fn leave(&self, undo: Undo, entry: &str) {
        if self.scripts.undo(&undo.key, &undo.identity, &undo.sending, entry).await.is_err() {
            self.undoer.push_entry(undo, entry.to_owned());
        }
    }

    /// Undoes a grant at once that too few replicas have: only then it is certain that there is none.
    pub async fn undone(&self, failure: LockFailure, undo: &Undo) -> LockFailure {
        // A renewal cannot be undone, nor a grant that another sending was told of.
        let LockFailure::Redis(RedisFailure::Unreplicated { word, why }) = &failure else { return failure };
        if word != "granted" {
            return failure;
        }
        match Box::pin(self.scripts.undo(&undo.key, &undo.identity, &undo.sending, "")).await {
            Ok(UndoRow::Undone | UndoRow::Nothing) => LockFailure::TakenBack(why.clone()),
            Ok(UndoRow::Told) | Err(_) => failure,
        }
    }

    /// The lease that a script found under `key`.
    pub fn lease(&self, key: &Key, found: &Found) -> Result<Lease, RedisFailure> {
        let lease = record::read(key, found)
            .ok_or_else(|| RedisFailure::Nonsense("a script took a stranger's text for a lease".to_owned()))?;
        self.saw(lease.token);
        Ok(lease)
    }

    /// Who holds `key`, by what a script found under it.
    pub fn holder(&self, key: &Key, found: &Found) -> Holder {
        let holder = record::holder(key, found);
        if let Holder::Lease(lease) = &holder {
            self.saw(lease.token);
        }
        holder
    }

    /// Remembers a token that passes, whoever has it: all that are granted from now on are higher.
    fn saw(&self, token: Token) {
        self.shared.floors.saw(token);
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

impl Lease {
    /// What its owner can count on once it was kept back for so long. Nothing left is an error.
    pub fn age(&mut self, by: Duration) -> Result<(), LockFailure> {
        let by_ms = u64::try_from(by.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        self.valid_for_ms = self.valid_for_ms.saturating_sub(by_ms);
        if self.valid_for_ms == 0 { Err(LockFailure::TooLate(by_ms)) } else { Ok(()) }
    }
}

/// [`promised`], for a lease that its owner had already: `valid_for_ms` is what a renewal set, or what was left.
pub fn kept(lease: Lease, sent: Instant) -> Result<Lease, LockFailure> {
    let ttl_ms = lease.valid_for_ms;
    promised(lease, ttl_ms, sent).map_err(LockFailure::RenewedTooLate)
}

/// How long a lease may last that a sending of this attempt was granted or told of.
fn longest(attempt: &Attempt) -> Duration {
    let may_be_older = attempt.name.is_some() || attempt.own == Own::Extend;
    if may_be_older { TOLD_LEASE } else { Duration::from_millis(attempt.ttl.as_ms()) }
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
