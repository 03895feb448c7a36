//! The checker: from a recorded history of who believed to hold what, and when, to every fault in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

/// One stretch of time in which a holder could count on a key.
#[derive(Clone, Debug)]
pub struct Held {
    pub key: String,
    pub holder: String,
    pub token: u64,
    /// When the holder learned that it has the key.
    pub from: Instant,
    /// When it let go, or when what it was promised ended.
    pub until: Instant,
    pub mode: Mode,
}

/// With whom a holder has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Alone,
    /// With fewer than `limit` others when it was granted, which was after it was asked for.
    Shared {
        limit: usize,
        asked: Instant,
    },
}

impl Mode {
    /// What a request for a key asks for.
    pub fn of(body: &Value, asked: Instant) -> Mode {
        match (body["mode"].as_str(), body["limit"].as_u64()) {
            (None | Some("exclusive"), None) => Mode::Alone,
            (_, limit) => Mode::Shared { limit: limit.unwrap_or(10_000) as usize, asked },
        }
    }

    /// Adds to the body of a request what it asks for: mostly nothing.
    pub fn roll(dice: &mut super::Dice, body: &mut Value) {
        match dice.roll(8) {
            0 | 1 => body["mode"] = "shared".into(),
            2 => body["limit"] = (1 + dice.roll(3)).into(),
            _ => {}
        }
    }
}

/// What is wrong in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Two tokens of one key, both believed valid at once, for this long.
    Overlap { key: String, tokens: (u64, u64), length: Duration },
    /// A later grant of a key has a lower token.
    OutOfOrder { key: String, tokens: (u64, u64) },
    /// One token, two holders.
    Shared { key: String, token: u64 },
    /// More shared a key by then than the request for this token allowed.
    Crowded { key: String, token: u64, others: usize, limit: usize },
}

impl Fault {
    /// Whether a Redis that lost its data may be the cause.
    pub fn may_follow_a_loss(&self) -> bool {
        matches!(self, Fault::Overlap { .. } | Fault::Crowded { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Collects what many tasks saw.
#[derive(Default)]
pub struct History(Mutex<Vec<Held>>);

impl History {
    pub fn add(&self, held: Held) {
        self.0.lock().expect("no panic while held").push(held);
    }

    pub fn len(&self) -> usize {
        self.0.lock().expect("no panic while held").len()
    }

    /// How many stretches began after `begin`.
    pub fn since(&self, begin: Instant) -> usize {
        self.0.lock().expect("no panic while held").iter().filter(|held| held.from > begin).count()
    }

    /// Every fault of the whole history.
    pub fn faults(&self) -> Vec<Fault> {
        let mut keys = BTreeMap::<String, Vec<Held>>::new();
        for held in self.0.lock().expect("no panic while held").iter() {
            keys.entry(held.key.clone()).or_default().push(held.clone());
        }
        keys.into_values().flat_map(faults_of_key).collect()
    }
}

/// Until when a lease is promised whose answer was read at `told`; but not beyond what Redis says, since on a busy machine an
/// answer may be read long after it was written.
pub fn promised_until(told: Instant, lease: &Value) -> Result<Instant, String> {
    let promised = lease["validForMs"].as_u64().ok_or_else(|| format!("no validForMs: {lease}"))?;
    let end: Timestamp = lease["validUntil"].as_str().and_then(|end| end.parse().ok()).ok_or("no validUntil")?;
    let left = end.as_millisecond() - Timestamp::now().as_millisecond();
    let ends = Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0));
    let promised = told + Duration::from_millis(promised);
    Ok(promised.min(ends))
}

fn faults_of_key(stretches: Vec<Held>) -> Vec<Fault> {
    let (alone, shared): (Vec<Held>, Vec<Held>) = stretches.into_iter().partition(|held| held.mode == Mode::Alone);
    let mut faults = faults_among_shared(&shared);
    for (one, other) in alone.iter().flat_map(|one| shared.iter().map(move |other| (one, other))) {
        let (first, second) = if one.from <= other.from { (one, other) } else { (other, one) };
        let (key, tokens) = (one.key.clone(), (first.token, second.token));
        if second.from < first.until && one.token != other.token {
            let length = first.until.min(second.until).duration_since(second.from);
            faults.push(Fault::Overlap { key, tokens, length });
        } else if second.token < first.token && second.until > second.from {
            faults.push(Fault::OutOfOrder { key, tokens });
        }
    }
    faults.extend(faults_among_exclusive(alone));
    faults
}

fn faults_among_shared(stretches: &[Held]) -> Vec<Fault> {
    let (mut faults, mut holders) = (Vec::new(), BTreeMap::new());
    for held in stretches {
        let key = held.key.clone();
        if *holders.entry(held.token).or_insert(&held.holder) != &held.holder {
            faults.push(Fault::Shared { key: key.clone(), token: held.token });
        }
        let Mode::Shared { limit, asked } = held.mode else { continue };
        // Those who could count on it all the time in which this one was granted.
        let others = stretches.iter().filter(|other| other.from <= asked && other.until >= held.from);
        let others = others.map(|other| other.token).filter(|token| *token != held.token).collect::<BTreeSet<u64>>();
        if others.len() >= limit {
            faults.push(Fault::Crowded { key: key.clone(), token: held.token, others: others.len(), limit });
        }
        let known = stretches.iter().filter(|other| other.from <= asked).map(|other| other.token).max();
        if let Some(known) = known.filter(|known| *known > held.token) {
            faults.push(Fault::OutOfOrder { key, tokens: (known, held.token) });
        }
    }
    faults
}

fn faults_among_exclusive(mut stretches: Vec<Held>) -> Vec<Fault> {
    stretches.sort_by_key(|held| held.from);
    let mut faults = Vec::new();
    // Against the stretch that reaches furthest, not only the one before: a long one may cover many.
    let mut furthest: Option<Held> = None;
    for held in stretches {
        if let Some(before) = &furthest {
            let tokens = (before.token, held.token);
            if held.token == before.token {
                if held.holder != before.holder {
                    faults.push(Fault::Shared { key: held.key.clone(), token: held.token });
                }
            } else {
                if held.from < before.until {
                    let length = before.until.min(held.until).duration_since(held.from);
                    faults.push(Fault::Overlap { key: held.key.clone(), tokens, length });
                }
                if held.token < before.token {
                    faults.push(Fault::OutOfOrder { key: held.key.clone(), tokens });
                }
            }
        }
        if furthest.as_ref().is_none_or(|before| held.until >= before.until || held.token > before.token) {
            furthest = Some(held);
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(stretches: &[(&str, u64, u64, u64)]) -> Vec<Fault> {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let history = History::default();
        for (holder, token, from, until) in stretches {
            let (key, holder) = ("k".to_owned(), (*holder).to_owned());
            history.add(Held { key, holder, token: *token, from: at(*from), until: at(*until), mode: Mode::Alone });
        }
        history.faults()
    }

    #[test]
    fn the_checker_accepts_turns_and_renewals() {
        assert_eq!(faults(&[("a", 1, 0, 10), ("b", 2, 10, 20), ("a", 3, 25, 30)]), []);
        assert_eq!(faults(&[("a", 1, 0, 10), ("a", 1, 5, 20), ("b", 2, 20, 30)]), []);
    }

    #[test]
    fn the_checker_knows_who_may_share_a_key() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let faults = |stretches: &[(u64, u64, u64, Option<usize>)]| {
            let history = History::default();
            for (token, from, until, limit) in stretches {
                let mode = limit.map_or(Mode::Alone, |limit| Mode::Shared { limit, asked: at(*from - 1) });
                let (key, holder) = ("k".to_owned(), format!("{token}"));
                history.add(Held { key, holder, token: *token, from: at(*from), until: at(*until), mode });
            }
            history.faults()
        };
        assert_eq!(faults(&[(1, 1, 20, Some(2)), (2, 5, 20, Some(2)), (3, 20, 30, None), (4, 30, 40, Some(1))]), []);
        assert_eq!(faults(&[(1, 1, 20, Some(9)), (2, 5, 20, Some(2)), (3, 6, 20, Some(3))]), []);
        let (key, limit) = ("k".to_owned(), 2);
        let crowded = Fault::Crowded { key: key.clone(), token: 3, others: 2, limit };
        assert_eq!(faults(&[(1, 1, 20, Some(9)), (2, 5, 20, Some(9)), (3, 7, 20, Some(limit))]), [crowded]);
        let overlap = |tokens| Fault::Overlap { key: key.clone(), tokens, length: Duration::from_millis(1) };
        assert_eq!(faults(&[(1, 1, 20, Some(9)), (2, 19, 30, None)]), [overlap((1, 2))]);
        assert_eq!(faults(&[(1, 1, 20, None), (2, 19, 30, Some(9))]), [overlap((1, 2))]);
        let order = [Fault::OutOfOrder { key, tokens: (2, 1) }];
        assert_eq!(faults(&[(2, 1, 20, None), (1, 20, 30, Some(9))]), order);
        assert_eq!(faults(&[(2, 1, 20, Some(9)), (1, 3, 30, Some(9))]), order);
        assert_eq!(faults(&[(2, 3, 20, Some(9)), (1, 3, 30, Some(9))]), [], "at the same time");
    }

    #[test]
    fn the_checker_finds_each_fault() {
        let key = || "k".to_owned();
        let overlap = Fault::Overlap { key: key(), tokens: (1, 2), length: Duration::from_millis(1) };
        assert_eq!(faults(&[("a", 1, 0, 10), ("b", 2, 9, 20)]), [overlap]);
        assert_eq!(faults(&[("a", 2, 0, 10), ("b", 1, 10, 20)]), [Fault::OutOfOrder { key: key(), tokens: (2, 1) }]);
        assert_eq!(faults(&[("a", 1, 0, 10), ("b", 1, 5, 20)]), [Fault::Shared { key: key(), token: 1 }]);
        assert!(!faults(&[("a", 1, 0, 100), ("a", 1, 5, 6), ("b", 2, 50, 60)]).is_empty(), "a long one covers many");
    }
}
