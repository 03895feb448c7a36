//! What the owner of a lease can count on, and until when.

use std::time::{Duration, Instant};

use super::{Lease, LockFailure};

/// What the owner of `lease` can count on from now, having asked for `ttl_ms`: what Redis had left, as far as its terms
/// promise it − time since the command was sent − drift (1 % of that + 2 ms). Nothing left is an error: how many
/// milliseconds went.
pub fn promised(mut lease: Lease, ttl_ms: u64, sent: Instant) -> Result<Lease, u64> {
    lease.promise(ttl_ms, sent).map(|()| lease)
}

impl Lease {
    /// Counts down to what its owner can count on, as for a new promise: its end is known also where nothing is left.
    pub fn promise(&mut self, ttl_ms: u64, sent: Instant) -> Result<(), u64> {
        self.promise_at(ttl_ms, sent, Instant::now())
    }

    /// [`Lease::promise`], where it is `now`.
    pub fn promise_at(&mut self, ttl_ms: u64, sent: Instant, now: Instant) -> Result<(), u64> {
        let elapsed = now.saturating_duration_since(sent);
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let left_ms = self.promise_ms(ttl_ms);
        self.valid_until_ms = self.valid_until_ms.saturating_sub(self.valid_for_ms).saturating_add(left_ms);
        let drift_ms = left_ms.div_ceil(100) + 2;
        self.valid_for_ms = left_ms.saturating_sub(elapsed_ms.saturating_add(drift_ms));
        // Not from now: between two looks at the clock the process may be frozen for longer than the lease lasts.
        self.promised_until = sent.checked_add(Duration::from_millis(left_ms.saturating_sub(drift_ms + 1)));
        if self.valid_for_ms == 0 { Err(elapsed_ms) } else { Ok(()) }
    }

    /// What its owner can count on from now, some time after it was promised. Nothing left is an error: how many milliseconds
    /// went.
    pub fn count_down(&mut self, now: Instant) -> Result<(), u64> {
        let left = self.promised_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let promised_ms = self.valid_for_ms;
        self.valid_for_ms = promised_ms.min(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        if self.valid_for_ms == 0 { Err(promised_ms) } else { Ok(()) }
    }

    /// What its owner can count on once it was kept back for so long. Nothing left is an error.
    pub fn age(&mut self, by: Duration) -> Result<(), LockFailure> {
        let by_ms = u64::try_from(by.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        self.valid_for_ms = self.valid_for_ms.saturating_sub(by_ms);
        if self.valid_for_ms == 0 { Err(LockFailure::TooLate(by_ms)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Key, Mode, Owner, Terms, Token};
    use super::*;

    #[test]
    fn a_promise_is_counted_from_when_it_was_asked_for() {
        let key = Key::parse("k").expect("a key");
        let lease = Lease {
            token: Token::new(64).expect("a token"),
            key,
            mode: Mode::Exclusive,
            owner: Owner::system("x".to_owned()),
            since_ms: 0,
            valid_until_ms: 10_000,
            ttl_ms: 10_000,
            valid_for_ms: 10_000,
            promised_until: None,
            terms: Terms::NONE,
            is_resting: false,
            meta: None,
        };
        let sent = Instant::now() - Duration::from_secs(4);
        let lease = promised(lease, 10_000, sent).expect("something is left");
        assert_eq!(lease.promised_until, Some(sent + Duration::from_millis(10_000 - 100 - 2 - 1)));
        assert!(lease.valid_for_ms <= 10_000 - 4_000 - 102, "{}", lease.valid_for_ms);

        let mut later = lease.clone();
        later.count_down(sent + Duration::from_secs(9)).expect("something is left");
        assert_eq!(later.valid_for_ms, 1_000 - 100 - 2 - 1);
        assert_eq!(later.count_down(sent + Duration::from_secs(10)), Err(1_000 - 100 - 2 - 1));
        let mut at_once = lease.clone();
        at_once.count_down(sent).expect("it is no longer than it was");
        assert_eq!(at_once.valid_for_ms, lease.valid_for_ms);
    }
}
