//! Faults that are planted, each with the world and the property that finds it.

mod left;
mod sought;
mod table;
mod terms;
mod through;

use crate::properties::{ENDS, EXCLUSIVE, FREE, OFFERS, ONE, ORDER, PLACES, PROMISES, TOKENS, TRUE, UNTOLD, Violation};
use crate::search::{self, REST};
use crate::story;
use crate::walk;
use crate::world::{Action, Engine, Plant, World};

use super::named;
use left::PLANTED_LEFT;
use sought::Sought;
pub use table::{PLANTED, Planted};
use terms::PLANTED_TERMS;
use through::{PLANTED_THROUGH, Through};

/// Most states in which a fault is looked for.
const MOST: usize = 300_000;

/// Looks for a fault; why it is not as it should be.
fn look(Planted { name, plant, world, property }: &Planted, through: Option<fn(Action) -> bool>) -> Result<(), String> {
    let (engine, plain) = (Engine::new(*plant), Engine::new(Plant::default()));
    let named = named::of_name(world);
    let begin = named.begin(&engine);
    let sought = Sought::new(begin.clone(), property, through);
    let explored = match *property {
        REST => search::explore_to_rest(&engine, &sought, MOST),
        _ => search::explore(&engine, &sought, MOST),
    };
    let Some((Violation { how, .. }, trace)) = explored.found else {
        return Err(format!("{name}: not found in {} states", explored.states));
    };
    println!("{name}: {} states, {} steps: {how}", explored.states, trace.len());
    if std::env::var("MODEL_TELL").is_ok() {
        println!("{trace:?}\n{}", story::tell(&engine, &begin, &trace).0);
    }
    // Else something other than the plant may have broken it.
    let unplanted = match *property {
        REST => search::explore_to_rest(&plain, &named.begin(&plain), explored.states),
        _ => search::explore(&plain, &named.begin(&plain), explored.states),
    };
    match unplanted.found {
        Some((violation, _)) => Err(format!("{name}: {} is broken without it, too", violation.property)),
        None => Ok(()),
    }
}

/// All that are planted in worlds of one key.
pub fn planted_faults() -> impl Iterator<Item = &'static Planted> {
    let through = PLANTED_THROUGH.iter().map(|Through { planted, .. }| planted);
    PLANTED.iter().chain(PLANTED_LEFT).chain(PLANTED_TERMS).chain(through)
}

/// Each is looked for until it is found.
#[test]
fn each_planted_fault_is_found_by_the_property_that_it_names() {
    let wanted = std::env::var("MODEL_PLANTED").unwrap_or_default();
    let plain = PLANTED.iter().chain(PLANTED_LEFT).chain(PLANTED_TERMS).map(|planted| (planted, None));
    let through = PLANTED_THROUGH.iter().map(|Through { planted, through }| (planted, Some(*through)));
    let all = plain.chain(through).filter(|(planted, _)| planted.name.contains(&wanted));
    let missed: Vec<_> = all.filter_map(|(planted, through)| look(planted, through).err()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Whether a sidecar crashes or freezes on this way while a client stands in the queue.
fn meets_a_queue(engine: &Engine, begin: &World, way: &[Action]) -> bool {
    let mut world = begin.clone();
    way.iter().any(|action| {
        let fails = matches!(action, Action::Crash(_) | Action::Freeze(_)) && !world.entries(engine).is_empty();
        world.apply(engine, *action);
        fails
    })
}

/// Walks find faults, too, and what they tell of them is short enough to be followed; some of them behind a queue.
#[test]
fn walks_find_planted_faults_and_tell_them_in_few_steps() {
    const MOST_WALKS: u64 = 2_000;
    const MOST_STEPS: usize = 30;
    let worlds = named::large();
    let everything = worlds.iter().find(|named| named.name.ends_with("in every trouble")).expect("it is there");
    for (wanted, needs_a_queue) in [
        ("an undo is sent once", false),
        ("an undo leaves the entry", false),
        ("the queues of a sidecar look again as soon as a look is answered", false),
        ("an offer to a sidecar that froze lasts for three seconds", true),
        ("the last to come is the first to be served", true),
    ] {
        let Planted { plant, property, .. } =
            PLANTED.iter().find(|planted| planted.name == wanted).expect("it is in the table");
        let engine = Engine::new(*plant);
        let world = everything.begin(&engine);
        let of_it = |seed| {
            let (violation, way) = walk::walk(&engine, &world, seed)?;
            let is_of_it = violation.property == *property;
            (is_of_it && (!needs_a_queue || meets_a_queue(&engine, &world, &way))).then_some(way)
        };
        let way = (0..MOST_WALKS).find_map(of_it).unwrap_or_else(|| panic!("{wanted}: not found"));
        let (long, short) = (way.len(), walk::shrunk(&engine, &world, property, way));
        println!("{wanted}: {} of {long} steps", short.len());
        let (story, violation) = story::tell(&engine, &world, &short);
        // What never comes to rest breaks nothing on the way.
        let told = violation.map_or(REST, |violation| violation.property);
        assert_eq!(told, *property, "{wanted}");
        assert!(short.len() <= MOST_STEPS, "{wanted}: {} steps\n{story}", short.len());
    }
}

/// A property that no planted fault breaks may be one that cannot fail.
#[test]
fn each_property_is_named_by_a_planted_fault() {
    for property in [PROMISES, EXCLUSIVE, TOKENS, UNTOLD, ORDER, FREE, PLACES, OFFERS, ONE, ENDS, TRUE, REST] {
        assert!(planted_faults().any(|planted| planted.property == property), "{property}");
    }
}
