//! What must hold of bundles.

use lockside::lock::{Key, Mode, Token};

use super::party::{Leg, Promise, Request};
use super::{Bundles, Party};
use crate::properties::{
    ENDS, EXCLUSIVE, FREE, FREE_IN_TROUBLE_MS, FREE_MS, ONE, ORDER, PLACES, PROMISES, TOKENS, UNTOLD, Violation,
};
use crate::redis::{Reply, Stored};
use crate::world::{Engine, Held, row};

/// Several keys are granted together or not at all, and renewed together or not at all.
pub const WHOLE: &str = "several keys are granted, or renewed, together or not at all";

fn violation(property: &'static str, how: String) -> Option<Violation> {
    Some(Violation { property, how })
}

pub fn broken(world: &Bundles, engine: &Engine) -> Option<Violation> {
    let broken = world.broken.clone().or_else(|| promises(world, engine)).or_else(|| exclusive(world));
    let left = || untold(world, engine).or_else(|| one(world, engine)).or_else(|| ends(world, engine));
    broken.or_else(left).or_else(|| free(world))
}

/// Each attempt has one lease of a key at a time.
fn one(world: &Bundles, engine: &Engine) -> Option<Violation> {
    for key in world.keys() {
        let leases = world.leases(engine, key);
        let is_twice = |held: &&Held| leases.iter().filter(|other| other.attempt() == held.attempt()).count() > 1;
        if let Some(Held { token, attempt, .. }) = leases.iter().find(is_twice) {
            return violation(ONE, format!("the lease {token} of {key} is not the only one of its attempt: {attempt}"));
        }
    }
    None
}

fn ends(world: &Bundles, engine: &Engine) -> Option<Violation> {
    let shard = |key| Key::parse(key).expect("a key").shard();
    let tokens: Vec<_> = world.keys().into_iter().map(|key| engine.space.tokens(shard(key)).to_vec()).collect();
    let is_endless =
        |(key, stored): &(&[u8], &Stored)| stored.expires_ms.is_none() && !tokens.iter().any(|name| name == key);
    let (key, _) = world.redis.iter().find(is_endless)?;
    violation(ENDS, format!("{} has none", String::from_utf8_lossy(key)))
}

/// For longer than the bound: once something went wrong, that of a trouble.
fn free(world: &Bundles) -> Option<Violation> {
    let most_ms = if world.was_in_trouble { FREE_IN_TROUBLE_MS } else { FREE_MS };
    let (key, since_ms) = world.free_since.iter().find(|(_, since_ms)| world.now_ms - **since_ms > most_ms)?;
    violation(FREE, format!("{key} is free for {} ms, and a party waits for it", world.now_ms - since_ms))
}

/// The keys that are promised, how, and by which tokens.
fn promised(party: &Party) -> impl Iterator<Item = (&'static str, Mode, Token, i64)> {
    let promise = party.promise.iter();
    promise.flat_map(|Promise { tokens, until_ms }| {
        party.wants.legs.iter().zip(tokens).map(|(leg, token)| (leg.key, leg.mode, *token, *until_ms))
    })
}

fn promises(world: &Bundles, engine: &Engine) -> Option<Violation> {
    for (key, _, token, until_ms) in world.parties.iter().flat_map(promised) {
        let leases = world.leases(engine, key);
        if !leases.iter().any(|held| held.token == token && held.until_ms >= until_ms) {
            return violation(PROMISES, format!("{key} by {token} until {until_ms} ms, and there is {leases:?}"));
        }
    }
    None
}

fn exclusive(world: &Bundles) -> Option<Violation> {
    let all: Vec<_> = world.parties.iter().flat_map(promised).collect();
    let (key, _, token, _) = all.iter().find(|(key, mode, token, _)| {
        *mode == Mode::Exclusive && all.iter().any(|other| other.0 == *key && other.2 != *token)
    })?;
    violation(EXCLUSIVE, format!("{key} is promised by {token}, and to another party"))
}

/// What a sidecar left that crashed ends by its time, or is dropped from the queue when its turn lapses.
fn untold(world: &Bundles, engine: &Engine) -> Option<Violation> {
    if !world.is_at_rest() {
        return None;
    }
    let of_a_crash = |by: &str| world.parties.iter().any(|party| party.has_crashed && party.sent_by(by));
    let mut leases = world.keys().into_iter().flat_map(|key| world.leases(engine, key));
    let untold = leases.find(|held| !world.told.contains(&held.token) && !of_a_crash(&held.by));
    if let Some(untold) = untold {
        return violation(UNTOLD, format!("the lease {} lies there until {} ms", untold.token, untold.until_ms));
    }
    let is_left = |entry: &String| {
        let sidecar = entry.lines().next().unwrap_or_default();
        !world.parties.iter().any(|party| party.has_crashed && party.wants.owner == sidecar)
    };
    let entry = world.keys().into_iter().flat_map(|key| world.entries(engine, key)).find(is_left)?;
    violation(PLACES, format!("{entry:?} stands in the queue"))
}

impl Bundles {
    /// What a run of a script has done, where that is to be whole.
    pub(super) fn check(&mut self, engine: &Engine, before: &Bundles, request: &Request, reply: &Reply) {
        let (word, _) = row(reply);
        let found = match request.script {
            "acquire" | "share" | "acquire_all" => self.check_grant(engine, before, request, word == "granted"),
            "renew_all" => self.check_renewal(engine, before, request, word == "renewed"),
            _ => None,
        };
        if self.broken.is_none() {
            self.broken = found;
        }
    }

    fn check_grant(&self, engine: &Engine, before: &Bundles, request: &Request, is_granted: bool) -> Option<Violation> {
        let is_told = |key: &str, id: &String| self.leases(engine, key).iter().any(|held| held.by == *id);
        let party = self.parties.iter().find(|party| request.sendings[0].starts_with(party.wants.owner))?;
        let mut legs = party.wants.legs.iter().zip(&request.sendings);
        if let Some((leg, _)) = legs.clone().find(|(leg, id)| is_told(leg.key, id) != is_granted) {
            return violation(WHOLE, format!("is granted: {is_granted}, but not so {}", leg.key));
        }
        if !is_granted {
            return None;
        }
        // Of the others, as many as the leg's limit lets share its key besides.
        let is_full = |leg: &Leg| {
            let others = before.parties.iter().filter(|other| other.wants.owner != party.wants.owner);
            let beside =
                others.flat_map(promised).filter(|(key, _, _, until_ms)| *key == leg.key && *until_ms > self.now_ms);
            leg.mode.limit().is_some_and(|limit| beside.count() >= usize::from(limit))
        };
        if let Some((leg, _)) = legs.clone().find(|(leg, _)| is_full(leg)) {
            return violation(EXCLUSIVE, format!("{} is granted beyond its limit", leg.key));
        }
        let (leg, _) = legs.find(|(leg, _)| !before.entries(engine, leg.key).is_empty())?;
        violation(ORDER, format!("{} is granted while others wait for it", leg.key))
    }

    fn check_renewal(
        &self,
        engine: &Engine,
        before: &Bundles,
        request: &Request,
        is_renewed: bool,
    ) -> Option<Violation> {
        let ttl_ms = request.args[3].parse::<i64>().expect("a ttl");
        let legs = request.args[..request.args.len() - 1].chunks(6);
        let ends = |world: &Bundles, leg: &[String]| {
            let leases = world.leases(engine, &leg[0]);
            leases.iter().find(|held| held.token.to_string() == leg[1]).map(|held| held.until_ms)
        };
        let is_right = |leg: &&[String]| {
            let (was, is) = (ends(before, leg), ends(self, leg));
            if is_renewed { is >= Some(self.now_ms + ttl_ms) } else { is == was }
        };
        let wrong = legs.clone().find(|leg| !is_right(leg))?;
        violation(WHOLE, format!("is renewed: {is_renewed}, but not so {}", wrong[0]))
    }

    /// Notes since when each key is free that a party waits for.
    pub(super) fn note_free(&mut self, engine: &Engine) {
        for key in self.keys() {
            let is_waited_for = || {
                let entries = self.entries(engine, key);
                let waits = |party: &Party| party.under_way && entries.iter().any(|entry| party.stands_by(entry));
                self.parties.iter().any(waits)
            };
            if self.leases(engine, key).is_empty() && is_waited_for() {
                self.free_since.entry(key).or_insert(self.now_ms);
            } else {
                self.free_since.remove(key);
            }
        }
    }

    /// Tokens rise.
    pub(super) fn note_tokens(&mut self, engine: &Engine) {
        for key in self.keys() {
            for held in self.leases(engine, key) {
                let highest = self.highest.get(key).copied();
                let is_new = self.seen.insert((key, held.attempt));
                let has_risen = highest.is_none_or(|highest| held.token > highest);
                if is_new && !has_risen && self.broken.is_none() {
                    self.broken = violation(TOKENS, format!("{} of {key} came after {highest:?}", held.token));
                }
                self.highest.insert(key, highest.map_or(held.token, |highest| highest.max(held.token)));
            }
        }
    }
}
