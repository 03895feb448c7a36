//! Faults that are planted, each with the world and the property that finds it.

mod left;
mod sought;
mod table;
mod through;

use crate::properties::{ENDS, EXCLUSIVE, FREE, OFFERS, ONE, ORDER, PLACES, PROMISES, TOKENS, TRUE, UNTOLD, Violation};
use crate::search;
use crate::story;
use crate::world::{Action, Engine, Plant};

use super::named;
use left::PLANTED_LEFT;
use sought::Sought;
use table::{PLANTED, Planted};
use through::{PLANTED_THROUGH, Through};

/// Most states in which a fault is looked for.
const MOST: usize = 300_000;

/// Looks for a fault; why it is not as it should be.
fn look(Planted { name, plant, world, property }: &Planted, through: Option<fn(Action) -> bool>) -> Result<(), String> {
    let (engine, plain) = (Engine::new(*plant), Engine::new(Plant::default()));
    let named = named::of_name(world);
    let begin = named.begin(&engine);
    let explored = search::explore(&engine, &Sought::new(begin.clone(), property, through), MOST);
    let Some((Violation { how, .. }, trace)) = explored.found else {
        return Err(format!("{name}: not found in {} states", explored.states));
    };
    println!("{name}: {} states, {} steps: {how}", explored.states, trace.len());
    if std::env::var("MODEL_TELL").is_ok() {
        println!("{}", story::tell(&engine, &begin, &trace).0);
    }
    // Else something other than the plant may have broken it.
    let unplanted = search::explore(&plain, &named.begin(&plain), explored.states);
    match unplanted.found {
        Some((violation, _)) => Err(format!("{name}: {} is broken without it, too", violation.property)),
        None => Ok(()),
    }
}

/// Each is looked for until it is found.
#[test]
fn each_planted_fault_is_found_by_the_property_that_it_names() {
    let wanted = std::env::var("MODEL_PLANTED").unwrap_or_default();
    let plain = PLANTED.iter().chain(PLANTED_LEFT).map(|planted| (planted, None));
    let through = PLANTED_THROUGH.iter().map(|Through { planted, through }| (planted, Some(*through)));
    let all = plain.chain(through).filter(|(planted, _)| planted.name.contains(&wanted));
    let missed: Vec<_> = all.filter_map(|(planted, through)| look(planted, through).err()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A property that no planted fault breaks may be one that cannot fail.
#[test]
fn each_property_is_named_by_a_planted_fault() {
    let through = PLANTED_THROUGH.iter().map(|Through { planted, .. }| planted);
    let all: Vec<_> = PLANTED.iter().chain(PLANTED_LEFT).chain(through).collect();
    for property in [PROMISES, EXCLUSIVE, TOKENS, UNTOLD, ORDER, FREE, PLACES, OFFERS, ONE, ENDS, TRUE] {
        assert!(all.iter().any(|planted| planted.property == property), "{property}");
    }
}
