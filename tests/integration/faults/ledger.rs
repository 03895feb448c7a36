//! What callers were told, and whether it was true.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::TestRedis;
use crate::harness::history::{Fault, Held, History, Mode};

/// What may lie under a key that nobody else uses, when everything has come to rest.
pub struct Fate {
    pub key: String,
    /// The lease with this token; or nothing.
    pub may_be: Vec<Option<u64>>,
    /// When it ends, milliseconds since 1970.
    pub may_end: Vec<RangeInclusive<i64>>,
}

impl Fate {
    /// Nothing lies there, or not for long.
    pub fn free(key: &str) -> Fate {
        Fate { key: key.to_owned(), may_be: vec![None], may_end: Vec::new() }
    }

    pub fn held(key: &str, token: u64, until_ms: i64) -> Fate {
        Fate { key: key.to_owned(), may_be: vec![Some(token)], may_end: vec![until_ms..=until_ms] }
    }

    /// What is wrong with what lies there.
    fn judge(&self, there: Option<(u64, i64)>, keeps_data: bool) -> Option<String> {
        let token = there.map(|(token, _)| token);
        // A repetition may be told of a lease that is about to end, and is not renewed by it.
        let may_have_ended = self.may_end.iter().any(|range| *range.start() <= now_ms());
        let is_gone_rightly = token.is_none() && (may_have_ended || !keeps_data);
        if !is_gone_rightly && !self.may_be.contains(&token) {
            let Fate { key, may_be, may_end } = self;
            return Some(format!("{key}: {token:?} lies there, and not one of {may_be:?}, to end in {may_end:?}"));
        }
        let (token, until_ms) = there?;
        let fits = self.may_end.iter().any(|range| range.contains(&until_ms));
        (!fits).then(|| format!("{}: {token} ends at {until_ms}, and not in {:?}", self.key, self.may_end))
    }
}

/// One grant as its caller saw it.
pub struct Grant {
    pub key: String,
    pub token: u64,
    pub asked: Instant,
    pub told: Instant,
}

/// Everything that the callers of one scenario were told.
#[derive(Default)]
pub struct Ledger {
    pub history: History,
    grants: Mutex<Vec<Grant>>,
    fates: Mutex<Vec<Fate>>,
    answers: Mutex<BTreeMap<String, u64>>,
    wrong: Mutex<Vec<String>>,
    lost: Mutex<Vec<String>>,
}

impl Ledger {
    /// Something that is wrong whatever else happened.
    pub fn wrong(&self, what: String) {
        self.wrong.lock().expect("no panic while held").push(what);
    }

    /// Something that is wrong unless Redis has lost its data.
    pub fn lost(&self, what: String) {
        self.lost.lock().expect("no panic while held").push(what);
    }

    /// Counts an answer: its status, and its code if it has one.
    pub fn answer(&self, what: String) {
        *self.answers.lock().expect("no panic while held").entry(what).or_default() += 1;
    }

    pub fn grant(&self, grant: Grant) {
        self.grants.lock().expect("no panic while held").push(grant);
    }

    pub fn fate(&self, fate: Fate) {
        self.fates.lock().expect("no panic while held").push(fate);
    }

    /// How many answers there were of each kind.
    pub fn answers(&self) -> BTreeMap<String, u64> {
        self.answers.lock().expect("no panic while held").clone()
    }

    /// How many answers said that Redis did not do it, or that nobody knows.
    pub fn failures(&self) -> u64 {
        let answers = self.answers();
        answers.iter().filter(|(what, _)| what.starts_with("50")).map(|(_, count)| count).sum()
    }

    /// Everything that is wrong with what callers were told, whatever lies in Redis.
    pub fn wrong_answers(&self, keeps_data: bool) -> Vec<String> {
        let mut wrong = self.wrong.lock().expect("no panic while held").clone();
        if keeps_data {
            wrong.extend(self.lost.lock().expect("no panic while held").iter().cloned());
        }
        // By the order of their answers; `out_of_order` knows better.
        let order = |fault: &Fault| matches!(fault, Fault::OutOfOrder { .. });
        let faults = self.history.faults().into_iter();
        wrong.extend(
            faults.filter(|f| !order(f) && (keeps_data || !f.may_follow_a_loss())).map(|fault| fault.to_string()),
        );
        wrong.extend(out_of_order(&self.grants.lock().expect("no panic while held")));
        wrong
    }

    /// Everything that is wrong, now that all is at rest.
    pub fn verdict(&self, redis: &TestRedis, keeps_data: bool) -> Vec<String> {
        let mut wrong = self.wrong_answers(keeps_data);
        let mut connection = redis.connection();
        for fate in self.fates.lock().expect("no panic while held").iter() {
            let there = leases(&mut connection, &fate.key);
            if there.len() > 1 {
                wrong.push(format!("{}: one caller has it more than once: {there:?}", fate.key));
            }
            wrong.extend(fate.judge(there.last().copied(), keeps_data));
        }
        wrong
    }
}

/// The leases that lie under a key in Redis and last: their tokens, oldest first, and when they end, milliseconds since 1970.
pub fn leases(connection: &mut redis::Connection, key: &str) -> Vec<(u64, i64)> {
    let name = format!("{{lockside:{}}}:lock:{key}", crc32fast::hash(key.as_bytes()) % 64);
    let mut ask = |command: &str, args: &[&str]| -> redis::Value {
        redis::cmd(command).arg(&name).arg(args).query(connection).expect("an answer from redis")
    };
    let of = |value| redis::from_redis_value::<Option<String>>(value).expect("text");
    match of(ask("TYPE", &[])).as_deref() {
        Some("zset") => {
            // A token's score is the end of its lease; those of all other members are below zero.
            let lasting = ask("ZRANGEBYSCORE", &[&format!("({}", now_ms()), "+inf", "WITHSCORES"]);
            let mut lasting: Vec<(u64, i64)> = redis::from_redis_value(lasting).expect("tokens and times");
            lasting.sort_unstable();
            lasting
        }
        _ => {
            let Some(lease) = of(ask("GET", &[])) else { return Vec::new() };
            let until_ms = redis::from_redis_value(ask("PEXPIRETIME", &[])).expect("a time");
            let token = lease.split('"').nth(3).expect("a lease begins with its token");
            vec![(token.parse().expect("a token is a number"), until_ms)]
        }
    }
}

/// Grants with a token below one that was known before they were asked for.
fn out_of_order(grants: &[Grant]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut keys = BTreeMap::<&str, Vec<&Grant>>::new();
    for grant in grants {
        keys.entry(&grant.key).or_default().push(grant);
    }
    for (key, grants) in keys {
        let (mut by_told, mut by_asked) = (grants.clone(), grants);
        by_told.sort_by_key(|grant| grant.told);
        by_asked.sort_by_key(|grant| grant.asked);
        let (mut known, mut told) = (0, by_told.into_iter().peekable());
        for grant in by_asked {
            while let Some(before) = told.next_if(|before| before.told <= grant.asked) {
                known = known.max(before.token);
            }
            if grant.token <= known {
                wrong.push(format!("{key}: {} was granted after {known}", grant.token));
            }
        }
    }
    wrong
}

/// Milliseconds since 1970, as Redis on this machine sees them.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a date")
}

/// A stretch from now on, for as long as was promised, and no longer than Redis keeps it: the answer was written before
/// it was read, and the promise counts from then.
pub fn held_from_now(key: &str, holder: &str, token: u64, valid_for_ms: u64, until_ms: i64) -> Held {
    let from = Instant::now();
    let left_ms = u64::try_from(until_ms - now_ms()).unwrap_or(0).min(valid_for_ms);
    let until = from + Duration::from_millis(left_ms);
    Held { key: key.to_owned(), holder: holder.to_owned(), token, from, until, mode: Mode::Alone }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_is_judged_by_what_lies_there() {
        let end = now_ms() + 60_000;
        let fate = Fate::held("k", 7, end);
        assert_eq!(fate.judge(Some((7, end)), true), None);
        assert!(fate.judge(None, true).is_some(), "gone");
        assert_eq!(fate.judge(None, false), None, "gone with redis's data");
        assert_eq!(Fate::held("k", 7, now_ms() - 1).judge(None, true), None, "ended");
        assert!(fate.judge(Some((8, end)), false).is_some(), "another's");
        assert!(fate.judge(Some((7, end + 1)), true).is_some(), "renewed by nobody");
        assert!(Fate::free("k").judge(Some((7, end)), false).is_some(), "an orphan");
    }

    #[test]
    fn a_grant_is_out_of_order_only_if_a_higher_token_was_known_before() {
        let zero = Instant::now();
        let grant = |token, asked, told| {
            let at = |ms| zero + Duration::from_millis(ms);
            Grant { key: "k".to_owned(), token, asked: at(asked), told: at(told) }
        };
        assert_eq!(out_of_order(&[grant(1, 0, 5), grant(2, 1, 3)]), Vec::<String>::new(), "at the same time");
        assert_eq!(out_of_order(&[grant(2, 0, 5), grant(1, 5, 6)]).len(), 1);
        assert_eq!(out_of_order(&[grant(2, 0, 5), grant(2, 5, 6)]).len(), 1, "twice");
    }
}
