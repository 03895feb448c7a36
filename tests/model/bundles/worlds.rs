//! The worlds of bundles.

use std::time::Instant;

use lockside::lock::Mode;

use super::party::{Leg, Wants};
use super::{Bundles, tell};
use crate::properties::Violation;
use crate::search::{self, Explored};
use crate::world::{Engine, Plant};

/// States of each that `make test` looks at; `make model` sets more.
const STATES: usize = 1_500;

const fn alone(key: &'static str) -> Leg {
    Leg { key, mode: Mode::Exclusive }
}

const fn shared(key: &'static str, limit: Option<u16>) -> Leg {
    Leg { key, mode: Mode::Shared { limit } }
}

const PLAIN: Wants = Wants { owner: "", legs: &[], ttl_ms: 1_000, attempts: 1, renewals: 0, waits: false };

static CROSSED: [Wants; 2] = [
    Wants { owner: "x", legs: &[alone("k"), alone("l")], attempts: 2, renewals: 1, ..PLAIN },
    Wants { owner: "y", legs: &[alone("l"), alone("k")], attempts: 2, ..PLAIN },
];
static BESIDE: [Wants; 3] = [
    Wants { owner: "x", legs: &[alone("k"), alone("l")], renewals: 1, ..PLAIN },
    Wants { owner: "y", legs: &[alone("l")], attempts: 2, ttl_ms: 700, ..PLAIN },
    Wants { owner: "z", legs: &[alone("k")], ttl_ms: 700, ..PLAIN },
];
static LATE: [Wants; 2] = [
    Wants { owner: "x", legs: &[alone("k"), alone("l")], renewals: 2, ..PLAIN },
    Wants { owner: "y", legs: &[alone("l")], ttl_ms: 700, ..PLAIN },
];
static SHARED: [Wants; 3] = [
    Wants { owner: "x", legs: &[shared("k", None), alone("l")], attempts: 2, ..PLAIN },
    Wants { owner: "y", legs: &[shared("k", Some(2)), alone("m")], renewals: 1, ..PLAIN },
    Wants { owner: "z", legs: &[alone("k")], ..PLAIN },
];
static LIMITED: [Wants; 3] = [
    Wants { owner: "x", legs: &[shared("k", Some(1)), alone("l")], attempts: 2, ..PLAIN },
    Wants { owner: "y", legs: &[shared("k", Some(1)), alone("m")], renewals: 1, ..PLAIN },
    Wants { owner: "z", legs: &[shared("k", Some(2))], ttl_ms: 700, ..PLAIN },
];
static WAITED_FOR: [Wants; 3] = [
    Wants { owner: "x", legs: &[alone("l")], ..PLAIN },
    Wants { owner: "y-0", legs: &[alone("l")], waits: true, ..PLAIN },
    Wants { owner: "z", legs: &[alone("k"), alone("l")], attempts: 2, ..PLAIN },
];

pub fn worlds() -> Vec<(&'static str, Bundles)> {
    vec![
        ("two bundles of the same keys", Bundles::new(&CROSSED, 0, 0)),
        ("two bundles of the same keys, a connection breaks", Bundles::new(&CROSSED, 1, 0)),
        ("a bundle, and each of its keys alone", Bundles::new(&BESIDE, 0, 0)),
        ("a bundle, and each of its keys alone, a connection breaks", Bundles::new(&BESIDE, 1, 0)),
        ("a bundle that is renewed late, and one of its keys alone", Bundles::new(&LATE, 1, 0)),
        ("bundles that share a key", Bundles::new(&SHARED, 0, 0)),
        ("bundles that share a key, a connection breaks", Bundles::new(&SHARED, 1, 0)),
        ("a bundle, and one who waits for one of its keys", Bundles::new(&WAITED_FOR, 0, 0)),
        ("a bundle, and one who waits for one of its keys, a connection breaks", Bundles::new(&WAITED_FOR, 1, 0)),
        ("a bundle, and one who waits for one of its keys, a sidecar crashes", Bundles::new(&WAITED_FOR, 0, 1)),
        ("two bundles of the same keys, a sidecar crashes", Bundles::new(&CROSSED, 0, 1)),
        ("bundles that share a key, and each as the only one", Bundles::new(&LIMITED, 0, 0)),
    ]
}

pub fn of_name(name: &str) -> Bundles {
    worlds().into_iter().find(|world| world.0 == name).unwrap_or_else(|| panic!("no world {name}")).1
}

#[test]
fn every_property_holds_of_bundles() {
    let engine = Engine::new(Plant::default());
    let most = std::env::var("MODEL_STATES").ok().map_or(STATES, |text| text.parse().expect("a number"));
    for (name, world) in worlds() {
        let begun = Instant::now();
        let Explored { states, depth, is_finished, found } = search::explore_to_rest(&engine, &world, most);
        let end = if is_finished { "finished" } else { "not finished" };
        println!("{name}: {end}, {states} states, depth {depth}, {:.1?}", begun.elapsed());
        engine.forget();
        if let Some((Violation { property, how }, trace)) = found {
            panic!("{name}: {property}: {how}\n{}", tell(&engine, &world, &trace));
        }
    }
}
