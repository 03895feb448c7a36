//! The client of a hold at the far end of a connection: hears of its lock in lines, and holds it for as long as it keeps the
//! connection open and its credential is valid.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use prometheus::{IntCounterVec, IntGauge};

use super::lines::{Event, Lines};
use super::permit::Permit;
use super::view::LeaseView;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::wire::rfc3339;
use crate::hold::{Client, Granted, Keeper, Told};
use crate::lock::{Lease, LockFailure, Owner, Ttl};
use crate::quota::HoldSeat;
use crate::redis::RedisFailure;

/// Keeps locks for clients at the far end of connections.
pub struct ConnectionKeeper {
    keeper: Keeper,
    /// Gauge of the locks that are held.
    count: IntGauge,
    /// Counter of the holds that were lost, by reason.
    lost: IntCounterVec,
}

impl ConnectionKeeper {
    pub fn of(cx: &Context) -> ConnectionKeeper {
        let (count, lost) = (cx.metrics.holds.with_label_values::<&str>(&[]), cx.metrics.holds_lost.clone());
        ConnectionKeeper { keeper: cx.keeper(), count, lost }
    }

    /// Keeps a lock until its connection closes or it is lost, and says so on `lines`.
    pub fn keep(
        self,
        granted: Granted,
        (permit, seat): (Arc<Permit>, Option<HoldSeat>),
        ttl: Ttl,
        lines: Lines,
    ) -> impl Future<Output = ()> + Send + use<> {
        let ConnectionKeeper { keeper, count, lost } = self;
        let kept = keeper.keep(granted, ttl, Arc::new(Connection { lines, permit, lost, _seat: seat }));
        count.inc();
        async move {
            kept.await;
            count.dec();
        }
    }
}

struct Connection {
    lines: Lines,
    permit: Arc<Permit>,
    lost: IntCounterVec,
    /// Its place among the holds of its caller.
    _seat: Option<HoldSeat>,
}

impl Client for Connection {
    fn told(&self, news: Told<'_>, _until: Instant) {
        self.lines.say(&match news {
            Told::Acquired(lease) => Event::Acquired(LeaseView::from(lease)),
            Told::Renewed(lease) => {
                Event::Renewed { valid_for_ms: lease.valid_for_ms, valid_until: rfc3339(lease.valid_until_ms) }
            }
            Told::Left(valid_for_ms) => Event::Ping { valid_for_ms },
            Told::Draining(grace_ms) => Event::Draining { grace_ms },
            Told::Lost(reason) => {
                self.lost.with_label_values(&[reason]).inc();
                Event::Lost { reason, key: None }
            }
            Told::Released => Event::Released { key: None },
        });
    }

    fn gone(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.lines.closed())
    }

    fn rights_end(&self) -> Option<Instant> {
        self.permit.ends()
    }

    fn refused(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.permit.certificate_refused())
    }

    fn may_hold<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<bool, RedisFailure>> {
        Box::pin(self.permit.is_valid(owner))
    }

    /// What was granted for a while may still be relied on when the connection has broken.
    fn resigns(&self) -> bool {
        false
    }

    fn failed(&self, lease: &Lease, failure: LockFailure, what: &str) {
        say_failed("hold", lease, failure, what);
    }
}

/// Writes why a lease that a connection holds was not renewed or released.
pub fn say_failed(operation: &'static str, lease: &Lease, failure: LockFailure, what: &str) {
    let failure = Failure::from(failure);
    let (key, token) = (lease.key.as_str(), lease.token.get());
    let (code, outcome, reason) = (failure.code(), failure.outcome(), failure.reason());
    tracing::warn!(operation, key, token, code, outcome, reason, "{what}");
}
