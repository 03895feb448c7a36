//! Every state that a world can reach, the nearest first, so that the first trace to a fault is a shortest one.

use std::collections::{HashMap, HashSet, VecDeque};
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
    /// What happens next where nothing goes wrong any more and nothing more is asked for; `None`: nothing.
    fn next_calm(&self, engine: &Engine) -> Option<Self::Action>;
    /// Whether nothing is under way.
    fn is_at_rest(&self) -> bool;
}

/// What is left alone comes to rest.
pub const REST: &str = "what is left alone comes to rest";
/// Most steps until then.
const CALM_STEPS: usize = 1_000;

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
    explore_with(engine, begin, most, None)
}

/// As [`explore`], and leads each new state to a calm end, too.
pub fn explore_to_rest<S: State>(engine: &Engine, begin: &S, most: usize) -> Explored<S::Action> {
    explore_with(engine, begin, most, Some(&mut Calm::default()))
}

fn explore_with<S: State>(engine: &Engine, begin: &S, most: usize, mut calm: Option<&mut Calm>) -> Explored<S::Action> {
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
            let found = world.broken(engine).map(|violation| (violation, Vec::new()));
            if let Some((violation, further)) = found.or_else(|| calm.as_mut()?.end(engine, &world)) {
                explored.states = parents.len();
                explored.found = Some((violation, [trace(&parents, child), further].concat()));
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

/// The states whose calm end is known: no property is broken on the way there.
#[derive(Default)]
pub struct Calm(HashSet<u128>);

impl Calm {
    /// Leads a state to its calm end: the property that is broken on the way there, if any, and the way.
    pub fn end<S: State>(&mut self, engine: &Engine, from: &S) -> Option<(Violation, Vec<S::Action>)> {
        let (mut world, mut way, mut passed) = (from.clone(), Vec::new(), Vec::new());
        let never = |how: &str, way| Some((Violation { property: REST, how: how.to_owned() }, way));
        loop {
            let print = fingerprint(&world);
            if !self.0.insert(print) {
                return if passed.contains(&print) { never("the same happens again and again", way) } else { None };
            }
            passed.push(print);
            let Some(action) = world.next_calm(engine) else {
                return if world.is_at_rest() { None } else { never("something is under way for ever", way) };
            };
            world.apply(engine, action);
            way.push(action);
            if let Some(violation) = world.broken(engine) {
                return Some((violation, way));
            }
            if way.len() > CALM_STEPS {
                return never("not in a thousand steps", way);
            }
        }
    }
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
    let mut print = Fingerprint::default();
    world.hash(&mut print);
    print.0 ^ (print.0 >> 61)
}

/// Of what is hashed.
pub struct Fingerprint(u128);

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint(0x6C62_272E_07BB_0142_62B8_2175_6295_C58D)
    }
}

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
