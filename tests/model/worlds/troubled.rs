//! Worlds whose sidecars and whose Redis fail in further ways.

use super::named::{HOLDER, Named, REPEATS, SHARES, SHY, WAITER, WAITS_TO_SHARE, world};
use crate::world::{Action, Troubles, Wish};

const NONE: Troubles = Troubles::NONE;
const FORCE: Troubles = Troubles { forces: 1, ..NONE };
const CRASH: Troubles = Troubles { crashes: 1, ..NONE };
const FREEZE: Troubles = Troubles { freezes: 1, ..NONE };
const FULL: Troubles = Troubles { fills: 1, ..NONE };
const FAILOVER: Troubles = Troubles { failovers: 1, ..NONE };
const SET_BACK: Troubles = Troubles { setbacks: 1, ..NONE };
const SHORT: Troubles = Troubles { shortages: 1, ..NONE };
const LOSS: Troubles = Troubles { losses: 1, ..NONE };
const REFUSED: Troubles = Troubles { refusals: 2, ..NONE };
const DRAIN: Troubles = Troubles { drains: 1, ..NONE };
const BATCH: Troubles = Troubles { batches: 2, ..NONE };

type Clients<'a> = &'a [(usize, &'static str, &'a [Wish])];

const SHY_HOLDER: Wish = Wish { may_hang_up: true, ..HOLDER };
const RENEWS: Wish = Wish { renewals: 1, ..HOLDER };

pub fn worlds() -> Vec<Named> {
    let mut worlds = of_sidecars();
    worlds.extend(of_redis());
    worlds.extend(begun());
    worlds
}

/// What a client and its sidecar do for an attempt that is granted, and for one that waits in the queue.
pub fn granted(client: usize, sidecar: usize) -> [Action; 3] {
    [Action::Begin(client), Action::Run(sidecar), Action::Answer(sidecar)]
}

pub fn queued(client: usize, sidecar: usize) -> [Action; 5] {
    let [begin, run, answer] = granted(client, sidecar);
    [begin, run, answer, run, answer]
}

/// Worlds that begin when something has happened already: from their clients' first steps on they are too large.
fn begun() -> Vec<Named> {
    let stays = Wish { may_release: false, ..HOLDER };
    let lost: Clients = &[(0, "x", &[stays.clone(), HOLDER]), (1, "y", &[WAITER]), (0, "z", &[WAITER])];
    let behind: Clients =
        &[(0, "x", &[HOLDER]), (1, "w", &[WAITER]), (1, "y", &[WAITER]), (1, "z", &[WAITER]), (2, "v", &[WAITER])];
    let apart: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (2, "z", &[WAITER])];
    let tries: Clients = &[(0, "x", &[stays]), (1, "y", &[WAITER]), (0, "z", &[HOLDER]), (0, "w", &[HOLDER])];
    let frozen = [granted(0, 0).as_slice(), &queued(1, 1), &queued(2, 2), &[Action::Freeze(1)]].concat();
    let three = [granted(0, 0).as_slice(), &queued(1, 1), &queued(2, 0), &[Action::Lose]].concat();
    let before: Clients = &[(0, "x", &[HOLDER, HOLDER]), (1, "y", &[WAITER]), (0, "z", &[WAITER]), (1, "v", &[WAITER])];
    let again = [Action::Release(0), Action::Run(0), Action::Answer(0)];
    let rebuilt = [
        granted(0, 0).as_slice(),
        &queued(1, 1),
        &queued(2, 0),
        &[Action::Lose],
        &again,
        &granted(0, 0),
        &queued(3, 1),
    ]
    .concat();
    let offered: Clients =
        &[(2, "x", &[HOLDER]), (1, "y", &[WAITS_TO_SHARE]), (1, "z", &[WAITER]), (0, "w", &[WAITS_TO_SHARE])];
    let passed_on =
        [granted(0, 2).as_slice(), &queued(1, 1), &queued(2, 1), &queued(3, 0), &[Action::Release(0), Action::Run(2)]]
            .concat();
    let late: Clients = &[(0, "x", &[HOLDER]), (0, "w", &[HOLDER]), (1, "y", &[WAITER]), (1, "z", &[WAITER])];
    let forgotten = [granted(0, 0).as_slice(), &[Action::Lose], &granted(1, 0)].concat();
    let two = [granted(0, 0).as_slice(), &queued(1, 1)].concat();
    let crashed =
        [granted(0, 0).as_slice(), &queued(1, 1), &queued(2, 1), &queued(3, 1), &queued(4, 2), &[Action::Crash(1)]]
            .concat();
    let long = Wish { ttl_ms: 6_000, may_release: false, ..SHARES };
    let beside: Clients = &[(0, "x", &[long]), (1, "y", &[WAITER]), (2, "z", &[WAITS_TO_SHARE])];
    let line = [granted(0, 0).as_slice(), &queued(1, 1), &queued(2, 2)].concat();
    let ended = [line.as_slice(), &[Action::Crash(1)]].concat();
    let still = [line.as_slice(), &[Action::Freeze(1)]].concat();
    vec![
        world(
            "one who shares, one alone who waits at a sidecar that crashed, and one who waits to share",
            beside,
            CRASH,
            0,
        )
        .after(&ended),
        world(
            "one who shares, one alone who waits at a sidecar that froze, and one who waits to share",
            beside,
            FREEZE,
            0,
        )
        .after(&still),
        world("two waiters whose queue was lost, and one who does not wait", lost, LOSS, 1_100).after(&three),
        world(
            "two waiters whose queue was lost, and one who comes before they are back",
            before,
            Troubles { deafness: 1, ..LOSS },
            10,
        )
        .after(&rebuilt),
        world(
            "two waiters of one sidecar, one of whom is offered a share that is lost, and one of another sidecar",
            offered,
            LOSS,
            10,
        )
        .after(&passed_on),
        world("two waiters who come once data is lost", late, LOSS, 10).after(&forgotten),
        world("three who wait at a sidecar that crashed, and one behind them", behind, CRASH, 0).after(&crashed),
        world("one who waits at a sidecar that froze, and one behind it", apart, FREEZE, 0).after(&frozen),
        world("two who do not wait, in one call, and one who waits", tries, BATCH, 1_100).after(&two),
    ]
}

fn of_sidecars() -> Vec<Named> {
    let two: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER])];
    let apart: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (2, "z", &[WAITER])];
    let shares: Clients = &[(0, "x", &[SHARES]), (1, "y", &[WAITER])];
    let readers: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITS_TO_SHARE]), (2, "z", &[WAITS_TO_SHARE])];
    let together: Clients = &[(0, "x", &[HOLDER, HOLDER]), (0, "y", &[WAITER])];
    let sharers: Clients = &[(0, "x", &[SHARES]), (0, "y", &[WAITS_TO_SHARE]), (0, "z", &[WAITER])];
    vec![
        world("a holder and a waiter, a sidecar crashes", two, CRASH, 0),
        world("a holder and two waiters, a sidecar crashes", apart, CRASH, 0),
        world("one who shares, one alone who waits, a sidecar crashes", shares, CRASH, 0),
        world("a holder and two who wait to share, a sidecar crashes", readers, CRASH, 0),
        world("a holder and a waiter, a sidecar freezes", two, FREEZE, 0),
        world("a holder and two waiters, a sidecar freezes", apart, FREEZE, 0),
        world("one who shares, one alone who waits, a sidecar freezes", shares, FREEZE, 0),
        world("a holder and a waiter, a sidecar is stopped", two, DRAIN, 0),
        world("a holder and two waiters, a sidecar is stopped", apart, DRAIN, 0),
        world("a holder and two who wait to share, a sidecar is stopped", readers, DRAIN, 0),
        world("a holder and a waiter of one sidecar, in one call", together, BATCH, 0),
        world("clients of one sidecar that share and wait, in one call", sharers, BATCH, 0),
    ]
}

fn of_redis() -> Vec<Named> {
    let two: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER])];
    let three: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (0, "z", &[WAITER])];
    let shy: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[SHY])];
    let both: Clients = &[(0, "x", &[SHY_HOLDER]), (1, "y", &[SHY])];
    let shares: Clients = &[(0, "x", &[SHARES]), (1, "y", &[WAITER])];
    let readers: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITS_TO_SHARE]), (1, "z", &[WAITS_TO_SHARE])];
    let renews: Clients = &[(0, "x", &[RENEWS]), (1, "y", &[HOLDER, HOLDER])];
    let repeats: Clients = &[(0, "x", &[REPEATS]), (1, "x", &[REPEATS])];
    vec![
        world("a holder and a waiter, the key is force-released", two, FORCE, 0),
        world("a holder and two waiters, the key is force-released", three, FORCE, 0),
        world("a holder and two who wait to share, the key is force-released", readers, FORCE, 0),
        world("a renewal, the key is force-released", renews, FORCE, 1_100),
        world("a holder and a waiter, Redis has no memory", two, FULL, 0),
        world("clients that hang up, Redis has no memory", both, FULL, 0),
        world("one who shares, one alone who waits, Redis has no memory", shares, FULL, 0),
        world("a renewal, Redis has no memory", renews, FULL, 1_100),
        world("a holder and a waiter, Redis fails over", two, FAILOVER, 0),
        world("a holder and a waiter that hangs up, Redis fails over", shy, FAILOVER, 0),
        world("a holder and two waiters, Redis fails over", three, FAILOVER, 0),
        world("a holder and two who wait to share, Redis fails over", readers, FAILOVER, 0),
        world("a holder and a waiter, the clock is set back", two, SET_BACK, 0),
        world("a holder and two waiters, the clock is set back", three, SET_BACK, 0),
        world("one who shares, one alone who waits, the clock is set back", shares, SET_BACK, 0),
        world("a renewal, the clock is set back", renews, SET_BACK, 1_100),
        world("a holder and a waiter, what they send is refused", two, REFUSED, 0),
        world("clients that hang up, what they send is refused", both, REFUSED, 0),
        world("a holder and two waiters, what they send is refused", three, REFUSED, 0),
        world("one who shares, one alone who waits, what they send is refused", shares, REFUSED, 0),
        world("a renewal, what it sends is refused", renews, REFUSED, 1_100),
        world("a holder and a waiter, too few replicas", two, SHORT, 0),
        world("a renewal, too few replicas", renews, SHORT, 1_100),
        world("one who shares, one alone who waits, too few replicas", shares, SHORT, 0),
        world("a repeated attempt, too few replicas", repeats, SHORT, 0),
    ]
}
