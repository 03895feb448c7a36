//! Worlds with troubles of several kinds, with attempts that begin late, with further terms, and with time that stops at each
//! millisecond around an end.

use super::named::{HOLDER, Named, REPEATS, SHARES, SHY, WAITER, WAITS_TO_SHARE, world};
use super::troubled::{granted, queued};
use crate::world::{Action, Troubles, Wish};
use lockside::lock::{Mode, Terms};
use std::slice;

const NONE: Troubles = Troubles::NONE;
const BREAK: Troubles = Troubles { breaks: 1, ..NONE };

type Clients<'a> = &'a [(usize, &'static str, &'a [Wish])];

const EXTENDS: Wish = Wish { extends: true, ttl_ms: 3_000, ..Wish::PLAIN };
const ONE_OF_TWO: Wish = Wish { mode: Mode::Shared { limit: Some(2) }, ttl_ms: 700, ..Wish::WAITS };
const RENEWS: Wish = Wish { renewals: 1, ..HOLDER };

pub fn worlds() -> Vec<Named> {
    let mut worlds = attempts();
    worlds.extend(terms());
    worlds.extend(mixed());
    worlds.extend(exact());
    worlds
}

/// Of attempts that are repeated, and of owners that ask again.
fn attempts() -> Vec<Named> {
    let long = Wish { ttl_ms: 2_500, ..Wish::PLAIN };
    let waits = Wish { name: Some("c"), wait_ms: Some(4_000), may_release: false, ..long.clone() };
    let repeats = Wish { name: Some("c"), may_hang_up: true, may_release: false, ..long };
    let offered: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[waits]), (0, "y", &[repeats])];
    // The waiter's sidecar does not hear of the offer; the repetition takes it, and its sidecar freezes before it is answered.
    let taken = [
        [Action::Begin(0), Action::Run(0), Action::Answer(0)].as_slice(),
        &[Action::Begin(1), Action::Run(1), Action::Answer(1), Action::Run(1), Action::Answer(1), Action::Deafen(1)],
        &[Action::Release(0), Action::Run(0), Action::Answer(0), Action::Begin(2), Action::Run(0), Action::Freeze(0)],
        &[Action::Listen(1), Action::Pass, Action::Run(1), Action::Answer(1)],
    ]
    .concat();
    let troubles = Troubles { breaks: 1, deafness: 1, freezes: 1, ..NONE };
    let shy = Wish { may_hang_up: true, ..EXTENDS };
    let repeats_shy = Wish { may_hang_up: true, ..REPEATS };
    vec![
        world("a repetition that takes the offer to its other sending, which asks again", offered, troubles, 0)
            .after(&taken),
        world(
            "a re-entrant acquire whose caller hangs up, a connection breaks",
            &[(0, "x", &[HOLDER]), (1, "x", &[shy])],
            BREAK,
            0,
        ),
        world(
            "a repeated attempt, a connection stalls",
            &[(0, "x", &[REPEATS]), (1, "x", slice::from_ref(&repeats_shy))],
            Troubles { stalls: 1, ..NONE },
            0,
        ),
        world(
            "a repeated attempt, a sidecar crashes",
            &[(0, "x", &[REPEATS]), (1, "x", &[repeats_shy]), (1, "y", &[WAITER])],
            Troubles { crashes: 1, ..NONE },
            0,
        ),
    ]
}

/// Of leases whose terms bound their renewals, and of releases that leave a rest.
fn terms() -> Vec<Named> {
    let most = Terms { max_hold_ms: Some(1_200), ..Terms::NONE };
    let capped = Wish { terms: most, renewals: 2, ..HOLDER };
    let capped_share = Wish { terms: most, renewals: 2, ..SHARES };
    let late =
        Wish { terms: Terms { delay_ms: 200, min_hold_ms: 900, max_hold_ms: Some(1_200) }, renewals: 1, ..HOLDER };
    let rests = Wish { rest_ms: Some(400), ..HOLDER };
    let share_rests = Wish { rest_ms: Some(400), ..SHARES };
    let again = Wish { name: Some("c"), rest_ms: Some(400), ..SHARES };
    vec![
        world(
            "a lease that is renewed up to its longest time, and a waiter",
            &[(0, "x", &[capped]), (1, "y", &[WAITER])],
            NONE,
            1_100,
        )
        .exact(),
        world(
            "a share that is renewed up to its longest time, and one alone who waits",
            &[(0, "x", &[capped_share]), (1, "y", &[WAITER])],
            NONE,
            1_100,
        )
        .exact(),
        world(
            "a lease with all terms that is renewed, a connection stalls",
            &[(0, "x", &[late]), (1, "y", &[WAITER])],
            Troubles { stalls: 1, ..NONE },
            0,
        ),
        world("a release that leaves a rest, and a waiter", &[(0, "x", &[rests]), (1, "y", &[SHY])], NONE, 1_100),
        world(
            "shares of which releases leave a rest, one of them repeated, and one alone who waits",
            &[(0, "x", &[share_rests]), (1, "y", &[again.clone(), again]), (1, "z", &[WAITER])],
            NONE,
            0,
        ),
    ]
}

/// Of troubles of several kinds.
fn mixed() -> Vec<Named> {
    let two: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER])];
    let three: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (0, "z", &[WAITER])];
    let shy: Clients = &[(0, "x", &[Wish { may_hang_up: true, ..HOLDER }]), (1, "y", &[SHY])];
    let apart: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (2, "z", &[WAITS_TO_SHARE])];
    let renews: Clients = &[(0, "x", &[RENEWS]), (1, "y", &[HOLDER, HOLDER])];
    let repeats: Clients = &[(0, "x", &[REPEATS]), (1, "x", &[Wish { wait_ms: Some(4_000), ..REPEATS }])];
    let shares: Clients = &[(0, "x", &[SHARES]), (1, "y", &[WAITER]), (0, "z", &[ONE_OF_TWO])];
    let repeats_shy = Wish { may_hang_up: true, ..REPEATS };
    let hung_up: Clients = &[(0, "x", slice::from_ref(&repeats_shy)), (1, "x", slice::from_ref(&repeats_shy))];
    let exclusive: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (2, "z", &[WAITER])];
    let in_queues = [granted(0, 0).as_slice(), &queued(1, 1), &queued(2, 2)].concat();
    let (long, long_wait) = (Wish { ttl_ms: 6_000, ..HOLDER }, Wish { wait_ms: Some(8_000), ..WAITER });
    let patient: Clients = &[(0, "x", &[long]), (1, "y", &[long_wait])];
    let in_queue = [granted(0, 0).as_slice(), &queued(1, 1), &queued(2, 0)].concat();
    vec![
        world(
            "clients that hang up, a connection breaks and Redis fails over",
            shy,
            Troubles { breaks: 1, failovers: 1, ..NONE },
            1_100,
        ),
        world(
            "a holder and two waiters, a sidecar crashes and data is lost",
            apart,
            Troubles { crashes: 1, losses: 1, ..NONE },
            1_100,
        )
        .after(&in_queues),
        world(
            "a holder and a waiter, messages are lost and the clock is set back",
            two,
            Troubles { deafness: 1, setbacks: 1, ..NONE },
            1_100,
        ),
        world(
            "a renewal, too few replicas, and Redis fails over",
            renews,
            Troubles { shortages: 1, failovers: 1, ..NONE },
            1_100,
        ),
        world(
            "a holder and two waiters, a sidecar freezes and the key is force-released",
            apart,
            Troubles { freezes: 1, forces: 1, ..NONE },
            1_100,
        )
        .after(&in_queues),
        world(
            "a repeated attempt that waits, a connection breaks, a script is refused, replicas are few, and a sidecar is stopped",
            repeats,
            Troubles { breaks: 1, refusals: 1, shortages: 1, drains: 1, ..NONE },
            1_100,
        ),
        world(
            "clients that share and wait, Redis has no memory, messages are lost, and a connection stalls",
            shares,
            Troubles { fills: 1, deafness: 1, stalls: 1, batches: 1, ..NONE },
            1_100,
        )
        .after(&in_queue),
        world(
            "clients that hang up, a connection breaks and the clock is set back",
            shy,
            Troubles { breaks: 1, setbacks: 1, ..NONE },
            0,
        ),
        world(
            "a repeated attempt whose callers hang up, a connection breaks and the clock is set back",
            hung_up,
            Troubles { breaks: 1, setbacks: 1, ..NONE },
            0,
        ),
        world(
            "a renewal, data is lost and the clock is set back",
            renews,
            Troubles { losses: 1, setbacks: 1, ..NONE },
            1_100,
        ),
        world("two who wait at two sidecars, a connection stalls", exclusive, Troubles { stalls: 1, ..NONE }, 0)
            .after(&in_queues),
        world("a long lease and a patient waiter, messages are lost", patient, Troubles { deafness: 1, ..NONE }, 0),
        world("two waiters in the queue, a connection breaks", three, BREAK, 1_100).after(&in_queue),
        world("two waiters in the queue, what they send is refused", three, Troubles { refusals: 2, ..NONE }, 1_100)
            .after(&in_queue),
        world("two waiters in the queue, Redis fails over", three, Troubles { failovers: 1, ..NONE }, 1_100)
            .after(&in_queue),
        world("two waiters in the queue, Redis has no memory", three, Troubles { fills: 1, ..NONE }, 1_100)
            .after(&in_queue),
    ]
}

/// Of which time stops at the last millisecond of each lease and each promise, at the one before and at the one behind.
fn exact() -> Vec<Named> {
    let two: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER])];
    let renews: Clients = &[(0, "x", &[RENEWS]), (1, "y", &[HOLDER, HOLDER])];
    let shares: Clients = &[(0, "x", &[SHARES]), (1, "y", &[WAITER]), (0, "z", &[ONE_OF_TWO])];
    let shorter = Wish { ttl_ms: 400, ..ONE_OF_TWO };
    let longer = Wish { ttl_ms: 1_500, may_release: false, ..ONE_OF_TWO };
    let room: Clients = &[(0, "x", &[longer]), (1, "y", &[shorter]), (1, "z", &[ONE_OF_TWO])];
    let repeats: Clients = &[(0, "x", &[REPEATS]), (1, "x", &[Wish { wait_ms: Some(2_000), ..REPEATS }])];
    vec![
        world("a holder and a waiter, each millisecond around an end", two, NONE, 1_100).exact(),
        world("a renewal, each millisecond around an end", renews, NONE, 1_100).exact(),
        world("shares and one alone who waits, each millisecond around an end", shares, NONE, 0).exact(),
        world("a repeated attempt, each millisecond around an end", repeats, NONE, 1_100).exact(),
        world("one of two shares ends while a client waits for room", room, NONE, 0).exact(),
    ]
}
