//! What a caller may do with a key, and what it may see of another's lease: the policy, asked in one place. Without a
//! policy everything is allowed that the API itself allows, and nothing is looked at.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use aws_lc_rs::hmac;

use super::audit;
use super::failure::{Denial, Failure, OfBundle, Queue};
use crate::audit::{Audit, Event};
use crate::lock::{Expiry, Hidden, Holder, Key, Lease, Locks, Owner, OwnerKind, State, Token, Under};
use crate::log::{LogThrottle, Suppressed};
use crate::metrics::Metrics;
use crate::policy::{Policy, Subject, Verb};
use crate::secret::Reloaded;

/// The policy of a process, and who is told where it denies.
pub struct Enforcement {
    policy: Reloaded<Policy>,
    metrics: Arc<Metrics>,
    throttle: LogThrottle,
    audit: Option<Audit>,
}

impl Enforcement {
    pub fn new(policy: Reloaded<Policy>, metrics: Arc<Metrics>, audit: Option<Audit>) -> Enforcement {
        for verb in Verb::ALL {
            metrics.denied.with_label_values(&[verb.label()]);
        }
        Enforcement { policy, metrics, throttle: LogThrottle::new(), audit }
    }
}

/// The rights of one caller, by the policy as it is at the moment that they are asked for. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rights(Option<Arc<Ruled>>);

struct Ruled {
    enforcement: Arc<Enforcement>,
    subject: Arc<Subject>,
}

impl Rights {
    /// Of a caller.
    pub fn of(enforcement: Option<&Arc<Enforcement>>, subject: Arc<Subject>) -> Rights {
        let ruled = |enforcement: &Arc<Enforcement>| Ruled { enforcement: Arc::clone(enforcement), subject };
        Rights(enforcement.map(|enforcement| Arc::new(ruled(enforcement))))
    }

    /// Whether there is a policy.
    pub fn are_ruled(&self) -> bool {
        self.0.is_some()
    }

    pub fn may(&self, verb: Verb, key: &Key) -> bool {
        self.allow(|policy, subject| policy.allows(subject, verb, key.as_str()))
    }

    /// Whether the caller may do it with every key.
    pub fn may_everywhere(&self, verb: Verb) -> bool {
        self.allow(|policy, subject| policy.allows_everywhere(subject, verb))
    }

    /// Whether the caller may do it with some key.
    pub fn may_somewhere(&self, verb: Verb) -> bool {
        self.allow(|policy, subject| policy.allows_somewhere(subject, verb))
    }

    fn allow(&self, by: impl FnOnce(&Policy, &Subject) -> bool) -> bool {
        self.0.as_deref().is_none_or(|Ruled { enforcement, subject }| by(&enforcement.policy.now(), subject))
    }

    /// 403 where the caller may not.
    pub fn need(&self, verb: Verb, key: &Key) -> Result<(), Failure> {
        if self.may(verb, key) { Ok(()) } else { Err(self.denied(verb)) }
    }

    /// 403 where the caller may see nothing of the key: neither lock it nor read it.
    pub fn need_sight(&self, key: &Key) -> Result<(), Failure> {
        if self.has_sight(key) { Ok(()) } else { Err(self.denied(Verb::Read)) }
    }

    pub fn has_sight(&self, key: &Key) -> bool {
        self.may(Verb::Lock, key) || self.may(Verb::Read, key)
    }

    /// The failure of a caller who may not, which is counted and logged here.
    pub fn denied(&self, verb: Verb) -> Failure {
        if let Some(ruled) = &self.0 {
            let Enforcement { metrics, throttle, audit, .. } = &*ruled.enforcement;
            if let Some(audit) = audit {
                audit::refused(audit, Some(verb), (Event::Denied, "missing-permission"));
            }
            let verb = verb.label();
            metrics.denied.with_label_values(&[verb]).inc();
            if let Some(Suppressed(withheld)) = throttle.admit(Instant::now()) {
                tracing::info!(target: "lockside.audit", verb, withheld, "denied by the policy");
            }
        }
        Failure::Forbidden(Denial::Policy(verb))
    }

    /// Admits the release of a lease: one's own always, so that no change of the policy leaves a lock behind; another's
    /// with `lock`. `None`: of a token that no lease can have.
    pub async fn need_release(&self, locks: &Locks, key: &Key, token: Option<Token>) -> Result<(), Failure> {
        if self.may(Verb::Lock, key) {
            return Ok(());
        }
        let Some(token) = token else { return Err(self.denied(Verb::Lock)) };
        match locks.lease_of(key, token).await? {
            Some(lease) if self.own(&lease) => Ok(()),
            _ => Err(self.denied(Verb::Lock)),
        }
    }

    /// Whether a lease is the caller's own: a user's by its name, a service caller's by the credential that got it.
    pub fn own(&self, lease: &Lease) -> bool {
        let Some(ruled) = &self.0 else { return false };
        match &*ruled.subject {
            Subject::User(user) => {
                lease.owner.kind == OwnerKind::User && user.sub.as_deref() == Some(lease.owner.id.as_str())
            }
            Subject::Token(_) | Subject::Certificate(_) | Subject::Anonymous => {
                lease.owner.kind == OwnerKind::System && lease.owner.credential == self.credential()
            }
        }
    }

    /// Whether the caller may know all of a lease.
    pub fn see(&self, lease: &Lease) -> bool {
        !self.are_ruled() || self.may(Verb::Read, &lease.key) || self.own(lease)
    }

    /// The credential that the record of a service caller's lease names; `None` for users, and without a policy.
    pub fn credential(&self) -> Option<Box<str>> {
        match &*self.0.as_ref()?.subject {
            Subject::User(_) => None,
            Subject::Token(name) => Some(format!("token:{name}").into()),
            Subject::Certificate(name) => Some(format!("cert:{name}").into()),
            Subject::Anonymous => Some("anonymous".into()),
        }
    }

    /// The owner that a service caller names.
    pub fn system(&self, name: String) -> Owner {
        Owner { credential: self.credential(), ..Owner::system(name) }
    }

    /// A holder as the caller may see it.
    pub fn shown(&self, holder: Holder) -> Holder {
        match holder {
            Holder::Lease(lease) if !self.see(&lease) => hidden(Holder::Lease(lease)),
            // Of those that share it the caller's own, where it may not read the others.
            Holder::Shared(sharing) if self.are_ruled() && !sharing.leases.iter().all(|lease| self.see(lease)) => {
                let mut own = sharing.clone();
                own.leases.retain(|lease| self.own(lease));
                (own.newest, own.others) = (None, Arc::default());
                if own.leases.is_empty() { hidden(Holder::Shared(sharing)) } else { Holder::Shared(own) }
            }
            holder => holder,
        }
    }

    /// A text that differs for every two states of a key, and that tells nothing of the leases that the caller may not
    /// see. `None` where it may see all of them.
    pub fn mark(&self, state: &State) -> Option<String> {
        let State::Held(holder) = state else { return None };
        let is_seen = !self.are_ruled() || holder.leases().iter().all(|lease| self.see(lease));
        let (token, count, resting, rest) = match Under::of(state) {
            Under::Lease(token) => (token, 1, 0, ""),
            Under::Rest(token) => (token, 1, 0, "-rest"),
            Under::Shared { newest, count, resting } => (newest, count, resting, ""),
            Under::Free | Under::Stranger => return None,
        };
        (!is_seen).then(|| format!("other-{:016x}{rest}", hash(token, [count, resting as u64])))
    }

    pub fn shown_state(&self, state: State) -> State {
        match state {
            State::Held(holder) => State::Held(self.shown(holder)),
            State::Free => State::Free,
        }
    }

    /// A failure as the caller may see it.
    pub fn shown_failure(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Held(holder) => Failure::Held(self.shown(holder)),
            Failure::WaitTimeout(Some(queue)) => {
                let Queue { holder, waiters } = *queue;
                Failure::WaitTimeout(Some(Box::new(Queue { holder: holder.map(|it| self.shown(it)), waiters })))
            }
            Failure::OfBundle(of_bundle) => {
                let OfBundle { cause, key, lost, unknown } = *of_bundle;
                Failure::OfBundle(Box::new(OfBundle { cause: self.shown_failure(cause), key, lost, unknown }))
            }
            failure => failure,
        }
    }
}

/// What is shown of a holder that the caller may not know: when it ends.
pub fn hidden(holder: Holder) -> Holder {
    let (ends, left_ms, is_resting) = match &holder {
        Holder::Lease(lease) => (Some(&**lease), lease.valid_for_ms, lease.is_resting),
        Holder::Shared(sharing) => (sharing.leases.first(), sharing.left_ms, sharing.is_resting()),
        Holder::Stranger(_) | Holder::Queue(_) | Holder::Hidden(_) => return holder,
    };
    // By the clock of Redis, which each lease tells.
    let Some(lease) = ends else { return Holder::UNKNOWN };
    let now_ms = lease.valid_until_ms.saturating_sub(lease.valid_for_ms);
    let expiry = Expiry { valid_until_ms: now_ms.saturating_add(left_ms), valid_for_ms: left_ms };
    Holder::Hidden(Hidden { expiry, is_resting })
}

/// A keyed hash of a token, and of how many share its key and how many of those rest: by it a caller can tell one holder from the next, and guess
/// the token of neither.
fn hash(token: Token, [count, resting]: [u64; 2]) -> u64 {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system has random bytes");
        hmac::Key::new(hmac::HMAC_SHA256, &secret)
    });
    let hash = hmac::sign(key, &[token.get(), count, resting].map(u64::to_be_bytes).concat());
    let (first, _) = hash.as_ref().split_first_chunk::<8>().expect("32 bytes");
    u64::from_be_bytes(*first)
}
