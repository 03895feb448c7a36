//! Worlds of leases that connections hold.

use std::slice;

use lockside::lock::{Mode, Terms};

use super::named::{HOLDER, Named, SHY, WAITER, WAITS_TO_SHARE, world};
use crate::world::{Troubles, Wish};

const NONE: Troubles = Troubles::NONE;
const BREAK: Troubles = Troubles { breaks: 1, ..NONE };
const DEAF: Troubles = Troubles { deafness: 1, ..NONE };
const FREEZE: Troubles = Troubles { freezes: 1, ..NONE };
const FORCE: Troubles = Troubles { forces: 1, ..NONE };
const DRAIN: Troubles = Troubles { drains: 1, ..NONE };

type Clients<'a> = &'a [(usize, &'static str, &'a [Wish])];

/// A hold that is renewed once, and then closed.
pub const HOLD: Wish = Wish { is_hold: true, renewals: 1, may_release: false, ..HOLDER };
/// One that its client may close before.
pub const SHY_HOLD: Wish = Wish { may_hang_up: true, ..HOLD };
/// An attempt to hold that is repeated by its name.
const REPEATED: Wish = Wish { name: Some("c"), ..SHY_HOLD };

pub fn worlds() -> Vec<Named> {
    let two: Clients = &[(0, "x", &[SHY_HOLD]), (1, "y", &[WAITER])];
    let kept: Clients = &[(0, "x", &[HOLD]), (1, "y", &[WAITER])];
    let repeated: Clients = &[(0, "x", slice::from_ref(&REPEATED)), (1, "x", slice::from_ref(&REPEATED))];
    let waited_for: Clients = &[repeated[0], repeated[1], (2, "y", &[WAITER])];
    let extends = Wish { extends: true, ttl_ms: 3_000, ..HOLDER };
    let reentrant: Clients = &[repeated[0], repeated[1], (1, "x", &[extends])];
    let released = Wish { may_release: true, ..HOLD };
    let capped = Wish { terms: Terms { max_hold_ms: Some(1_200), ..Terms::NONE }, renewals: 9, ..HOLD };
    let delayed = Wish { terms: Terms { delay_ms: 300, ..Terms::NONE }, ..SHY_HOLD };
    let shared = Wish { mode: Mode::Shared { limit: None }, ..SHY_HOLD };
    let waits = Wish { is_hold: true, renewals: 1, may_release: false, ..SHY };
    vec![
        world("a hold and a waiter", two, NONE, 0),
        world("a hold and a waiter, a connection breaks", two, BREAK, 0),
        world("a hold and a waiter, messages are lost", two, DEAF, 0),
        world("a hold and a waiter, a sidecar freezes", kept, FREEZE, 0),
        world("a hold and a waiter, a sidecar crashes", kept, Troubles { crashes: 1, ..NONE }, 0),
        world("a hold and a waiter, the key is force-released", kept, FORCE, 0),
        world("a hold and a waiter, a sidecar is stopped", two, DRAIN, 0),
        world("a hold and a waiter, Redis fails over", kept, Troubles { failovers: 1, ..NONE }, 0),
        world("a hold and a waiter, Redis has no memory", kept, Troubles { fills: 1, ..NONE }, 0),
        world("a hold and a waiter, too few replicas", kept, Troubles { shortages: 1, ..NONE }, 0),
        world("a hold and a waiter, what they send is refused", kept, Troubles { refusals: 2, ..NONE }, 0),
        world(
            "a hold and a waiter, a sidecar freezes and a connection breaks",
            kept,
            Troubles { breaks: 1, ..FREEZE },
            0,
        ),
        world(
            "a hold and a waiter, a sidecar is stopped and messages are lost",
            two,
            Troubles { deafness: 1, ..DRAIN },
            0,
        ),
        world("a repeated hold", repeated, NONE, 400),
        world("a repeated hold, a connection breaks", repeated, BREAK, 400),
        world("a repeated hold, messages are lost", repeated, DEAF, 400),
        world("a repeated hold, and a waiter", waited_for, NONE, 0),
        world("a repeated hold, and a re-entrant acquire of its owner", reentrant, NONE, 400),
        world("a waiter that holds, and hangs up", &[(0, "x", &[HOLDER]), (1, "y", slice::from_ref(&waits))], BREAK, 0),
        world(
            "a hold that is released by its token, messages are lost",
            &[(0, "x", &[released]), (1, "y", &[WAITER])],
            DEAF,
            0,
        ),
        world("a hold with a maximum, and a waiter", &[(0, "x", &[capped]), (1, "y", &[WAITER])], NONE, 0),
        world("a hold with a delay, and a waiter", &[(0, "x", &[delayed]), (1, "y", &[WAITER])], NONE, 0),
        world(
            "a shared hold, one alone who waits, and one who waits to share",
            &[(0, "x", slice::from_ref(&shared)), (1, "y", &[WAITER]), (1, "z", &[WAITS_TO_SHARE])],
            NONE,
            0,
        ),
        world(
            "shared holds, the key is force-released",
            &[(0, "x", slice::from_ref(&shared)), (1, "y", slice::from_ref(&shared))],
            FORCE,
            400,
        ),
    ]
}

/// For walks at random: each trouble that there is, and a bit of everything that a client can want.
pub fn large() -> Vec<Named> {
    const ALL: Troubles = Troubles {
        breaks: 1,
        stalls: 1,
        deafness: 1,
        losses: 1,
        failovers: 1,
        setbacks: 1,
        fills: 1,
        refusals: 1,
        shortages: 1,
        forces: 1,
        crashes: 1,
        freezes: 1,
        drains: 1,
        batches: 2,
    };
    let capped = Wish { terms: Terms { max_hold_ms: Some(1_200), ..Terms::NONE }, renewals: 3, ..SHY_HOLD };
    let rests = Wish { terms: Terms { delay_ms: 200, min_hold_ms: 900, max_hold_ms: None }, ..SHY };
    let limited = Wish { mode: Mode::Shared { limit: Some(2) }, ..SHY };
    let extends = Wish { extends: true, ttl_ms: 2_000, ..SHY };
    vec![world(
        "clients that hold, share, wait, repeat and hang up, in every trouble",
        &[
            (0, "x", &[REPEATED, limited.clone(), Wish { name: Some("c"), ..extends.clone() }]),
            (1, "x", &[REPEATED, extends, Wish { name: Some("c"), ..SHY }]),
            (1, "y", &[Wish { name: Some("d"), ..capped }, rests, WAITS_TO_SHARE]),
            (2, "z", &[WAITER, SHY_HOLD, limited]),
        ],
        ALL,
        6_000,
    )]
}
