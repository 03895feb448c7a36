//! Faults that are planted, each with the world and the property that finds it.

mod table;

use crate::properties::{EXCLUSIVE, FREE, OFFERS, ORDER, PLACES, PROMISES, TOKENS, UNTOLD};
use crate::search::{self, REST};
use crate::story;
use crate::walk;
use crate::world::{Engine, Plant};

use super::named;
pub use table::{PLANTED, Planted};

/// Each is looked for until it is found.
#[test]
fn each_planted_fault_is_found_by_the_property_that_it_names() {
    let mut missed = Vec::new();
    let wanted = std::env::var("MODEL_PLANTED").unwrap_or_default();
    for Planted { name, plant, world, property } in PLANTED.iter().filter(|planted| planted.name.contains(&wanted)) {
        let engine = Engine::new(*plant);
        let named = named::of_name(world);
        let world = named.begin(&engine);
        let explore = if *property == REST { search::explore_to_rest } else { search::explore };
        let explored = explore(&engine, &world, 300_000);
        match explored.found {
            Some((violation, trace)) if violation.property == *property => {
                println!("{name}: {} states, {} steps", explored.states, trace.len());
                // Else something other than the plant may have broken it.
                let plain = Engine::new(Plant::default());
                let unplanted = explore(&plain, &named.begin(&plain), explored.states);
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

/// Walks find faults, too, and what they tell of them is short enough to be followed.
#[test]
fn walks_find_planted_faults_and_tell_them_in_few_steps() {
    const MOST_WALKS: u64 = 2_000;
    const MOST_STEPS: usize = 20;
    let worlds = named::large();
    let everything = worlds.iter().find(|named| named.name.ends_with("in every trouble")).expect("it is there");
    for wanted in ["an undo is sent once", "an undo leaves the entry"] {
        let Planted { plant, property, .. } =
            PLANTED.iter().find(|planted| planted.name == wanted).expect("it is in the table");
        let engine = Engine::new(*plant);
        let world = everything.begin(&engine);
        let of_it = |seed| walk::walk(&engine, &world, seed).filter(|(violation, _)| violation.property == *property);
        let (_, way) = (0..MOST_WALKS).find_map(of_it).unwrap_or_else(|| panic!("{wanted}: not found"));
        let (long, short) = (way.len(), walk::shrunk(&engine, &world, property, way));
        println!("{wanted}: {} of {long} steps", short.len());
        let (story, violation) = story::tell(&engine, &world, &short);
        assert_eq!(violation.map(|violation| violation.property), Some(*property), "{wanted}");
        assert!(short.len() <= MOST_STEPS, "{wanted}: {} steps\n{story}", short.len());
    }
}

/// A property that no planted fault breaks may be one that cannot fail.
#[test]
fn each_property_is_named_by_a_planted_fault() {
    for property in [PROMISES, EXCLUSIVE, TOKENS, UNTOLD, ORDER, FREE, PLACES, OFFERS, REST] {
        assert!(PLANTED.iter().any(|planted| planted.property == property), "{property}");
    }
}
