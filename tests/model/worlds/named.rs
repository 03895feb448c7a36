//! The worlds, by name.

use std::slice;

use lockside::lock::{Mode, Terms};

use crate::world::{Action, Client, Engine, Troubles, Wish, World};

const NONE: Troubles = Troubles::NONE;
const BREAK: Troubles = Troubles { breaks: 1, ..NONE };
const STALL: Troubles = Troubles { stalls: 1, ..NONE };
const DEAF: Troubles = Troubles { deafness: 1, ..NONE };
const LOSS: Troubles = Troubles { losses: 1, ..NONE };

pub const HOLDER: Wish = Wish { ttl_ms: 1_000, ..Wish::PLAIN };
pub const WAITER: Wish = Wish { ttl_ms: 700, ..Wish::WAITS };
pub const SHY: Wish = Wish { may_hang_up: true, ..WAITER };
pub const REPEATS: Wish = Wish { name: Some("c"), ttl_ms: 700, ..Wish::PLAIN };
const EXTENDS: Wish = Wish { extends: true, ttl_ms: 3_000, ..Wish::PLAIN };

pub const SHARES: Wish = Wish { mode: Mode::Shared { limit: None }, ttl_ms: 700, ..Wish::PLAIN };
pub const WAITS_TO_SHARE: Wish = Wish { mode: Mode::Shared { limit: None }, ..WAITER };
const ONE_OF_ONE: Wish = Wish { mode: Mode::Shared { limit: Some(1) }, ttl_ms: 700, ..Wish::WAITS };
const ONE_OF_TWO: Wish = Wish { mode: Mode::Shared { limit: Some(2) }, ttl_ms: 700, ..Wish::WAITS };

/// A world: its clients, what troubles there are, and when the last attempt begins.
pub struct Named {
    pub name: &'static str,
    world: World,
    /// What has happened already where it begins.
    before: Vec<Action>,
}

impl Named {
    /// The same world, in which this has happened already.
    pub fn after(self, before: &[Action]) -> Named {
        Named { before: before.to_vec(), ..self }
    }

    /// The same world, whose time stops at each millisecond around an end.
    pub fn exact(mut self) -> Named {
        self.world.is_exact = true;
        self
    }

    /// Where it begins.
    pub fn begin(&self, engine: &Engine) -> World {
        let mut world = self.world.clone();
        for action in &self.before {
            assert!(world.actions(engine).contains(action), "{}: {action:?} cannot happen", self.name);
            world.apply(engine, *action);
        }
        world
    }
}

pub fn world(
    name: &'static str,
    clients: &[(usize, &'static str, &[Wish])],
    troubles: Troubles,
    ends_ms: i64,
) -> Named {
    let clients = clients.iter().map(|(sidecar, owner, wishes)| Client::new(*sidecar, owner, wishes)).collect();
    Named { name, world: World::new(clients, troubles, ends_ms), before: Vec::new() }
}

pub fn worlds() -> Vec<Named> {
    let mut worlds = exclusive();
    worlds.extend(shared());
    worlds.extend(super::held::worlds());
    worlds.extend(super::troubled::worlds());
    worlds.extend(super::mixed::worlds());
    worlds
}

/// Of keys that are shared.
fn shared() -> Vec<Named> {
    type Clients<'a> = &'a [(usize, &'static str, &'a [Wish])];
    let named = Wish { name: Some("c"), ..WAITS_TO_SHARE };
    let twice: Clients = &[(0, "x", &[HOLDER]), (0, "y", slice::from_ref(&named)), (1, "y", slice::from_ref(&named))];
    let writer: Clients = &[(0, "x", &[SHARES]), (1, "y", &[WAITER]), (1, "z", &[WAITS_TO_SHARE])];
    let leaves: Clients = &[(0, "x", &[SHARES]), (1, "y", &[SHY]), (1, "z", &[WAITS_TO_SHARE])];
    let readers: Clients = &[(0, "x", &[HOLDER]), (1, "y", &[WAITS_TO_SHARE]), (1, "z", &[WAITS_TO_SHARE])];
    let tries: Clients = &[(0, "x", &[SHARES]), (1, "y", &[WAITER]), (0, "z", &[SHARES])];
    let shy = Wish { may_hang_up: true, ..WAITS_TO_SHARE };
    let shorter = Wish { ttl_ms: 300, ..ONE_OF_TWO };
    let limited: Clients = &[(0, "x", &[ONE_OF_TWO]), (1, "y", &[shorter]), (1, "z", &[ONE_OF_ONE])];
    let renews = Wish { renewals: 1, ..SHARES };
    let repeats = Wish { name: Some("c"), may_hang_up: true, ..SHARES };
    let extends = Wish { extends: true, ttl_ms: 3_000, ..SHARES };
    let hold = Wish { is_hold: true, renewals: 1, may_release: false, ..SHARES };
    vec![
        world("one who shares, one alone who waits, and one who waits to share", writer, NONE, 0),
        world("an attempt that waits to share at two sidecars", twice, NONE, 0),
        world("one who shares, one alone who waits, a connection breaks", &writer[..2], BREAK, 0),
        world("one who shares, one alone who waits, a connection stalls", &writer[..2], STALL, 0),
        world("one who shares, one alone who waits, messages are lost", &writer[..2], DEAF, 0),
        world("one who shares, one alone who waits, data is lost", &writer[..2], LOSS, 0),
        world("one who shares, one alone who waits, and one who tries to share", tries, NONE, 0),
        world("one who shares, one alone who waits and hangs up, and one who waits to share", leaves, NONE, 0),
        world("a holder and two who wait to share", readers, NONE, 0),
        world("a holder and two who wait to share, a connection breaks", readers, BREAK, 0),
        world("a holder and two who wait to share, messages are lost", readers, DEAF, 0),
        world("limits of two and of one", limited, NONE, 0),
        world("limits of two and of one, a connection breaks", limited, BREAK, 0),
        world(
            "who shares hangs up, a connection breaks",
            &[(0, "x", &[Wish { may_hang_up: true, ..SHARES }]), (1, "y", &[shy])],
            BREAK,
            0,
        ),
        world(
            "a share that is renewed, a connection stalls",
            &[(0, "x", &[renews]), (1, "y", &[WAITER])],
            STALL,
            1_100,
        ),
        world(
            "a repeated attempt to share whose callers hang up, a connection breaks",
            &[(0, "x", slice::from_ref(&repeats)), (1, "x", slice::from_ref(&repeats))],
            BREAK,
            0,
        ),
        world(
            "a shared hold, and a re-entrant attempt of its owner",
            &[(0, "x", &[hold]), (1, "x", &[extends])],
            NONE,
            1_000,
        ),
    ]
}

/// Of keys that one client has at a time.
fn exclusive() -> Vec<Named> {
    let two: [(usize, &'static str, &[Wish]); 2] = [(0, "x", &[HOLDER]), (1, "y", &[WAITER])];
    let three: [(usize, &'static str, &[Wish]); 3] = [(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (0, "z", &[WAITER])];
    let shy: [(usize, &'static str, &[Wish]); 2] =
        [(0, "x", &[Wish { may_hang_up: true, ..HOLDER }]), (1, "y", &[SHY])];
    let named: [(usize, &'static str, &[Wish]); 3] =
        [(0, "x", &[HOLDER]), (1, "y", &[Wish { name: Some("c"), ..WAITER }]), (0, "y", &[REPEATS])];
    let owner: [(usize, &'static str, &[Wish]); 3] = [(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (0, "y", &[EXTENDS])];
    let hold = Wish { is_hold: true, renewals: 1, may_release: false, ..HOLDER };
    let renews = Wish { renewals: 1, ..HOLDER };
    let delays = Wish { terms: Terms { delay_ms: 300, ..Terms::NONE }, ..HOLDER };
    let stays = Wish { terms: Terms { min_hold_ms: 600, ..Terms::NONE }, ..HOLDER };
    let rests = Wish { terms: Terms { delay_ms: 200, min_hold_ms: 900, max_hold_ms: None }, ..WAITER };
    vec![
        world("a holder and a waiter", &two, NONE, 1_100),
        world("a holder and a waiter, a connection breaks", &two, BREAK, 0),
        world("a holder and a waiter, a connection stalls", &two, STALL, 0),
        world("a holder and a waiter, messages are lost", &two, DEAF, 0),
        world("a holder and a waiter, data is lost", &two, LOSS, 0),
        world("a holder and two waiters", &three, NONE, 0),
        world("a holder and two waiters, data is lost", &three, LOSS, 0),
        world("clients that hang up", &shy, NONE, 0),
        world("clients that hang up, a connection breaks", &shy, BREAK, 0),
        world("an attempt that is repeated while it waits", &named, NONE, 0),
        world("an attempt that is repeated while it waits, a connection breaks", &named, BREAK, 0),
        world("an owner that is granted again what it waits for", &owner, NONE, 0),
        world("a hold, and a re-entrant acquire of its owner", &[(0, "x", &[hold]), (1, "x", &[EXTENDS])], NONE, 1_000),
        world("a renewal", &[(0, "x", slice::from_ref(&renews)), (1, "y", &[HOLDER, HOLDER])], NONE, 1_100),
        world("a renewal, a connection stalls", &[(0, "x", &[renews]), (1, "y", &[HOLDER, HOLDER])], STALL, 1_100),
        world("a lease with a delay, and a waiter", &[(0, "x", &[delays]), (1, "y", &[WAITER])], NONE, 0),
        world("a lease with a minimum, and a waiter that hangs up", &[(0, "x", &[stays]), (1, "y", &[SHY])], NONE, 0),
        world(
            "a waiter whose lease has terms, a connection breaks",
            &[(0, "x", &[HOLDER]), (1, "y", &[rests])],
            BREAK,
            0,
        ),
        world(
            "a repeated attempt whose callers hang up, a connection breaks",
            &[(0, "x", &[Wish { may_hang_up: true, ..REPEATS }]), (1, "x", &[Wish { may_hang_up: true, ..REPEATS }])],
            BREAK,
            0,
        ),
    ]
}

/// Too large to be explored: for walks at random.
pub fn large() -> Vec<Named> {
    const ALL: Troubles = Troubles { breaks: 2, stalls: 1, deafness: 1, losses: 1, ..NONE };
    const OF_SIDECARS: Troubles =
        Troubles { breaks: 1, crashes: 1, freezes: 1, drains: 1, forces: 1, batches: 2, shortages: 1, ..NONE };
    const OF_REDIS: Troubles =
        Troubles { refusals: 1, failovers: 1, losses: 1, fills: 1, forces: 1, batches: 2, ..NONE };
    const TWICE: Troubles = Troubles { breaks: 2, stalls: 2, deafness: 1, ..NONE };
    let shy_holder = Wish { may_hang_up: true, renewals: 1, ..HOLDER };
    let shy_share = Wish { may_hang_up: true, ..WAITS_TO_SHARE };
    let named = Wish { name: Some("c"), ..SHY };
    let short = Wish { ttl_ms: 300, renewals: 2, ..WAITER };
    let rests = Wish { terms: Terms { delay_ms: 200, min_hold_ms: 900, max_hold_ms: None }, ..SHY };
    let own = [EXTENDS, SHY, named.clone()];
    let mut worlds = vec![
        world(
            "clients that share, wait, hang up and renew, whose connections and messages fail",
            &[
                (0, "x", &[shy_holder.clone(), WAITS_TO_SHARE, short.clone()]),
                (1, "y", &[SHY, shy_share.clone(), HOLDER]),
                (0, "z", &[shy_share.clone(), WAITER, ONE_OF_TWO]),
                (2, "w", &[SHARES, WAITER, shy_share.clone()]),
            ],
            ALL,
            6_000,
        ),
        world(
            "clients of one owner, by named and re-entrant attempts",
            &[
                (0, "x", &own),
                (1, "x", &[named.clone(), SHY]),
                (1, "y", &[WAITER, EXTENDS]),
                (2, "x", &[REPEATS, named.clone()]),
            ],
            TWICE,
            6_000,
        ),
        world(
            "clients whose sidecars crash, freeze and are stopped",
            &[
                (0, "x", &[HOLDER, WAITS_TO_SHARE, short.clone()]),
                (1, "y", &[SHY, shy_share.clone(), HOLDER]),
                (0, "z", &[shy_share.clone(), WAITER, ONE_OF_TWO]),
                (2, "w", &[SHARES, WAITER, shy_share.clone()]),
            ],
            OF_SIDECARS,
            6_000,
        ),
        world(
            "clients whose Redis fails over, forgets and fills up",
            &[
                (0, "x", &[HOLDER, WAITS_TO_SHARE, short.clone()]),
                (1, "y", &[SHY, shy_share.clone(), HOLDER]),
                (2, "z", &[shy_share.clone(), WAITER, ONE_OF_TWO]),
            ],
            OF_REDIS,
            6_000,
        ),
        world(
            "limits that differ, and leases with terms",
            &[
                (0, "x", &[ONE_OF_TWO, rests.clone(), ONE_OF_ONE]),
                (1, "y", &[ONE_OF_ONE, ONE_OF_TWO, rests.clone()]),
                (1, "z", &[rests, ONE_OF_TWO, short]),
                (2, "w", &[WAITS_TO_SHARE, SHY]),
            ],
            ALL,
            6_000,
        ),
    ];
    worlds.extend(super::held::large());
    worlds
}

/// The world of this name.
pub fn of_name(name: &str) -> Named {
    worlds().into_iter().find(|named| named.name == name).unwrap_or_else(|| panic!("no world {name}"))
}
