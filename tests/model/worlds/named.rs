//! The worlds, by name.

use std::slice;

use crate::world::{Client, Troubles, Wish, World};

const NONE: Troubles = Troubles { breaks: 0, stalls: 0, deafness: 0, losses: 0 };
const BREAK: Troubles = Troubles { breaks: 1, ..NONE };
const STALL: Troubles = Troubles { stalls: 1, ..NONE };
const DEAF: Troubles = Troubles { deafness: 1, ..NONE };
const LOSS: Troubles = Troubles { losses: 1, ..NONE };

const HOLDER: Wish = Wish { ttl_ms: 1_000, ..Wish::PLAIN };
const WAITER: Wish = Wish { ttl_ms: 700, ..Wish::WAITS };
const SHY: Wish = Wish { may_hang_up: true, ..WAITER };
const REPEATS: Wish = Wish { name: Some("c"), ttl_ms: 700, ..Wish::PLAIN };
const EXTENDS: Wish = Wish { extends: true, ttl_ms: 3_000, ..Wish::PLAIN };

/// A world: its clients, what troubles there are, and when the last attempt begins.
pub struct Named {
    pub name: &'static str,
    pub world: World,
}

fn world(name: &'static str, clients: &[(usize, &'static str, &[Wish])], troubles: Troubles, ends_ms: i64) -> Named {
    let clients = clients.iter().map(|(sidecar, owner, wishes)| Client::new(*sidecar, owner, wishes)).collect();
    Named { name, world: World::new(clients, troubles, ends_ms) }
}

pub fn worlds() -> Vec<Named> {
    let two: [(usize, &'static str, &[Wish]); 2] = [(0, "x", &[HOLDER]), (1, "y", &[WAITER])];
    let three: [(usize, &'static str, &[Wish]); 3] = [(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (0, "z", &[WAITER])];
    let shy: [(usize, &'static str, &[Wish]); 2] =
        [(0, "x", &[Wish { may_hang_up: true, ..HOLDER }]), (1, "y", &[SHY])];
    let named: [(usize, &'static str, &[Wish]); 3] =
        [(0, "x", &[HOLDER]), (1, "y", &[Wish { name: Some("c"), ..WAITER }]), (0, "y", &[REPEATS])];
    let owner: [(usize, &'static str, &[Wish]); 3] = [(0, "x", &[HOLDER]), (1, "y", &[WAITER]), (0, "y", &[EXTENDS])];
    let hold = Wish { is_hold: true, renewals: 1, may_release: false, ..HOLDER };
    let renews = Wish { renewals: 1, ..HOLDER };
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
        world(
            "a repeated attempt whose callers hang up",
            &[(0, "x", &[Wish { may_hang_up: true, ..REPEATS }]), (1, "x", &[Wish { may_hang_up: true, ..REPEATS }])],
            BREAK,
            0,
        ),
    ]
}

/// The world of this name.
pub fn of_name(name: &str) -> World {
    worlds().into_iter().find(|named| named.name == name).unwrap_or_else(|| panic!("no world {name}")).world
}
