//! Each way to a fault that the model has found in what ships, kept: what ships now breaks nothing on it, nor in the calm end
//! behind it, and with the fault planted back it breaks what it broke.

use super::named;
use super::planted::{Planted, planted_faults};
use crate::properties;
use crate::search::Calm;
use crate::world::Action::{
    self, Answer, Begin, Break, Deafen, FailOver, HangUp, Hear, Listen, Lose, Pass, Release, Resume, Run, RunLate,
    Stall, Thaw,
};
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
    Trace {
        planted: "one of two waiters of a sidecar finds the queue lost, and the other does not come back",
        way: &[
            Hear(0), Hear(1), Answer(2), Lose, Run(1), Answer(1), Run(1), Hear(0), Run(0), Answer(0), Answer(1), Hear(1),
            Hear(2), Pass, Run(0), Answer(0), Hear(0), Run(0), Answer(0),
        ],
    },
    Trace {
        planted: "J.18: a hold's own renewal shortens",
        way: &[
            Begin(0), Run(0), Answer(0), Begin(1), Run(1), Answer(1), Pass, Run(0),
        ],
    },
    Trace {
        planted: "J.19: a take shortens",
        way: &[
            Begin(0), Run(0), Answer(0), Release(0), Begin(1), Run(1), Run(0), Answer(0), Answer(1), Run(1), Answer(1),
            Hear(1), Begin(2), Run(0), Answer(0), Run(1),
        ],
    },
    Trace {
        planted: "J.20: asked again under the old name, and an undo without a deadline",
        way: &[
            Break(1), Run(1), Run(1), Answer(1), Answer(1), RunLate(0), Thaw(0), HangUp(2), Answer(0), Run(0),
        ],
    },
    Trace {
        planted: "J.21: a repetition is told of an offer and does not take it",
        way: &[
            Begin(0), Run(0), Answer(0), Release(0), Begin(1), Run(1), Run(0), Answer(0), Answer(1), Run(1), Answer(1),
            Hear(1), Begin(2), Run(0), Answer(0), Run(1),
        ],
    },
    Trace {
        planted: "J.21: a repetition is told of an offer, and its mark stays",
        way: &[
            Begin(0), Run(0), Answer(0), Release(0), Begin(1), Run(1), Run(0), Answer(0), Answer(1), Run(1), Begin(2),
            Run(0), Answer(0),
        ],
    },
    Trace {
        planted: "J.22a: a join is run after its waiter has left",
        way: &[
            Begin(0), Run(0), Answer(0), Begin(1), Run(1), Answer(1), Break(1), Pass, Pass, Run(1), Answer(1), RunLate(0),
        ],
    },
    Trace {
        planted: "J.22b: leaving is tried once",
        way: &[
            Begin(0), Run(0), Answer(0), Begin(1), Run(1), Answer(1), Run(1), Answer(1), HangUp(1), Break(1), Pass, Pass,
            RunLate(0),
        ],
    },
    Trace {
        planted: "J.22c: an offer to a waiter that a replica brought back is not declined",
        way: &[
            Begin(0), Run(0), Begin(1), Run(1), Answer(1), Run(1), Answer(1), HangUp(1), Run(1), Answer(1), FailOver(1),
            Listen(1), Pass, Run(0), Answer(0), Hear(1),
        ],
    },
    Trace {
        planted: "J.23: what a re-entrant acquire was told whose caller has gone is not undone",
        way: &[
            Begin(0), Run(0), Break(0), Begin(1), Run(1), HangUp(1), Answer(1), Pass, Run(0), Answer(0),
        ],
    },
    Trace {
        planted: "J.24: what a repetition was told too late is not undone",
        way: &[
            Begin(0), Run(0), Answer(0), Begin(1), Run(1), Stall(1), Pass, Resume(1), Answer(1),
        ],
    },
    Trace {
        planted: "J.25: waiters are served before all have come back to a queue that was lost",
        way: &[
            Pass, Pass, Run(0), Answer(0), Run(0), Answer(0), Hear(0), Begin(0), Run(0), Answer(0), Hear(0), Run(0),
            Answer(0),
        ],
    },
];

fn planted(trace: &Trace) -> &'static Planted {
    planted_faults().find(|planted| planted.name == trace.planted).unwrap_or_else(|| panic!("no {}", trace.planted))
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
            // Another one may be broken before: by a mark that stays, too.
            assert_eq!(properties::broken_of(&world, &engine, property), None, "{name}, before {action:?}");
            assert!(world.actions(&engine).contains(action), "{name}: {action:?} cannot happen");
            world.apply(&engine, *action);
        }
        let broken = properties::broken_of(&world, &engine, property);
        let broken = broken.or_else(|| Some(Calm::default().end(&engine, &world)?.0));
        assert_eq!(broken.map(|violation| violation.property), Some(*property), "{name}");
    }
}
