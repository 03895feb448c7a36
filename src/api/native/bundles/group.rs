//! Leases that one connection holds: each is kept as a hold of its own, and when one of them ends all do. Their client hears of
//! them as of one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use prometheus::{IntCounterVec, IntGauge};
use tokio::sync::watch;

use crate::api::context::Context;
use crate::api::native::connection::say_failed;
use crate::api::native::lines::{Event, Lines};
use crate::api::native::permit::Permit;
use crate::api::native::view::BundleView;
use crate::api::wire::rfc3339;
use crate::bundle::Leg;
use crate::hold::{Client, Granted, Keeper, Told};
use crate::lock::held::{End, SIGN_OF_LIFE};
use crate::lock::{Key, Lease, LockFailure, Owner, Ttl};
use crate::quota::HoldSeat;
use crate::redis::RedisFailure;

/// After one lease was released by its token the others are left alone for so long: a request that releases all of them is
/// about to release these, too, perhaps through another sidecar, and is to find them.
const OTHERS_RELEASE: Duration = Duration::from_millis(300);

/// After the connection has closed, the leases that another sending is taking over are left to it for so long: a client that
/// repeats its hold may close this connection as soon as it hears of the first.
const TAKE_OVER: Duration = Duration::from_secs(2);

/// What keeps the leases of one connection.
pub struct GroupKeeper {
    keeper: Keeper,
    permit: Arc<Permit>,
    ttl: Ttl,
    /// The keys as the request has them.
    order: Vec<Key>,
    /// Gauge of the locks that are held.
    count: IntGauge,
    /// Counter of the holds that were lost, by reason.
    lost: IntCounterVec,
}

impl GroupKeeper {
    pub fn new(cx: &Context, permit: Arc<Permit>, ttl: Ttl, order: Vec<Key>) -> GroupKeeper {
        let (count, lost) = (cx.metrics.holds.with_label_values::<&str>(&[]), cx.metrics.holds_lost.clone());
        GroupKeeper { keeper: cx.keeper(), permit, ttl, order, count, lost }
    }

    /// Keeps all until the connection closes or one is lost, and says so on `lines`.
    pub fn keep(
        self,
        mut legs: Vec<Leg>,
        seat: Option<HoldSeat>,
        lines: Lines,
    ) -> impl Future<Output = ()> + Send + use<> {
        let GroupKeeper { keeper, permit, ttl, order, count, lost } = self;
        legs.sort_by_key(|leg| order.iter().position(|key| *key == leg.lease.key));
        let held = legs.iter().map(|_| HeldLeg { lease: None, until: Instant::now(), is_renewed: false }).collect();
        let state = State { legs: held, said: Instant::now(), is_told: false, is_draining: false, is_over: false };
        let (over, _) = watch::channel(None);
        let group = Arc::new(Group { lines, permit, lost, over, state: Mutex::new(state), _seat: seat });
        let locks = i64::try_from(legs.len()).unwrap_or(i64::MAX);
        let kept: Vec<_> = legs
            .into_iter()
            .enumerate()
            .map(|(at, Leg { lease, unconfirmed, .. })| {
                let client = Arc::new(Member { group: Arc::clone(&group), at, key: lease.key.clone() });
                keeper.clone().keep(Granted::of(lease, unconfirmed), ttl, client)
            })
            .collect();
        count.add(locks);
        async move {
            tokio::select! {
                _ = join_all(kept) => {}
                () = group.give_signs_of_life() => {}
            }
            count.sub(locks);
        }
    }
}

/// The far end of the connection.
struct Group {
    lines: Lines,
    permit: Arc<Permit>,
    lost: IntCounterVec,
    /// When the leases that are left are to be released; `None` while all are held.
    over: watch::Sender<Option<Others>>,
    state: Mutex<State>,
    /// Its place among the holds of its caller.
    _seat: Option<HoldSeat>,
}

/// What happens to the other leases when one has ended.
#[derive(Clone, Copy)]
enum Others {
    /// They are released then, whatever the client does meanwhile.
    ReleasedAt(Instant),
    /// A repetition of the attempt, at another sidecar, has taken over one lease and is about to take over these with their
    /// tokens: released, they would be granted again with new ones. They are left to it for as long as they are guaranteed.
    LeftToRepetition,
}

struct State {
    /// In the order of the request.
    legs: Vec<HeldLeg>,
    /// When the last line was written.
    said: Instant,
    /// Whether the client was told of the leases.
    is_told: bool,
    is_draining: bool,
    is_over: bool,
}

struct HeldLeg {
    /// As it was told of last; `None` before it was.
    lease: Option<Lease>,
    /// Until when its owner can count on it.
    until: Instant,
    /// Whether it was renewed after the client was told so.
    is_renewed: bool,
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// What becomes of one of the leases, and what the client hears of that.
    fn told(&self, at: usize, key: &Key, news: &Told<'_>, until: Instant) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.is_over {
            return;
        }
        let was_until = std::mem::replace(&mut state.legs[at].until, until);
        match news {
            Told::Acquired(lease) => {
                state.legs[at].lease = Some((*lease).clone());
                state.say_acquired(&self.lines, now);
            }
            Told::Renewed(lease) => {
                state.legs[at].lease = Some((*lease).clone());
                state.legs[at].is_renewed = true;
                state.say_renewed(&self.lines, now);
            }
            Told::Left(_) if until < was_until => state.say_left(&self.lines, now),
            // A sign of life of one of them; the group gives its own.
            Told::Left(_) => {}
            Told::Draining(grace_ms) => {
                if !std::mem::replace(&mut state.is_draining, true) {
                    state.said = now;
                    self.lines.say(&Event::Draining { grace_ms: *grace_ms });
                }
            }
            Told::Lost(reason) => {
                self.lost.with_label_values(&[reason]).inc();
                let is_superseded = Some(*reason) == End::Superseded.loss();
                let others = if is_superseded { Others::LeftToRepetition } else { Others::ReleasedAt(now) };
                self.end(&mut state, &Event::Lost { reason, key: Some(key.as_str()) }, others);
            }
            Told::Released => {
                let others = Others::ReleasedAt(now + OTHERS_RELEASE);
                self.end(&mut state, &Event::Released { key: Some(key.as_str()) }, others);
            }
        }
    }

    /// One line for all, whenever none was written for so long. Does not end.
    async fn give_signs_of_life(&self) {
        loop {
            let next = self.state().said + SIGN_OF_LIFE;
            tokio::time::sleep_until(next.into()).await;
            let (mut state, now) = (self.state(), Instant::now());
            if now < state.said + SIGN_OF_LIFE {
                continue;
            }
            state.said = now;
            if !state.is_over {
                state.say_left(&self.lines, now);
            }
        }
    }

    /// With one of them all end.
    fn end(&self, state: &mut State, event: &Event<'_>, others: Others) {
        state.is_over = true;
        self.lines.say(event);
        self.over.send_replace(Some(others));
    }

    /// Ends when the lease at this place is no longer to be kept.
    async fn gone(&self, at: usize) {
        let mut over = self.over.subscribe();
        let others = tokio::select! {
            // First: a client may close its connection because one lease has ended.
            biased;
            others = over.wait_for(Option::is_some) => others.ok().and_then(|others| *others),
            () = self.lines.closed() => return,
        };
        match others {
            Some(Others::ReleasedAt(when)) => tokio::time::sleep_until(when.into()).await,
            Some(Others::LeftToRepetition) => {
                let until = self.state().legs[at].until;
                let taken_over = async {
                    self.lines.closed().await;
                    tokio::time::sleep(TAKE_OVER).await;
                };
                let _ = tokio::time::timeout_at(until.into(), taken_over).await;
            }
            None => {}
        }
    }
}

impl State {
    /// How long all of them are guaranteed.
    fn left_ms(&self, now: Instant) -> u64 {
        let least = self.legs.iter().map(|leg| leg.until.saturating_duration_since(now)).min().unwrap_or_default();
        u64::try_from(least.as_millis()).unwrap_or(u64::MAX)
    }

    fn say_acquired(&mut self, lines: &Lines, now: Instant) {
        if self.is_told || self.legs.iter().any(|leg| leg.lease.is_none()) {
            return;
        }
        (self.is_told, self.said) = (true, now);
        for leg in &mut self.legs {
            let left_ms = u64::try_from(leg.until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX);
            if let Some(lease) = &mut leg.lease {
                lease.valid_for_ms = lease.valid_for_ms.min(left_ms);
            }
        }
        lines.say(&Event::AcquiredAll(BundleView::of(self.legs.iter().filter_map(|leg| leg.lease.as_ref()))));
    }

    /// One line for a renewal of all.
    fn say_renewed(&mut self, lines: &Lines, now: Instant) {
        if !self.is_told || !self.legs.iter().all(|leg| leg.is_renewed) {
            return;
        }
        self.legs.iter_mut().for_each(|leg| leg.is_renewed = false);
        self.said = now;
        let ends = self.legs.iter().filter_map(|leg| leg.lease.as_ref()).map(|lease| lease.valid_until_ms).min();
        let valid_until = rfc3339(ends.unwrap_or_default());
        lines.say(&Event::Renewed { valid_for_ms: self.left_ms(now), valid_until });
    }

    fn say_left(&mut self, lines: &Lines, now: Instant) {
        if self.is_told {
            self.said = now;
            lines.say(&Event::Ping { valid_for_ms: self.left_ms(now) });
        }
    }
}

/// One of the leases' client.
struct Member {
    group: Arc<Group>,
    at: usize,
    key: Key,
}

impl Client for Member {
    fn told(&self, news: Told<'_>, until: Instant) {
        self.group.told(self.at, &self.key, &news, until);
    }

    fn gone(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.group.gone(self.at))
    }

    fn rights_end(&self) -> Option<Instant> {
        self.group.permit.ends()
    }

    fn refused(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.group.permit.certificate_refused())
    }

    fn may_hold<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<bool, RedisFailure>> {
        Box::pin(self.group.permit.is_valid(owner))
    }

    /// What was granted for a while may still be relied on when the connection has broken.
    fn resigns(&self) -> bool {
        false
    }

    fn failed(&self, lease: &Lease, failure: LockFailure, what: &str) {
        say_failed("bundle_hold", lease, failure, what);
    }
}
