//! Worlds that are explored: as they ship, each property holds; with a planted fault, the property that it names does not.

mod held;
mod mixed;
mod named;
mod planted;
mod traces;
mod troubled;

use std::iter;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Instant;

use crate::dice::Dice;
use crate::properties::Violation;
use crate::search::{self, Explored};
use crate::story;
use crate::walk;
use crate::world::{Engine, Plant};
use named::worlds;

/// States of each world that `make test` looks at; `make model` sets more.
const STATES: usize = 2_500;

/// Walks that `make test` takes; `make model` sets more.
const WALKS: usize = 500;
/// After so many walks what is remembered of runs is forgotten: few of them are runs of another walk, too.
const WALKS_REMEMBERED: usize = 100;

fn set(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn every_property_holds_in_every_world() {
    let engine = Engine::new(Plant::default());
    let mut stories = Vec::new();
    let wanted = std::env::var("MODEL_WORLD").unwrap_or_default();
    for named in worlds().into_iter().filter(|named| named.name.contains(&wanted)) {
        let begun = Instant::now();
        let world = named.begin(&engine);
        let Explored { states, depth, is_finished, found } =
            search::explore_to_rest(&engine, &world, set("MODEL_STATES", STATES));
        let end = if is_finished { "finished" } else { "not finished" };
        println!("{}: {end}, {states} states, depth {depth}, {:.1?}", named.name, begun.elapsed());
        engine.forget();
        if let Some((Violation { property, how }, trace)) = found {
            let (story, _) = story::tell(&engine, &world, &trace);
            stories.push(format!("{}: {property}: {how}\n{story}", named.name));
        }
    }
    assert!(stories.is_empty(), "{}", stories.join("\n"));
}

#[test]
fn every_property_holds_on_walks_at_random() {
    let (count, walkers) = (set("MODEL_WALKS", WALKS), available_parallelism().map_or(1, NonZero::get));
    let next = &AtomicUsize::new(0);
    let stories: Vec<String> = std::thread::scope(|scope| {
        let walk = || {
            let seeds = iter::from_fn(move || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < count));
            scope.spawn(move || walk_through(seeds))
        };
        let walkers: Vec<_> = (0..walkers).map(|_| walk()).collect();
        walkers.into_iter().flat_map(|walker| walker.join().expect("no panic")).collect()
    });
    assert!(stories.is_empty(), "{}", stories.join("\n"));
}

/// Walks through the large worlds, each second time through the last one, which has every trouble, and else through the others
/// by turns; half of the walks through each on Redis and half on Valkey. The seed of each walk is its number. Each client wants
/// two of the three things that it may want, so that all ways in which these meet are there, and a walk is short. Returns the
/// stories of those in which a property broke.
fn walk_through(walks: impl Iterator<Item = usize>) -> Vec<String> {
    let mut stories = Vec::new();
    let engines = [Engine::new(Plant::default()), Engine::on_valkey()];
    let worlds = named::large();
    for (taken, at) in walks.enumerate() {
        let (everything, others) = worlds.split_last().expect("some worlds");
        let named = if at % 2 == 0 { everything } else { &others[at / 2 % others.len()] };
        let engine = &engines[at / (2 * others.len()) % 2];
        let (name, mut world) = (named.name, named.begin(engine));
        let seed = u64::try_from(at).expect("a count");
        let mut dice = Dice::new(!seed);
        world.clients.iter_mut().for_each(|client| client.forgo(&mut dice));
        let world = &world;
        if let Some((violation, way)) = walk::walk(engine, world, seed) {
            let way = walk::shrunk(engine, world, violation.property, way);
            let (story, _) = story::tell(engine, world, &way);
            println!("{name}, seed {seed}: {}: {}", violation.property, violation.how);
            stories.push(format!("{name}, seed {seed}: {}: {}\n{story}", violation.property, violation.how));
        }
        if taken % WALKS_REMEMBERED == 0 {
            engines.iter().for_each(Engine::forget);
        }
    }
    stories
}
