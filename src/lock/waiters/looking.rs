//! How the line sees where it stands when nobody says so: an expiry tells nobody, and what was said may be lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Alarm, Line, Standing, Turn};
use crate::lock::record;
use crate::lock::scripts::{AdvanceRow, WaitRow};
use crate::lock::types::{Key, Shard, Token};
use crate::redis::RedisFailure;

/// Added to what is left of a lease, so that Redis has let it expire.
const EXPIRY_SLACK: Duration = Duration::from_millis(3);
/// How long a line that was lost may take to stand again, over all sidecars, before it moves on.
const STAND_AGAIN: Duration = Duration::from_millis(300);
/// How often a key is looked at that has no expiry, or that Redis could not be asked about.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often a key is looked at that a stranger holds, who tells nobody when it lets go: as often as redis-py's lock
/// looks, but once for all of a sidecar's waiters.
const LOOK_AT_STRANGER_MS: i64 = 100;
/// The same where nothing was sent, since there was no connection: it costs nobody anything.
const ASK_AGAIN_MS: i64 = 50;

impl Line {
    /// Looks at the key when the lease before us must have ended; `silent` is the sidecar that it is on offer to.
    /// Replaces what was planned before, unless that comes sooner and is newer than the answer to what we `asked`.
    pub(super) fn alarm(self: &Arc<Line>, key: &Key, left_ms: i64, silent: &str, asked: Instant) {
        let pause = match u64::try_from(left_ms) {
            Ok(ms) => Duration::from_millis(ms) + EXPIRY_SLACK,
            Err(_) if left_ms == -2 => STAND_AGAIN,
            Err(_) => LOOK_AGAIN,
        };
        let mut places = self.places();
        let Some(place) = places.get_mut(key) else { return };
        let due = Instant::now() + if place.is_scattered { pause.min(LOOK_AGAIN) } else { pause };
        let planned = place.alarm.as_ref().filter(|alarm| !alarm.task.is_finished());
        if place.told > asked && planned.is_some_and(|alarm| alarm.due <= due) {
            return;
        }
        let (line, at) = (Arc::clone(self), key.clone());
        // Our own sidecar is not silent: we are awake.
        let silent = if silent == self.sidecar { String::new() } else { silent.to_owned() };
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            // On its own: the next alarm, which this look sets, would end it.
            tokio::spawn(async move {
                // It is looked at again.
                let _ = line.look(&at, &silent).await;
            });
        });
        if let Some(before) = place.alarm.replace(Alarm { due, task: task.abort_handle() }) {
            before.task.abort();
        }
    }

    /// Sees how the line stands, moves it on where it should, and takes our places again where they were lost.
    async fn look(self: &Arc<Line>, key: &Key, silent: &str) -> Result<(), RedisFailure> {
        let Some(first) = self.standing(key).into_iter().next() else { return Ok(()) };
        let asked = Instant::now();
        let is_lost = match self.scripts.advance(key, &first.entry, silent).await {
            Ok(AdvanceRow::Held { text, left_ms, queued }) => {
                let token = record::token(key, &text);
                let left_ms = if token.is_none() { strangers(left_ms) } else { left_ms };
                let text = String::from_utf8_lossy(&text);
                if let Some(token) = token {
                    self.call_holder(key, &text, token);
                }
                self.alarm(key, left_ms, record::offered(&text), asked);
                !queued
            }
            Ok(AdvanceRow::Stranger { queued }) => {
                self.alarm(key, strangers(-1), "", asked);
                !queued
            }
            Ok(AdvanceRow::Free { queued }) => {
                self.alarm(key, -1, "", asked);
                !queued
            }
            Err(failure) => {
                tracing::debug!(%key, %failure, "cannot see how the line stands; looking again");
                self.put_off(key, &failure, asked);
                return Err(failure);
            }
        };
        if is_lost || self.places().get(key).is_some_and(|place| place.is_scattered) {
            self.stand_again(key).await;
        }
        Ok(())
    }

    /// Looks at a line later, which may have been lost.
    fn put_off(self: &Arc<Line>, key: &Key, failure: &RedisFailure, asked: Instant) {
        self.scatter(key, true);
        self.alarm(key, pause_after(failure), "", asked);
    }

    /// Tells those of ours whose attempt has the key, in case that no message did.
    fn call_holder(&self, key: &Key, text: &str, token: Token) {
        for waiter in self.standing(key) {
            match record::sending_of(text, &waiter.attempt, &waiter.request) {
                Some(record::Sending::This) => self.call(key, &waiter.id, Turn::Offered(token)),
                Some(record::Sending::Another) => self.call(key, &waiter.id, Turn::Repeated),
                None => {}
            }
        }
    }

    /// Takes the places again that ours had in line; where they have them, nothing changes.
    pub(super) async fn stand_again(self: &Arc<Line>, key: &Key) {
        self.scatter(key, false);
        let standing = self.standing(key);
        // All at once, so that nobody who came later is served between two of them.
        join_all(standing.iter().map(|waiter| self.stand(key, waiter))).await;
    }

    async fn stand(self: &Arc<Line>, key: &Key, waiter: &Standing) {
        let asked = Instant::now();
        match self.scripts.wait(key, &waiter.entry, waiter.longest_ms, Some(&waiter.stood)).await {
            Ok(WaitRow::Waiting { left_ms, offered, .. }) => {
                if !self.still_stands(key, &waiter.id) {
                    let _ = self.scripts.undo(key, "-", "", &waiter.entry).await;
                }
                self.alarm(key, self.first_look(left_ms), &offered, asked);
            }
            Ok(WaitRow::Turn(token)) => self.call(key, &waiter.id, Turn::Offered(token)),
            Err(failure) => self.put_off(key, &failure, asked),
        }
    }

    /// What to take for left when nobody said yet whose the key is: with raw keys it may be a stranger's.
    pub(super) fn first_look(&self, left_ms: i64) -> i64 {
        if self.scripts.space.is_raw() && left_ms != -2 { strangers(left_ms) } else { left_ms }
    }

    fn scatter(&self, key: &Key, is_scattered: bool) {
        if let Some(place) = self.places().get_mut(key) {
            place.is_scattered = is_scattered;
        }
    }

    /// Looks at every line whenever messages may have been lost: at those of one shard one after another, at all shards
    /// at once, so that a master that is away holds up no other shard's.
    pub(super) async fn look_when_in_doubt(self: Arc<Line>) {
        loop {
            self.doubt.notified().await;
            let mut shards: HashMap<Shard, Vec<Key>> = HashMap::new();
            self.places().keys().for_each(|key| shards.entry(key.shard()).or_default().push(key.clone()));
            join_all(shards.into_values().map(|keys| self.look_at_all(keys))).await;
        }
    }

    /// Looks at lines of one shard. Once it is seen to be away the others are put off, and not waited for.
    async fn look_at_all(self: &Arc<Line>, keys: Vec<Key>) {
        let mut away = None;
        for key in keys {
            match &away {
                None => away = self.look(&key, "").await.err().filter(|failure| !is_of_one_key(failure)),
                Some(failure) => self.put_off(&key, failure, Instant::now()),
            }
        }
    }
}

/// Whether other keys may fare better.
fn is_of_one_key(failure: &RedisFailure) -> bool {
    matches!(failure, RedisFailure::Refused(_) | RedisFailure::Nonsense(_)) && !failure.is_elsewhere()
}

/// When to look at a stranger's key that lasts for `left_ms`; < 0: that does not expire.
fn strangers(left_ms: i64) -> i64 {
    if left_ms < 0 { LOOK_AT_STRANGER_MS } else { left_ms.min(LOOK_AT_STRANGER_MS) }
}

fn pause_after(failure: &RedisFailure) -> i64 {
    if matches!(failure, RedisFailure::NotSent(_)) { ASK_AGAIN_MS } else { -1 }
}
