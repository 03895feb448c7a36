//! Faults that are planted, and that are to be met on a certain way: a shorter one to the same property is another fault's.

use super::table::{Planted, code, lua};
use crate::properties::{FREE, ORDER, PLACES, PROMISES, TRUE, UNTOLD};
use crate::world::{Action, Fault, Plant};

pub struct Through {
    pub planted: Planted,
    /// What must have happened.
    pub through: fn(Action) -> bool,
}

const TAKES_AN_OFFER: &str = "a repetition that takes the offer to its other sending, which asks again";

const LAST_COME_FIRST_SERVED: Plant = lua(&[(
    "known or redis.call('ZRANGEBYSCORE', queue, '(0', '+inf', 'LIMIT', '0', '1')[1]",
    "redis.call('ZRANGE', queue, '+inf', '(0', 'BYSCORE', 'REV', 'LIMIT', '0', '1')[1]",
)]);

pub const PLANTED_THROUGH: &[Through] = &[
    Through {
        planted: Planted {
            name: "the last to come is the first to be served, where a connection broke",
            plant: LAST_COME_FIRST_SERVED,
            world: "two waiters in the queue, a connection breaks",
            property: ORDER,
        },
        through: |action| matches!(action, Action::Break(_)),
    },
    Through {
        planted: Planted {
            name: "the last to come is the first to be served, where Redis refused something",
            plant: LAST_COME_FIRST_SERVED,
            world: "two waiters in the queue, what they send is refused",
            property: ORDER,
        },
        through: |action| matches!(action, Action::Refuse(_)),
    },
    Through {
        planted: Planted {
            name: "the last to come is the first to be served, where Redis failed over",
            plant: LAST_COME_FIRST_SERVED,
            world: "two waiters in the queue, Redis fails over",
            property: ORDER,
        },
        through: |action| matches!(action, Action::FailOver(_)),
    },
    Through {
        planted: Planted {
            name: "an offer to a sidecar whose commands are held up lasts for three seconds",
            plant: lua(&[("local OFFER_MS = 1500", "local OFFER_MS = 3000")]),
            world: "two who wait at two sidecars, a connection stalls",
            property: FREE,
        },
        through: |action| matches!(action, Action::Stall(_)),
    },
    Through {
        planted: Planted {
            name: "a key that is released is offered to none, long after messages were lost",
            plant: lua(&[("pass_on(KEYS, ARGV, token_of(lease), 'released', how == 'resigns', is_shared_still)", "")]),
            world: "a long lease and a patient waiter, messages are lost",
            property: FREE,
        },
        through: |action| matches!(action, Action::Deafen(_)),
    },
    Through {
        planted: Planted {
            name: "a renewal is answered to last for longer than it does, where Redis failed over",
            plant: lua(&[(
                "return {'renewed', text, valid_until, left_ms}",
                "return {'renewed', text, valid_until + 500, left_ms + 500}",
            )]),
            world: "a renewal, too few replicas, and Redis fails over",
            property: PROMISES,
        },
        through: |action| matches!(action, Action::FailOver(_)),
    },
    Through {
        planted: Planted {
            name: "what a caller is told of who has gone is not undone, where the clock was set back",
            plant: code(&[Fault::ForgetsReceipts]),
            world: "clients that hang up, a connection breaks and the clock is set back",
            property: UNTOLD,
        },
        through: |action| matches!(action, Action::SetBack),
    },
    Through {
        planted: Planted {
            name: "what a repetition is told of who has gone is not undone, where the clock was set back",
            plant: code(&[Fault::ForgetsReceipts]),
            world: "a repeated attempt whose callers hang up, a connection breaks and the clock is set back",
            property: TRUE,
        },
        through: |action| matches!(action, Action::SetBack),
    },
    Through {
        planted: Planted {
            name: "a waiter is not told of its turn, long after its sidecar heard no messages",
            plant: code(&[Fault::IgnoresTurns]),
            world: "a long lease and a patient waiter, messages are lost",
            property: PLACES,
        },
        through: |action| matches!(action, Action::Deafen(1)),
    },
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
