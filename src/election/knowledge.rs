//! What this sidecar knows of an election, and what it says of it at a given time.
//!
//! Architecture invariant: no I/O, no clock, no channel. That a sidecar says `leader` at no time at which another one may do
//! so is decided here and in [`super::candidate`], which says from when on a lease counts.

use std::time::{Duration, Instant};

use crate::lock::{Holder, State, Token};

/// Less is not worth to be told.
const LEAST: Duration = Duration::from_millis(1);

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The lease that this sidecar leads by.
    leading: Option<Leading>,
    /// The last one that it had.
    own: Option<Token>,
    /// The last look at the lock.
    seen: Option<Seen>,
    /// What is remembered of other candidates' leases that are gone.
    gone: Option<Gone>,
}

/// Leases of other candidates that were seen, and are there no more: Redis may have lost them.
#[derive(Clone, Copy, Debug)]
struct Gone {
    /// The longest ttl of them.
    ttl: Duration,
    /// Until when the last of them may be counted on.
    until: Instant,
}

/// A lease of this sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leading {
    pub token: Token,
    /// When it was granted, Redis's clock, milliseconds since 1970.
    pub since_ms: u64,
    /// From when on it leads: before, a lease that Redis lost may still be counted on by another sidecar.
    pub from: Instant,
    /// Until when it leads, unless it is renewed.
    pub until: Instant,
    /// When it was renewed, milliseconds since 1970.
    pub renewed_ms: u64,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub leader: Option<Other>,
    /// Who leads and who stands, over all sidecars.
    pub candidates: u64,
}

/// Whose lease a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    pub name: String,
    pub token: Token,
    pub since_ms: u64,
    pub ends: Instant,
    /// For how long a candidate took it; `None` where no candidate did.
    pub ttl_ms: Option<u64>,
}

/// What is said of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The leader's name, token, and time of its grant.
    pub leader: Option<(String, Token, u64)>,
    /// For how long this sidecar leads, unless it is renewed; `None` where it does not lead.
    pub leads_for: Option<Duration>,
    /// Until when this sidecar leads, milliseconds since 1970.
    pub leads_until_ms: Option<u64>,
    /// The last renewal, or where it does not lead the last look, milliseconds since 1970.
    pub last_update_ms: Option<u64>,
    pub candidates: Option<u64>,
    /// Whether what was seen last is too old to be told.
    pub is_stale: bool,
}

impl Seen {
    /// What a look at the lock found, and how many wait for it.
    pub fn of(state: &State, waiters: u64, at: Instant, at_ms: u64) -> Seen {
        let leader = match state {
            State::Held(Holder::Lease(lease)) if lease.is_promised() => Some(Other {
                name: lease.owner.id.clone(),
                token: lease.token,
                since_ms: lease.since_ms,
                ends: at + Duration::from_millis(lease.valid_for_ms),
                ttl_ms: lease.meta.as_deref().is_some_and(super::is_of_an_election).then_some(lease.ttl_ms),
            }),
            State::Held(_) | State::Free => None,
        };
        let leads = leader.as_ref().is_some_and(|leader| leader.ttl_ms.is_some());
        Seen { at, at_ms, candidates: waiters + u64::from(leads), leader }
    }
}

impl Knowledge {
    /// A lease was granted.
    pub fn lead(&mut self, leading: Leading) {
        (self.leading, self.own) = (Some(leading), Some(leading.token));
    }

    /// The lease lasts until then now; whether that is news.
    pub fn renew(&mut self, until: Instant, renewed_ms: Option<u64>) -> bool {
        let Some(leading) = &mut self.leading else { return false };
        let is_news = leading.until != until || renewed_ms.is_some();
        leading.until = until;
        leading.renewed_ms = renewed_ms.unwrap_or(leading.renewed_ms);
        is_news
    }

    /// It leads no more; whether it did.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.leading.take().is_some_and(|leading| leading.from <= now)
    }

    /// Of the lease that this sidecar leads by.
    pub fn token(&self) -> Option<u64> {
        self.leading.map(|leading| leading.token.get())
    }

    /// Takes in a look, which was answered at `now`.
    pub fn see(&mut self, seen: Seen, now: Instant) {
        self.gone = self.gone.filter(|gone| now < gone.until);
        // Until this look it may have been renewed.
        if let Some(ttl) = self.other_ttl() {
            let until = now + ttl;
            let gone = self.gone.unwrap_or(Gone { ttl, until });
            self.gone = Some(Gone { ttl: gone.ttl.max(ttl), until: gone.until.max(until) });
        }
        self.seen = Some(seen);
    }

    /// The ttl of the candidate's lease that the last look found, where it is another one's.
    fn other_ttl(&self) -> Option<Duration> {
        self.other()?.ttl_ms.map(Duration::from_millis)
    }

    /// For how long another candidate may count on a lease that Redis has lost by now.
    pub fn longest_promise(&self, now: Instant) -> Duration {
        let gone = self.gone.filter(|gone| now < gone.until).map(|gone| gone.ttl);
        self.other_ttl().into_iter().chain(gone).max().unwrap_or_default()
    }

    /// The lease by which another sidecar led when it was last looked at.
    pub fn other(&self) -> Option<&Other> {
        self.seen.as_ref()?.leader.as_ref().filter(|other| Some(other.token) != self.own)
    }

    /// What is said at `now`, which is `now_ms` since 1970, by the candidate of this name, where a look is told for `ttl`.
    pub fn at(&self, now: Instant, now_ms: u64, name: &str, ttl: Duration) -> Answer {
        let seen = self.seen.as_ref().filter(|seen| now < seen.at + ttl);
        let candidates = seen.map(|seen| seen.candidates);
        if let Some(leading) = self.leading.filter(|leading| leading.from <= now && now + LEAST <= leading.until) {
            let left = leading.until - now;
            return Answer {
                leader: Some((name.to_owned(), leading.token, leading.since_ms)),
                leads_for: Some(left),
                leads_until_ms: u64::try_from(left.as_millis()).ok().map(|left_ms| now_ms.saturating_add(left_ms)),
                last_update_ms: Some(leading.renewed_ms),
                // As a look before the grant counted them, it was among those who stood.
                candidates: Some(candidates.unwrap_or(1).max(1)),
                is_stale: false,
            };
        }
        let is_own = self.leading.is_some();
        let leader = seen.and(self.other()).filter(|other| now < other.ends && !is_own);
        Answer {
            leader: leader.map(|other| (other.name.clone(), other.token, other.since_ms)),
            leads_for: None,
            leads_until_ms: None,
            last_update_ms: self.seen.as_ref().map(|seen| seen.at_ms),
            candidates,
            is_stale: seen.is_none(),
        }
    }

    /// When something else is said, though nothing happens; `None`: never.
    pub fn next_change(&self, now: Instant, ttl: Duration) -> Option<Instant> {
        let leading = self.leading.iter().flat_map(|leading| [leading.from, leading.until]);
        let seen = self.seen.iter().map(|seen| seen.at + ttl);
        let other = self.other().map(|other| other.ends);
        leading.chain(seen).chain(other).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(9);

    fn token(number: u64) -> Token {
        Token::new(number).expect("a token")
    }

    fn seen(at: Instant, name: &str, number: u64, left: Duration) -> Seen {
        let leader =
            Other { name: name.to_owned(), token: token(number), since_ms: 5, ends: at + left, ttl_ms: Some(9) };
        Seen { at, at_ms: 77, leader: Some(leader), candidates: 3 }
    }

    fn leading(from: Instant, until: Instant) -> Leading {
        Leading { token: token(8), since_ms: 6, from, until, renewed_ms: 99 }
    }

    /// Whom the candidate `me` names, and whether it says that it leads itself.
    fn told(knowledge: &Knowledge, now: Instant) -> (Option<String>, bool, bool) {
        let answer = knowledge.at(now, 1000, "me", TTL);
        assert!(answer.leads_for.is_none_or(|left| !left.is_zero()), "{answer:?}");
        (answer.leader.map(|(name, ..)| name), answer.leads_for.is_some(), answer.is_stale)
    }

    #[test]
    fn it_leads_from_the_end_of_its_silence_to_the_end_of_its_promise_and_names_itself_only_then() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut knowledge = Knowledge::default();
        knowledge.lead(leading(now + second, now + 3 * second));
        // Its own lease, as its own look shows it.
        knowledge.see(seen(now, "me", 8, 8 * second), now);
        let me = Some("me".to_owned());
        assert_eq!(told(&knowledge, now), (None, false, false), "silent");
        assert_eq!(knowledge.next_change(now, TTL), Some(now + second));
        assert_eq!(told(&knowledge, now + second), (me.clone(), true, false));
        assert_eq!(knowledge.at(now + second, 1000, "me", TTL).leads_until_ms, Some(3000));
        assert_eq!(told(&knowledge, now + 3 * second - LEAST), (me.clone(), true, false));
        assert_eq!(told(&knowledge, now + 3 * second), (None, false, false), "not renewed");
        assert!(knowledge.renew(now + 5 * second, Some(100)));
        assert!(!knowledge.renew(now + 5 * second, None), "no news");
        assert_eq!(told(&knowledge, now + 3 * second), (me, true, false));
        assert!(knowledge.withdraw(now + 3 * second), "it led");
        assert_eq!(told(&knowledge, now + 3 * second), (None, false, false), "its own lease is no leader's any more");
        assert!(!knowledge.withdraw(now + 3 * second));
        assert!(!knowledge.renew(now + 9 * second, Some(1)), "what is withdrawn is not renewed");
        knowledge.lead(leading(now + 4 * second, now + 9 * second));
        assert!(!knowledge.withdraw(now + 3 * second), "it was silent");
    }

    #[test]
    fn a_standby_names_the_leader_until_its_lease_ends_or_the_look_is_old() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut knowledge = Knowledge::default();
        assert_eq!(told(&knowledge, now), (None, false, true), "nothing was seen yet");
        assert_eq!(knowledge.at(now, 1000, "me", TTL).last_update_ms, None);
        knowledge.see(seen(now, "other", 7, 4 * second), now);
        let other = Some("other".to_owned());
        assert_eq!(told(&knowledge, now), (other.clone(), false, false));
        assert_eq!(knowledge.at(now, 1000, "me", TTL).candidates, Some(3));
        assert_eq!(told(&knowledge, now + 4 * second), (None, false, false), "ended, as far as is known");
        assert_eq!(told(&knowledge, now + TTL), (None, false, true));
        let stale = knowledge.at(now + TTL, 1000, "me", TTL);
        assert_eq!((stale.candidates, stale.last_update_ms), (None, Some(77)));
        assert_eq!(knowledge.next_change(now, TTL), Some(now + 4 * second));
        assert_eq!(knowledge.next_change(now + 4 * second, TTL), Some(now + TTL));
        assert_eq!(knowledge.next_change(now + TTL, TTL), None);
    }

    #[test]
    fn a_longer_ttl_of_another_candidate_is_remembered_until_its_lease_must_have_ended() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let with_ttl = |at: Instant, ttl: Duration| {
            let mut seen = seen(at, "other", 7, ttl);
            seen.leader.as_mut().expect("a leader").ttl_ms = Some(ttl.as_millis() as u64);
            seen
        };
        let nothing = |at: Instant| Seen { at, at_ms: 77, leader: None, candidates: 1 };
        let mut knowledge = Knowledge::default();
        assert_eq!(knowledge.longest_promise(now), Duration::ZERO);
        knowledge.see(with_ttl(now, 60 * second), now);
        assert_eq!(knowledge.longest_promise(now), 60 * second, "while it is there");
        // It was renewed just before Redis lost it.
        let lost = now + 10 * second;
        knowledge.see(nothing(lost), lost);
        knowledge.see(nothing(lost + second), lost + second);
        assert_eq!(knowledge.longest_promise(lost + 59 * second), 60 * second);
        assert_eq!(knowledge.longest_promise(lost + 60 * second), Duration::ZERO);
        // Another one led for a moment, shortly before the first one's end.
        let late = lost + 55 * second;
        knowledge.see(with_ttl(late, 15 * second), late);
        knowledge.see(nothing(late + second), late + second);
        assert!(knowledge.longest_promise(late + 15 * second) >= 15 * second);
        assert_eq!(knowledge.longest_promise(late + 16 * second), Duration::ZERO);
    }
}
