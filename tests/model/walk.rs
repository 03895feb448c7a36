//! Long walks at random through worlds that are too large to be explored.

use crate::dice::Dice;
use crate::properties::{self, Violation};
use crate::search::{Calm, REST};
use crate::world::{Action, Engine, World};

/// Most steps of one.
const STEPS: usize = 400;
/// Of so many steps one is a trouble.
const TROUBLE_IN: usize = 10;

/// Walks until nothing can happen any more, or so far and then to a calm end, unless a property is broken before: by which,
/// and on what way.
pub fn walk(engine: &Engine, begin: &World, seed: u64) -> Option<(Violation, Vec<Action>)> {
    let (mut world, mut dice, mut way) = (begin.clone(), Dice::new(seed), Vec::new());
    for _ in 0..STEPS {
        let actions = world.actions(engine);
        if actions.is_empty() {
            break;
        }
        let action = choose(&mut dice, &actions);
        way.push(action);
        world.apply(engine, action);
        if let Some(violation) = properties::broken(&world, engine) {
            return Some((violation, way));
        }
    }
    let (violation, further) = Calm::default().end(engine, &world)?;
    way.extend(further);
    Some((violation, way))
}

/// One of what can happen next. A trouble is taken rarely, so that something is at stake when it comes.
fn choose(dice: &mut Dice, actions: &[Action]) -> Action {
    let (troubles, plain): (Vec<Action>, Vec<Action>) = actions.iter().partition(|action| action.is_trouble());
    let is_trouble = plain.is_empty() || !troubles.is_empty() && dice.roll(TROUBLE_IN) == 0;
    let kind = if is_trouble { troubles } else { plain };
    kind[dice.roll(kind.len())]
}

/// A shorter way on which the same property is broken: without the steps, many together and then each by itself, that it does
/// not need.
pub fn shrunk(engine: &Engine, begin: &World, property: &str, mut way: Vec<Action>) -> Vec<Action> {
    let mut count = way.len().div_ceil(2);
    loop {
        let (mut at, before) = (0, way.len());
        while at < way.len() {
            let behind = (at + count).min(way.len());
            let shorter: Vec<_> = way[..at].iter().chain(&way[behind..]).copied().collect();
            match broken_on(engine, begin, property, &shorter) {
                Some(shorter) => way = shorter,
                None => at += count,
            }
        }
        if way.len() == before {
            if count <= 1 {
                return way;
            }
            count = count.div_ceil(2);
        }
    }
}

/// What of a way is taken up to where the property is broken; `None` where it is not. Steps that cannot be taken are not.
fn broken_on(engine: &Engine, begin: &World, property: &str, way: &[Action]) -> Option<Vec<Action>> {
    let (mut world, mut taken) = (begin.clone(), Vec::new());
    for action in way {
        if !world.actions(engine).contains(action) {
            continue;
        }
        taken.push(*action);
        world.apply(engine, *action);
        if let Some(violation) = properties::broken(&world, engine) {
            return (violation.property == property).then_some(taken);
        }
    }
    let never_rests = || Calm::default().end(engine, &world).is_some_and(|(violation, _)| violation.property == REST);
    (property == REST && never_rests()).then_some(taken)
}
