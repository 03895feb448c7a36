//! Faults that are planted in what the terms of a lease, and the rest of a release, keep.

use super::table::{Planted, lua};
use crate::properties::{EXCLUSIVE, TRUE};

pub const PLANTED_TERMS: &[Planted] = &[
    Planted {
        name: "a release leaves no rest",
        plant: lua(&[("rest_ms ~= '' and now_ms + rest_ms or 0)", "0)")]),
        world: "a release that leaves a rest, and a waiter",
        property: EXCLUSIVE,
    },
    Planted {
        name: "a release does not look at the minimum",
        plant: lua(&[(
            "local free_from = math.max(ttl and since_of(lease) + min or 0,",
            "local free_from = math.max(0,",
        )]),
        world: "a lease with a minimum, and a waiter that hangs up",
        property: EXCLUSIVE,
    },
    Planted {
        name: "the end of a hold does not look at the delay",
        plant: lua(&[(
            "local free_from = ttl and math.max(now_ms + delay, since_of(lease) + min) or 0",
            "local free_from = 0",
        )]),
        world: "a hold with a delay, and a waiter",
        property: EXCLUSIVE,
    },
    Planted {
        name: "a renewal does not look at the delay",
        plant: lua(&[(
            "return math.max(promised_until + delay, since + min)",
            "return math.max(promised_until, since + min)",
        )]),
        world: "a lease with all terms that is renewed, a connection stalls",
        property: EXCLUSIVE,
    },
    Planted {
        name: "a renewal does not look at the longest time",
        plant: lua(&[(
            "if max ~= '0' then\n    promised_until = math.min",
            "if false then\n    promised_until = math.min",
        )]),
        world: "a lease that is renewed up to its longest time, and a waiter",
        property: TRUE,
    },
];
