//! Long walks at random through worlds that are too large to be explored.

use crate::dice::Dice;
use crate::properties::{self, Violation};
use crate::world::{Action, Engine, World};

/// Most steps of one.
const STEPS: usize = 400;

/// Walks until nothing can happen any more, or a property is broken: by which, and on what way.
pub fn walk(engine: &Engine, begin: &World, seed: u64) -> Option<(Violation, Vec<Action>)> {
    let (mut world, mut dice, mut way) = (begin.clone(), Dice::new(seed), Vec::new());
    for _ in 0..STEPS {
        let actions = world.actions(engine);
        if actions.is_empty() {
            break;
        }
        let action = actions[dice.roll(actions.len())];
        way.push(action);
        world.apply(engine, action);
        if let Some(violation) = properties::broken(&world, engine) {
            return Some((violation, way));
        }
    }
    None
}

/// A shorter way on which the same property is broken: without each step that it does not need.
pub fn shrunk(engine: &Engine, begin: &World, property: &str, mut way: Vec<Action>) -> Vec<Action> {
    let mut at = way.len();
    while at > 0 {
        at -= 1;
        let shorter: Vec<_> = way[..at].iter().chain(&way[at + 1..]).copied().collect();
        if let Some(shorter) = broken_on(engine, begin, property, &shorter) {
            way = shorter;
            at = at.min(way.len());
        }
    }
    way
}

/// The part of a way up to where the property is broken; `None` where it is not, or where a step cannot be taken.
fn broken_on(engine: &Engine, begin: &World, property: &str, way: &[Action]) -> Option<Vec<Action>> {
    let mut world = begin.clone();
    for (at, action) in way.iter().enumerate() {
        if !world.actions(engine).contains(action) {
            return None;
        }
        world.apply(engine, *action);
        if let Some(violation) = properties::broken(&world, engine) {
            return (violation.property == property).then(|| way[..=at].to_vec());
        }
    }
    None
}
