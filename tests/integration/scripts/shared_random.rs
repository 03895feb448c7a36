//! What is asked for at random of a key that may be shared: waiters of both modes are served in the order in which they
//! came, none waits that has room, and what lies under the key is whole after each step.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::shared::{shared, token_of};
use super::{Attempt, DECLINE, JOIN, Space, identity_of, word};
use crate::harness::Dice;

const SEEDS: u64 = 60;
/// Well below the shortest offer of a key to a waiter.
const AT_ONCE: Duration = Duration::from_millis(500);
const STEPS: usize = 40;

/// `None` wants the key alone; else with a limit, or without one.
type Limit = Option<Option<u64>>;

#[derive(Debug)]
struct Waiting {
    id: String,
    limit: Limit,
    entry: String,
}

/// What the key should be.
#[derive(Default)]
struct Model {
    /// Who has it: of each token the owner, and what was asked for.
    holders: BTreeMap<u64, (String, Limit)>,
    waiting: Vec<Waiting>,
    count: usize,
}

impl Model {
    fn has_room(&self, limit: Limit) -> bool {
        let is_alone = self.holders.values().any(|(_, limit)| limit.is_none());
        match limit {
            None => self.holders.is_empty(),
            Some(limit) => !is_alone && (self.holders.len() as u64) < limit.unwrap_or(10_000),
        }
    }

    fn attempt(&mut self, dice: &mut Dice) -> (Attempt, Limit) {
        self.count += 1;
        let limit = [None, None, Some(None), Some(None), Some(Some(1)), Some(Some(2)), Some(Some(3))];
        let (limit, id) = (limit[dice.roll(7) as usize], format!("w-{}", self.count));
        let further = limit.map(shared).unwrap_or_default();
        (Attempt { further, ..Attempt::of("k", &id, &id) }, limit)
    }

    fn any(&self, dice: &mut Dice) -> Option<(u64, String)> {
        let at = dice.roll(self.holders.len().max(1) as u64) as usize;
        self.holders.iter().nth(at).map(|(token, (owner, _))| (*token, owner.clone()))
    }

    fn step(&mut self, space: &mut Space, dice: &mut Dice) {
        match dice.roll(12) {
            0 | 1 => {
                let (attempt, limit) = self.attempt(dice);
                let row = if limit.is_some() { space.share(&attempt) } else { space.acquire(&attempt) }.unwrap();
                let is_granted = self.waiting.is_empty() && self.has_room(limit);
                assert_eq!(word(&row) == "granted", is_granted, "{row:?}");
                if is_granted {
                    self.holders.insert(row[1].parse().unwrap(), (attempt.sending().to_owned(), limit));
                }
            }
            2..=4 => {
                let (attempt, limit) = self.attempt(dice);
                let Attempt { identity, nonce, further, .. } = &attempt;
                let id = attempt.sending().to_owned();
                let entry = format!("a-0\n{id}\n60000\n{identity}\n{nonce}\n{further}");
                let row = space.run_in_line(JOIN, "k", 0, &[&entry, &id, "60000", "", "refuse", ""]).unwrap();
                assert_eq!(word(&row), "waiting");
                self.waiting.push(Waiting { id, limit, entry });
            }
            5 | 6 => {
                let Some((token, owner)) = self.any(dice) else { return };
                assert_eq!(space.release("k", Some(token), &identity_of(&owner)).unwrap(), ["released"]);
                self.holders.remove(&token);
            }
            7 if !self.waiting.is_empty() => {
                let gone = self.waiting.remove(dice.roll(self.waiting.len() as u64) as usize);
                let attempt = Attempt::of("k", &gone.id, &gone.id);
                assert_eq!(space.undo_of(&attempt, &gone.entry).unwrap(), ["nothing"]);
            }
            8 => {
                let Some((token, owner)) = self.any(dice) else { return };
                let undone = space.undo(&Attempt::of("k", &owner, &owner)).unwrap();
                if undone == ["undone"] {
                    self.holders.remove(&token);
                }
            }
            9 => {
                let Some((token, owner)) = self.any(dice) else { return };
                let renewed = space.renew("k", token, &identity_of(&owner), 50_000 + dice.roll(20_000)).unwrap();
                assert_eq!(word(&renewed), "renewed");
            }
            10 => {
                let Some((token, _)) = self.any(dice) else { return };
                if space.run_in_line(DECLINE, "k", 0, &[&token.to_string(), "a-0"]).unwrap() == ["declined"] {
                    self.holders.remove(&token);
                }
            }
            _ => {
                let token = self.any(dice).filter(|_| dice.roll(3) > 0).map(|(token, _)| token);
                let row = space.force("k", token).unwrap();
                for lease in &row {
                    self.holders.remove(&token_of(lease));
                }
            }
        }
    }

    /// Those who were served meanwhile: the first ones, in order; and then the next has no room.
    fn serve(&mut self, space: &mut Space) {
        for (token, owner) in space.held_by() {
            if self.holders.contains_key(&token) {
                continue;
            }
            assert!(!self.waiting.is_empty(), "{owner} did not wait");
            let served = self.waiting.remove(0);
            assert_eq!(served.id, owner, "not its turn");
            assert!(self.has_room(served.limit), "{served:?} beside {:?}", self.holders);
            self.holders.insert(token, (owner, served.limit));
        }
        let waiting: Vec<String> = self.waiting.iter().map(|waiting| waiting.id.clone()).collect();
        assert_eq!(space.line(), waiting);
        assert!(self.waiting.first().is_none_or(|first| !self.has_room(first.limit)), "{waiting:?} wait in vain");
    }
}

impl Space {
    /// The tokens that hold the key, in their order, and their owners.
    fn held_by(&mut self) -> Vec<(u64, String)> {
        let row = self.read(&["k"]).remove(0);
        let leases = match word(&row) {
            "shared" => row[7..].iter().step_by(3).cloned().collect(),
            "lease" => vec![row[2].clone()],
            _ => Vec::new(),
        };
        let owner = |lease: &str| lease.split("\"owner\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        leases.iter().map(|lease| (token_of(lease), owner(lease))).collect()
    }
}

#[test]
fn waiters_of_both_modes_are_served_in_order_and_none_waits_that_has_room() {
    let mut grants = 0;
    for seed in 0..SEEDS {
        let (mut space, mut model, mut dice) = (Space::shared(), Model::default(), Dice(seed + 1));
        let begun = Instant::now();
        for _ in 0..STEPS {
            model.step(&mut space, &mut dice);
            if begun.elapsed() > AT_ONCE {
                break; // The machine is busy: an offer may have lapsed.
            }
            model.serve(&mut space);
            if model.holders.values().any(|(_, limit)| limit.is_some()) {
                space.assert_whole();
            }
        }
        grants += model.count;
    }
    assert!(grants > 100, "{grants}");
}
