//! Faults that are planted, each with the world and the property that finds it.

mod table;

use crate::properties::{EXCLUSIVE, FREE, OFFERS, ORDER, PLACES, PROMISES, TOKENS, UNTOLD};
use crate::search;
use crate::story;
use crate::world::{Engine, Plant};

use super::named;
use table::{PLANTED, Planted};

/// Each is looked for until it is found.
#[test]
fn each_planted_fault_is_found_by_the_property_that_it_names() {
    let mut missed = Vec::new();
    let wanted = std::env::var("MODEL_PLANTED").unwrap_or_default();
    for Planted { name, plant, world, property } in PLANTED.iter().filter(|planted| planted.name.contains(&wanted)) {
        let engine = Engine::new(*plant);
        let named = named::of_name(world);
        let world = named.begin(&engine);
        let explored = search::explore(&engine, &world, 300_000);
        match explored.found {
            Some((violation, trace)) if violation.property == *property => {
                println!("{name}: {} states, {} steps", explored.states, trace.len());
                // Else something other than the plant may have broken it.
                let plain = Engine::new(Plant::default());
                let unplanted = search::explore(&plain, &named.begin(&plain), explored.states);
                if let Some((violation, _)) = unplanted.found {
                    missed.push(format!("{name}: {} is broken without it, too", violation.property));
                }
            }
            Some((violation, trace)) => {
                let (story, _) = story::tell(&engine, &world, &trace);
                missed.push(format!("{name}: found by {}:\n{story}", violation.property));
            }
            None => missed.push(format!("{name}: not found in {} states", explored.states)),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A property that no planted fault breaks may be one that cannot fail.
#[test]
fn each_property_is_named_by_a_planted_fault() {
    for property in [PROMISES, EXCLUSIVE, TOKENS, UNTOLD, ORDER, FREE, PLACES, OFFERS] {
        assert!(PLANTED.iter().any(|planted| planted.property == property), "{property}");
    }
}
