//! Every state that a world can reach, the nearest first, so that the first trace to a fault is a shortest one.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::properties::Violation;
use crate::world::Engine;

/// What is explored.
pub trait State: Clone + Hash {
    type Action: Copy;

    /// All that can happen next.
    fn actions(&self, engine: &Engine) -> Vec<Self::Action>;
    fn apply(&mut self, engine: &Engine, action: Self::Action);
    /// The first property that does not hold, if any.
    fn broken(&self, engine: &Engine) -> Option<Violation>;
}

/// How an exploration ended.
pub struct Explored<A> {
    pub states: usize,
    pub depth: usize,
    /// Whether no state is left that was not looked at.
    pub is_finished: bool,
    pub found: Option<(Violation, Vec<A>)>,
}

/// Explores a world until a property is broken, or so many states are known.
pub fn explore<S: State>(engine: &Engine, begin: &S, most: usize) -> Explored<S::Action> {
    let first = fingerprint(begin);
    let mut parents: HashMap<u128, Option<(u128, S::Action)>> = HashMap::from([(first, None)]);
    let mut next = VecDeque::from([(begin.clone(), first, 0)]);
    let mut explored = Explored { states: 1, depth: 0, is_finished: true, found: None };
    while let Some((world, print, depth)) = next.pop_front() {
        explored.depth = depth;
        for action in world.actions(engine) {
            let mut world = world.clone();
            world.apply(engine, action);
            let child = fingerprint(&world);
            if parents.contains_key(&child) {
                continue;
            }
            parents.insert(child, Some((print, action)));
            if let Some(violation) = world.broken(engine) {
                explored.states = parents.len();
                explored.found = Some((violation, trace(&parents, child)));
                return explored;
            }
            next.push_back((world, child, depth + 1));
        }
        if parents.len() >= most {
            explored.is_finished = false;
            break;
        }
    }
    explored.states = parents.len();
    explored
}

fn trace<A: Copy>(parents: &HashMap<u128, Option<(u128, A)>>, mut at: u128) -> Vec<A> {
    let mut actions = Vec::new();
    while let Some((parent, action)) = parents[&at] {
        actions.push(action);
        at = parent;
    }
    actions.reverse();
    actions
}

/// A state in 128 bits: two states of one world have the same ones with a probability that can be forgotten.
fn fingerprint(world: &impl Hash) -> u128 {
    let mut print = Fingerprint(0x6C62_272E_07BB_0142_62B8_2175_6295_C58D);
    world.hash(&mut print);
    print.0 ^ (print.0 >> 61)
}

struct Fingerprint(u128);

impl Fingerprint {
    fn take(&mut self, word: u64) {
        const PRIME: u128 = 0x2D35_8DCC_AA6C_78A5_8BB8_4B93_962E_ACC9;
        let mixed = (self.0 ^ u128::from(word)).wrapping_mul(PRIME);
        self.0 = mixed ^ (mixed >> 67);
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.take(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.take(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.take(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.take(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.take(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 as u64
    }
}
