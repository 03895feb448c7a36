//! Worlds that are explored: as they ship, each property holds; with a planted fault, the property that it names does not.

mod named;
mod planted;

use std::time::Instant;

use crate::search::{self, Explored};
use crate::story;
use crate::world::{Engine, Plant};
use named::worlds;

/// States of each world that `make test` looks at; `make model` sets more.
const STATES: usize = 4_000;

fn most_states() -> usize {
    std::env::var("MODEL_STATES").ok().map_or(STATES, |text| text.parse().expect("a number"))
}

#[test]
fn every_property_holds_in_every_world() {
    let engine = Engine::new(Plant::default());
    let mut stories = Vec::new();
    for named in worlds() {
        let begun = Instant::now();
        let Explored { states, depth, is_finished, found } = search::explore(&engine, &named.world, most_states());
        let end = if is_finished { "finished" } else { "not finished" };
        println!("{}: {end}, {states} states, depth {depth}, {:.1?}", named.name, begun.elapsed());
        engine.forget();
        if let Some((_, trace)) = found {
            let (story, _) = story::tell(&engine, &named.world, &trace);
            stories.push(format!("{}:\n{story}", named.name));
        }
    }
    assert!(stories.is_empty(), "{}", stories.join("\n"));
}
