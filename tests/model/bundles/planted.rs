//! Faults that are planted in what grants and renews bundles.

use super::properties::WHOLE;
use super::{tell, worlds};
use crate::properties::{ENDS, EXCLUSIVE, FREE, ORDER, PLACES, PROMISES, TOKENS, UNTOLD};
use crate::search;
use crate::world::{Engine, Fault, Plant};

struct Planted {
    name: &'static str,
    plant: Plant,
    world: &'static str,
    property: &'static str,
}

const fn lua(lua: &'static [(&'static str, &'static str)]) -> Plant {
    Plant { lua, code: &[] }
}

const WAITED_FOR: &str = "a bundle, and one who waits for one of its keys";

const PLANTED: &[Planted] = &[
    Planted {
        name: "what one key refuses leaves the others granted",
        plant: lua(&[
            ("if not rows[n] and (pass == 2 or not looks_free(leg.keys, leg.args)) then", "if not rows[n] then"),
            ("          undo_leg(legs[told].keys, legs[told].args)\n", ""),
        ]),
        world: "a bundle, and each of its keys alone",
        property: WHOLE,
    },
    Planted {
        name: "each lease is renewed that is there yet",
        plant: lua(&[("is_refused = is_refused or rows[n][1] ~= 'renewed'", "is_refused = false")]),
        world: "a bundle that is renewed late, and one of its keys alone",
        property: WHOLE,
    },
    Planted {
        name: "the first leg alone is undone",
        plant: Plant { lua: &[], code: &[Fault::UndoesOneLeg] },
        world: "two bundles of the same keys, a connection breaks",
        property: UNTOLD,
    },
    Planted {
        name: "a bundle is granted what others wait for",
        plant: lua(&[
            ("if redis.call('EXISTS', lock, queue) == 0 then", "if redis.call('EXISTS', lock) == 0 then"),
            ("local handed, left_ms = hand_over(KEYS, ARGV, nil, nil, nil, is_unwatched)", "local handed, left_ms"),
        ]),
        world: WAITED_FOR,
        property: ORDER,
    },
    Planted {
        name: "a leg is granted to be shared beside one who is alone",
        plant: lua(&[(
            "return shared_row(lock, queue, nil, share and not is_replay and 'own' or 'mode')",
            "lease = nil",
        )]),
        world: "bundles that share a key",
        property: WHOLE,
    },
    Planted {
        name: "a leg is granted beyond its limit",
        plant: lua(&[("count_shares(lock) >= limit then", "false then")]),
        world: "bundles that share a key, and each as the only one",
        property: EXCLUSIVE,
    },
    Planted {
        name: "who waits for a key of a bundle leaves, and its place stays",
        plant: lua(&[("local left = redis.pcall('ZREM', queue, entry)", "local left = 0")]),
        world: "a bundle, and one who waits for one of its keys, a connection breaks",
        property: PLACES,
    },
    Planted {
        name: "a leg that is released is offered to none",
        plant: lua(&[("pass_on(KEYS, ARGV, token_of(lease), 'released', how == 'resigns', is_shared_still)", "")]),
        world: WAITED_FOR,
        property: FREE,
    },
    Planted {
        name: "the queue of a leg has no end",
        plant: lua(&[("redis.call('PEXPIRE', queue, whole(wait_ms + 60000), is_first and 'NX' or 'GT')", "")]),
        world: WAITED_FOR,
        property: ENDS,
    },
    Planted {
        name: "the last token of a leg is granted again",
        plant: lua(&[("ZMSCORE', tokens, LAST)[1] / 64) + 1", "ZMSCORE', tokens, LAST)[1] / 64)")]),
        world: "two bundles of the same keys",
        property: TOKENS,
    },
    Planted {
        name: "the second leg is granted for a shorter time",
        plant: lua(&[("  args[11] = not_after\n", "  args[11] = not_after\n  args[8] = n > 1 and '500' or args[8]\n")]),
        world: "two bundles of the same keys",
        property: PROMISES,
    },
];

#[test]
fn each_planted_fault_of_bundles_is_found_by_the_property_that_it_names() {
    let mut missed = Vec::new();
    for Planted { name, plant, world, property } in PLANTED {
        let (engine, world) = (Engine::new(*plant), worlds::of_name(world));
        let explored = search::explore(&engine, &world, 100_000);
        match explored.found {
            Some((violation, trace)) if violation.property == *property => {
                println!("{name}: {} states, {} steps", explored.states, trace.len());
                let unplanted = search::explore(&Engine::new(Plant::default()), &world, explored.states);
                if let Some((violation, _)) = unplanted.found {
                    missed.push(format!("{name}: {} is broken without it, too", violation.property));
                }
            }
            Some((violation, trace)) => {
                missed.push(format!("{name}: found by {}:\n{}", violation.property, tell(&engine, &world, &trace)));
            }
            None => missed.push(format!("{name}: not found in {} states", explored.states)),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
