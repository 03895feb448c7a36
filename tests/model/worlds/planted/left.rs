//! Faults that are planted, and that leave something behind: answers that are not true, keys without an end, marks, room that
//! none has.

use super::table::{Planted, code, lua};
use crate::properties::{ENDS, FREE, ONE, PLACES, TOKENS, TRUE};
use crate::world::Fault;

const TWO: &str = "a holder and a waiter";
const FORGOTTEN: &str = "a renewal, data is lost and the clock is set back";

pub const PLANTED_LEFT: &[Planted] = &[
    Planted {
        name: "a release answers, and removes nothing",
        plant: lua(&[(
            "local is_shared_still = remove(lock, tokens, key, share)\npass_on(KEYS, ARGV, token_of(lease), 'released', how",
            "local is_shared_still = true\npass_on(KEYS, ARGV, token_of(lease), 'released', how",
        )]),
        world: "a renewal",
        property: TRUE,
    },
    Planted {
        name: "a grant is answered to last for longer than it does",
        plant: lua(&[("  return token, since, valid_until\nend", "  return token, since, valid_until + 1\nend")]),
        world: TWO,
        property: TRUE,
    },
    Planted {
        name: "a key that is held is answered to be free",
        plant: lua(&[("if not lease then\n  return row({'free'", "if true then\n  return row({'free'")]),
        world: TWO,
        property: TRUE,
    },
    Planted {
        name: "one more is counted than share a key",
        plant: lua(&[(
            "math.max(ends - now_ms, 0), count, waiters, why}",
            "math.max(ends - now_ms, 0), count + 1, waiters, why}",
        )]),
        world: "one who shares, one alone who waits, and one who tries to share",
        property: TRUE,
    },
    Planted {
        name: "a sequence is drawn that the sidecar had seen",
        plant: lua(&[("math.max(now_sequence, args[3] + 1)", "now_sequence")]),
        world: FORGOTTEN,
        property: TOKENS,
    },
    Planted {
        name: "a sidecar remembers no token that it is shown",
        plant: code(&[Fault::ForgetsTokens]),
        world: FORGOTTEN,
        property: TOKENS,
    },
    Planted {
        name: "a repetition finds no share of its attempt",
        plant: lua(&[(
            "local token = token_at(lock, request ~= '' and 'a\\n' .. identity .. nonce or 's\\n' .. sending)",
            "local token = nil",
        )]),
        world: "a repeated attempt to share whose callers hang up, a connection breaks",
        property: ONE,
    },
    Planted {
        name: "a lease that is told of again has no end",
        plant: lua(&[(
            "      redis.call('SET', lock, text, 'PXAT', whole(valid_until))",
            "      redis.call('SET', lock, text)",
        )]),
        world: "an attempt that is repeated while it waits",
        property: ENDS,
    },
    Planted {
        name: "a queue has no end",
        plant: lua(&[("redis.call('PEXPIRE', queue, whole(wait_ms + 60000), is_first and 'NX' or 'GT')", "")]),
        world: TWO,
        property: ENDS,
    },
    Planted {
        name: "room that the end of a share makes is not seen",
        plant: lua(&[("if (not lease or is_shared_already) and is_whole then", "if not lease and is_whole then")]),
        world: "one of two shares ends while a client waits for room",
        property: FREE,
    },
    Planted {
        name: "a waiter is not told of its turn",
        plant: code(&[Fault::IgnoresTurns]),
        world: TWO,
        property: PLACES,
    },
    Planted {
        name: "tokens are counted, and not drawn by the clock",
        plant: lua(&[("local sequence = math.max(now_sequence, args[3] + 1)", "local sequence = args[3] + 1")]),
        world: "a holder and a waiter, Redis fails over",
        property: TOKENS,
    },
    Planted {
        name: "a first waiter whose sidecar has gone keeps all from a key that leases share",
        plant: lua(&[(
            "if left_ms > 0 then\n      return nil, nil, left_ms",
            "if left_ms then\n      return nil, nil, 500",
        )]),
        world: "one who shares, one alone who waits at a sidecar that crashed, and one who waits to share",
        property: FREE,
    },
    Planted {
        name: "both sendings of an attempt that wait have a share",
        plant: lua(&[("if has_share(lock, queue, first) then", "if false then")]),
        world: "an attempt that waits to share at two sidecars",
        property: ONE,
    },
    Planted {
        name: "a mark of an offer stays when it is taken",
        plant: lua(&[("  if mark then\n    redis.call('ZREM', queue, mark)\n  end\n", "")]),
        world: TWO,
        property: PLACES,
    },
];
