//! Faults that are planted, and that are to be met on a certain way: a shorter one to the same property is another fault's.

use super::table::{Planted, code};
use crate::properties::{PROMISES, TRUE, UNTOLD};
use crate::world::{Action, Fault, Plant};

pub struct Through {
    pub planted: Planted,
    /// What must have happened.
    pub through: fn(Action) -> bool,
}

const TAKES_AN_OFFER: &str = "a repetition that takes the offer to its other sending, which asks again";

pub const PLANTED_THROUGH: &[Through] = &[
    Through {
        planted: Planted {
            name: "J.20: asked again under the old name, and an undo without a deadline",
            plant: code(&[Fault::KeepsNames, Fault::UndoesWithoutDeadline]),
            world: TAKES_AN_OFFER,
            property: PROMISES,
        },
        through: |action| matches!(action, Action::RunLate(_)),
    },
    Through {
        planted: Planted {
            name: "asked again under the old name, and an undo that does not look at its deadline",
            plant: Plant {
                lua: &[(
                    "local refusal = late(not_after)\nif refusal then\n  return refusal\nend\nlocal lease = look(lock)\n\
                     local share, ends\nif type(lease) == 'table' then\n  if is_shared(lock) then",
                    "local lease = look(lock)\nlocal share, ends\nif type(lease) == 'table' then\n  if is_shared(lock) then",
                )],
                code: &[Fault::KeepsNames],
            },
            world: TAKES_AN_OFFER,
            property: PROMISES,
        },
        through: |action| matches!(action, Action::RunLate(_)),
    },
    Through {
        planted: Planted {
            name: "J.23: what a re-entrant acquire was told whose caller has gone is not undone",
            plant: code(&[Fault::ForgetsReceiptsOfRenewals]),
            world: "a re-entrant acquire whose caller hangs up, a connection breaks",
            property: UNTOLD,
        },
        through: |action| matches!(action, Action::Break(_)),
    },
    Through {
        planted: Planted {
            name: "J.24: what a repetition was told too late is not undone",
            plant: code(&[Fault::KeepsRepetitionsTooLate]),
            world: "a repeated attempt, a connection stalls",
            property: TRUE,
        },
        through: |action| matches!(action, Action::Stall(_)),
    },
];
