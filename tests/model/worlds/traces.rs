//! Each way to a fault that the model has found in what ships, kept: what ships now breaks nothing on it, nor in the calm end
//! behind it, and with the fault planted back it breaks what it broke.

use super::named;
use super::planted::{PLANTED, Planted};
use crate::properties;
use crate::search::Calm;
use crate::world::Action::{self, Answer, Begin, Break, Deafen, Hear, Listen, Pass, Release, Run, RunLate};
use crate::world::{Engine, Plant};

struct Trace {
    /// The fault, as the table of those that are planted names it, which knows its world and its property, too.
    planted: &'static str,
    way: &'static [Action],
}

#[rustfmt::skip]
const TRACES: &[Trace] = &[
    Trace {
        planted: "the queues of a sidecar put a look off that a message brought forward",
        way: &[
            Begin(0), Run(0), Answer(0), Begin(1), Run(1), Answer(1), Run(1), Answer(1), Begin(2), Run(1), Answer(1), Run(1),
            Answer(1), Pass, Pass, Pass, Pass, Run(1), Hear(1), Run(1), Hear(1), Answer(1), Answer(1), Hear(0), Pass, Pass,
            Pass, Pass,
        ],
    },
    Trace {
        planted: "a place that a waiter took again, behind an answer that was lost, stays",
        way: &[
            Begin(0), Begin(2), Run(1), Answer(1), Begin(1), Run(1), Run(0), Answer(0), Run(0), Answer(0), Answer(1), Pass,
            Pass, Pass, Release(2), Run(1), Run(0), Answer(0), Break(0), Hear(0), Run(0), Answer(0), Release(0), Run(0),
            RunLate(0), Answer(0), Answer(1), Hear(0), Hear(1), Pass,
        ],
    },
    Trace {
        planted: "the last of an attempt's sendings ends a lease that another attempt was told of",
        way: &[
            Begin(0), Begin(2), Begin(1), Run(0), Run(1), Run(1), Answer(0), Answer(1), Answer(1), Hear(0), Run(0), Answer(0),
            Run(0), Answer(0), Hear(1), Run(1), Answer(1), Pass, Run(1), Answer(1), Run(1),
        ],
    },
    Trace {
        planted: "who comes back to a queue that was lost, and to which others have come since, does not say so",
        way: &[
            Deafen(0), Listen(0), Pass, Run(0), Answer(0), Run(0), Answer(0), Release(0), Run(0), Answer(0), Hear(0), Run(0),
            Answer(0),
        ],
    },
];

fn planted(trace: &Trace) -> &'static Planted {
    PLANTED.iter().find(|planted| planted.name == trace.planted).unwrap_or_else(|| panic!("no {}", trace.planted))
}

#[test]
fn what_ships_breaks_nothing_on_the_ways_to_faults_that_were_found() {
    let engine = Engine::new(Plant::default());
    for trace in TRACES {
        let mut world = named::of_name(planted(trace).world).begin(&engine);
        // Behind the fault the rest of the way may be another one.
        for action in trace.way {
            if world.actions(&engine).contains(action) {
                world.apply(&engine, *action);
                assert_eq!(properties::broken(&world, &engine), None, "{}, behind {action:?}", trace.planted);
            }
        }
        assert!(Calm::default().end(&engine, &world).is_none(), "{}, at its calm end", trace.planted);
    }
}

#[test]
fn each_fault_that_was_found_is_found_on_its_way_where_it_is_planted_back() {
    for trace in TRACES {
        let Planted { name, plant, world, property } = planted(trace);
        let engine = Engine::new(*plant);
        let mut world = named::of_name(world).begin(&engine);
        for action in trace.way {
            // The time may stop more often on the way than it did when it was found.
            while !world.actions(&engine).contains(action) && world.actions(&engine).contains(&Pass) {
                world.apply(&engine, Pass);
            }
            assert_eq!(properties::broken(&world, &engine), None, "{name}, before {action:?}");
            assert!(world.actions(&engine).contains(action), "{name}: {action:?} cannot happen");
            world.apply(&engine, *action);
        }
        let broken = properties::broken(&world, &engine);
        let broken = broken.or_else(|| Some(Calm::default().end(&engine, &world)?.0));
        assert_eq!(broken.map(|violation| violation.property), Some(*property), "{name}");
    }
}
