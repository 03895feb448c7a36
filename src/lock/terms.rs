//! What a lease is granted on beside its ttl: how long its key stays taken, and how long it can be renewed.

/// The terms of a grant, milliseconds. `lua/lease.lua` counts by the same rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The key stays taken for so long behind the end of the promise, unless the lease is released.
    pub delay_ms: u64,
    /// It stays taken for so long from the grant on, even where the lease is released.
    pub min_hold_ms: u64,
    /// No renewal promises it beyond so long from the grant on.
    pub max_hold_ms: Option<u64>,
}

impl Terms {
    pub const NONE: Terms = Terms { delay_ms: 0, min_hold_ms: 0, max_hold_ms: None };

    /// What a grant of `ttl_ms` promises.
    pub fn promise_ms(&self, ttl_ms: u64) -> u64 {
        self.max_hold_ms.map_or(ttl_ms, |max_ms| ttl_ms.min(max_ms))
    }

    /// For how long a grant of `ttl_ms` takes the key.
    pub fn key_ms(&self, ttl_ms: u64) -> u64 {
        self.promise_ms(ttl_ms).saturating_add(self.delay_ms).max(self.min_hold_ms)
    }

    /// What is promised of a lease of which so much is left, which was granted so long ago, to whom asked for `ttl_ms`.
    pub fn left_ms(&self, key_left_ms: u64, age_ms: u64, ttl_ms: u64) -> u64 {
        let left_ms = key_left_ms.saturating_sub(self.delay_ms).min(ttl_ms);
        self.max_hold_ms.map_or(left_ms, |max_ms| left_ms.min(max_ms.saturating_sub(age_ms)))
    }

    /// Whether the key may stay taken when the promise has ended.
    pub fn outlast_the_promise(&self) -> bool {
        self.delay_ms > 0 || self.min_hold_ms > 0
    }

    /// `ttl=30000 delay=0 min=540000 max=0`, as a lease has them; `None` where there are none.
    pub fn spelled(&self, ttl_ms: u64) -> Option<String> {
        let Terms { delay_ms, min_hold_ms, max_hold_ms } = self;
        let max_ms = max_hold_ms.unwrap_or(0);
        (*self != Terms::NONE).then(|| format!("ttl={ttl_ms} delay={delay_ms} min={min_hold_ms} max={max_ms}"))
    }

    /// The terms of a lease and its ttl.
    pub fn parse(text: &str) -> Option<(Terms, u64)> {
        let mut words = text.split(' ');
        let mut next = |name| words.next()?.strip_prefix(name)?.parse().ok();
        let (ttl_ms, delay_ms, min_hold_ms, max_ms) = (next("ttl=")?, next("delay=")?, next("min=")?, next("max=")?);
        Some((Terms { delay_ms, min_hold_ms, max_hold_ms: (max_ms > 0).then_some(max_ms) }, ttl_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Terms = Terms { delay_ms: 5_000, min_hold_ms: 60_000, max_hold_ms: Some(90_000) };

    #[test]
    fn what_is_spelled_is_read_back() {
        for terms in [ALL, Terms { delay_ms: 1, ..Terms::NONE }, Terms { max_hold_ms: Some(1), ..Terms::NONE }] {
            assert_eq!(Terms::parse(&terms.spelled(30_000).expect("terms")), Some((terms, 30_000)));
        }
        assert_eq!(Terms::NONE.spelled(30_000), None);
        for text in ["", "ttl=1", "ttl=1 delay=2 min=3", "ttl=1 delay=x min=3 max=4", "delay=1 ttl=1 min=1 max=1"] {
            assert_eq!(Terms::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_key_is_taken_for_the_promise_and_the_delay_and_never_less_than_the_minimum() {
        for (delay_ms, min_hold_ms, max_hold_ms, promise_ms, key_ms) in [
            (0, 0, None, 30_000, 30_000),
            (5_000, 0, None, 30_000, 35_000),
            (5_000, 60_000, None, 30_000, 60_000),
            (5_000, 60_000, Some(10_000), 10_000, 60_000),
            (5_000, 0, Some(10_000), 10_000, 15_000),
            (0, 0, Some(90_000), 30_000, 30_000),
        ] {
            let terms = Terms { delay_ms, min_hold_ms, max_hold_ms };
            assert_eq!((terms.promise_ms(30_000), terms.key_ms(30_000)), (promise_ms, key_ms), "{terms:?}");
        }
    }

    #[test]
    fn the_promise_ends_before_the_delay_and_at_the_cap_and_is_no_longer_than_was_asked_for() {
        for (key_left_ms, age_ms, left_ms) in
            [(35_000, 0, 30_000), (60_000, 0, 30_000), (6_000, 29_000, 1_000), (5_000, 30_000, 0), (0, 80_000, 0)]
        {
            assert_eq!(ALL.left_ms(key_left_ms, age_ms, 30_000), left_ms, "{key_left_ms} {age_ms}");
        }
        for (age_ms, left_ms) in [(60_000, 30_000), (80_000, 10_000), (90_000, 0), (100_000, 0)] {
            assert_eq!(ALL.left_ms(60_000, age_ms, 30_000), left_ms, "{age_ms}");
        }
    }
}
