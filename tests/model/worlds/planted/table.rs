//! The faults that are planted.

use crate::properties::{EXCLUSIVE, FREE, OFFERS, ORDER, PLACES, PROMISES, TOKENS, UNTOLD};
use crate::search::REST;
use crate::world::{Fault, Plant};

pub struct Planted {
    pub name: &'static str,
    pub plant: Plant,
    pub world: &'static str,
    pub property: &'static str,
}

pub const fn lua(lua: &'static [(&'static str, &'static str)]) -> Plant {
    Plant { lua, code: &[] }
}

pub const fn code(code: &'static [Fault]) -> Plant {
    Plant { lua: &[], code }
}

const TWO: &str = "a holder and a waiter";
const THREE: &str = "a holder and two waiters";
const LIMITS: &str = "limits of two and of one";
const ALONE: &str = "one who shares, one alone who waits, and one who waits to share";
const TRIES: &str = "one who shares, one alone who waits, and one who tries to share";
const TWO_BREAK: &str = "a holder and a waiter, a connection breaks";
const TAKE_SHORTENS: (&str, &str) = ("may_shorten = by == sending and renewed(lease) ~= lease", "may_shorten = true");

const TELLS_OF_OFFERS: (&str, &str) =
    ("local is_on_offer = take_offer(queue, token_of(lease))", "local is_on_offer = false");

pub const PLANTED: &[Planted] = &[
    Planted {
        name: "J.18: a hold's own renewal shortens",
        plant: lua(&[("local text, may_shorten = lease, how == 'set'", "local text, may_shorten = lease, true")]),
        world: "a hold, and a re-entrant acquire of its owner",
        property: PROMISES,
    },
    Planted {
        name: "J.19: a take shortens",
        plant: lua(&[TAKE_SHORTENS]),
        world: "an owner that is granted again what it waits for",
        property: PROMISES,
    },
    Planted {
        name: "J.21: a repetition is told of an offer and does not take it",
        plant: lua(&[TAKE_SHORTENS, TELLS_OF_OFFERS]),
        world: "an attempt that is repeated while it waits",
        property: PROMISES,
    },
    Planted {
        name: "J.21: a repetition is told of an offer, and its mark stays",
        plant: lua(&[TELLS_OF_OFFERS]),
        world: "an attempt that is repeated while it waits",
        property: PLACES,
    },
    Planted {
        name: "J.22a: a join is run after its waiter has left",
        plant: Plant {
            lua: &[(
                "if refusal then\n  return refusal\nend\nlocal lease, is_unwatched = look(lock, watch)",
                "local lease, is_unwatched = look(lock, watch)",
            )],
            code: &[Fault::JoinsWithoutDeadline],
        },
        world: TWO_BREAK,
        property: PLACES,
    },
    Planted {
        name: "a place that a waiter took again, behind an answer that was lost, stays",
        plant: code(&[Fault::KeepsLatePlaces]),
        world: "limits of two and of one, a connection breaks",
        property: PLACES,
    },
    Planted {
        name: "J.22b: leaving is tried once",
        plant: code(&[Fault::ForgetsUndo]),
        world: "clients that hang up, a connection breaks",
        property: PLACES,
    },
    Planted {
        name: "J.22c: an offer to a waiter that a replica brought back is not declined",
        plant: code(&[Fault::NeverDeclines]),
        world: "a holder and a waiter that hangs up, Redis fails over",
        property: OFFERS,
    },
    Planted {
        name: "what a caller is told of who has gone is not undone",
        plant: code(&[Fault::ForgetsReceipts]),
        world: "clients that hang up",
        property: UNTOLD,
    },
    Planted {
        name: "J.25: waiters are served before all have come back to a queue that was lost",
        plant: lua(&[("return left_ms > 0 and left_ms <= REJOIN_MS and left_ms or nil", "return nil")]),
        world: "two waiters whose queue was lost, and one who does not wait",
        property: ORDER,
    },
    Planted {
        name: "one of two waiters of a sidecar finds the queue lost, and the other does not come back",
        plant: code(&[Fault::QueuesIgnoreTheirOwn]),
        world: "two waiters of one sidecar, one of whom is offered a share that is lost, and one of another sidecar",
        property: ORDER,
    },
    Planted {
        name: "who comes back to a queue that was lost, and to which others have come since, does not say so",
        plant: lua(&[("is_first or is_missing and is_new and not is_rejoining(queue)", "is_first")]),
        world: "two waiters whose queue was lost, and one who comes before they are back",
        property: ORDER,
    },
    Planted {
        name: "what the waiters of a sidecar that crashed are offered lapses, and they stay",
        plant: lua(&[("        drop(keys, args, process)\n", "")]),
        world: "three who wait at a sidecar that crashed, and one behind them",
        property: FREE,
    },
    Planted {
        name: "an offer to a sidecar that froze lasts for three seconds",
        plant: lua(&[("local OFFER_MS = 1500", "local OFFER_MS = 3000")]),
        world: "one who waits at a sidecar that froze, and one behind it",
        property: FREE,
    },
    Planted {
        name: "a waiter that is told of the stopping stays in the list of its sidecar",
        plant: code(&[Fault::NeverLeaves]),
        world: "a holder and a waiter, a sidecar is stopped",
        property: PLACES,
    },
    Planted {
        name: "a key that is force-released is offered to none",
        plant: lua(&[("pass_on(KEYS, ARGV, found, 'forced')", "")]),
        world: "a holder and a waiter, the key is force-released",
        property: FREE,
    },
    Planted {
        name: "a grant that too few replicas have is not undone",
        plant: code(&[Fault::KeepsWhatReplicasLack]),
        world: "a repeated attempt, too few replicas",
        property: UNTOLD,
    },
    Planted {
        name: "without memory no waiter is granted a key that was freed",
        plant: lua(&[("if type(redis.pcall('ZREMRANGEBYRANK', queue, 1, 0)) == 'table' then", "if false then")]),
        world: "a holder and a waiter, Redis has no memory",
        property: FREE,
    },
    Planted {
        name: "leaving the queue is tried once, and refused",
        plant: code(&[Fault::ForgetsUndo]),
        world: "clients that hang up, what they send is refused",
        property: PLACES,
    },
    Planted {
        name: "tokens are by the clock alone",
        plant: lua(&[
            (
                "local raised = sequence < SEQUENCE_END and redis.pcall('ZADD', tokens, 'GT', 'CH',",
                "local raised = sequence < SEQUENCE_END and redis.pcall('ZADD', tokens, 'CH',",
            ),
            (
                "redis.pcall('ZADD', tokens, 'GT', 'CH', token, LAST, token, key) ~= 2",
                "redis.pcall('ZADD', tokens, 'CH', token, LAST, token, key) ~= 2",
            ),
        ]),
        world: "a renewal, the clock is set back",
        property: TOKENS,
    },
    Planted {
        name: "in one call, a key that is waited for is granted",
        plant: lua(&[(
            "local taken = redis.pcall('EXISTS', lock, queue, watch)",
            "local taken = redis.pcall('EXISTS', lock)",
        )]),
        world: "two who do not wait, in one call, and one who waits",
        property: ORDER,
    },
    Planted {
        name: "an undo is sent once",
        plant: code(&[Fault::UndoesOnce]),
        world: "clients that hang up, a connection breaks",
        property: UNTOLD,
    },
    Planted {
        name: "given up at once when the connection breaks",
        plant: code(&[Fault::GivesUpAtOnce]),
        world: TWO_BREAK,
        property: UNTOLD,
    },
    Planted {
        name: "a waiter that has gone stays in the list of its sidecar",
        plant: code(&[Fault::NeverLeaves]),
        world: "clients that hang up",
        property: PLACES,
    },
    Planted {
        name: "an undo leaves the entry",
        plant: code(&[Fault::ForgetsEntries]),
        world: "clients that hang up",
        property: PLACES,
    },
    Planted {
        name: "a promise is counted from the answer",
        plant: code(&[Fault::CountsFromTheAnswer]),
        world: "a renewal, a connection stalls",
        property: PROMISES,
    },
    Planted {
        name: "the last token is granted again",
        plant: lua(&[("ZMSCORE', tokens, LAST)[1] / 64) + 1", "ZMSCORE', tokens, LAST)[1] / 64)")]),
        world: "a renewal",
        property: TOKENS,
    },
    Planted {
        name: "an undo frees what others were told of",
        plant: lua(&[("if others ~= '' or renewed(lease) == lease then", "if false then")]),
        world: "a repeated attempt whose callers hang up, a connection breaks",
        property: PROMISES,
    },
    Planted {
        name: "a key that is released is offered to none",
        plant: lua(&[("pass_on(KEYS, ARGV, token_of(lease), 'released', how == 'resigns', is_shared_still)", "")]),
        world: TWO,
        property: FREE,
    },
    Planted {
        name: "a waiter that leaves does not let those behind it in",
        plant: lua(&[("hand_over(KEYS, ARGV, nil, nil, nil, nil, true) -- Those", "-- Those")]),
        world: "one who shares, one alone who waits and hangs up, and one who waits to share",
        property: FREE,
    },
    Planted {
        name: "one more than the limit share a key",
        plant: lua(&[("count_shares(lock) >= limit then", "count_shares(lock) > limit then")]),
        world: LIMITS,
        property: EXCLUSIVE,
    },
    Planted {
        name: "shares are not counted",
        plant: lua(&[("return redis.call('ZCOUNT', lock, '(' .. whole(now_ms), '+inf')", "return 0")]),
        world: LIMITS,
        property: EXCLUSIVE,
    },
    Planted {
        name: "who would be alone is served while others share",
        plant: lua(&[(
            "elseif limit and count_shares(lock) < limit then",
            "elseif not limit or count_shares(lock) < limit then",
        )]),
        world: ALONE,
        property: FREE,
    },
    Planted {
        name: "an acquire sees no shares",
        plant: lua(&[(
            "return shared_row(lock, queue, nil, share and not is_replay and 'own' or 'mode')",
            "lease = nil",
        )]),
        world: TRIES,
        property: PROMISES,
    },
    Planted {
        name: "who would share overtakes who waits",
        plant: lua(&[("if is_shared_already and first_waiter(queue) then", "if false then")]),
        world: TRIES,
        property: ORDER,
    },
    Planted {
        name: "the last to come is the first to be served",
        plant: lua(&[(
            "known or redis.call('ZRANGEBYSCORE', queue, '(0', '+inf', 'LIMIT', '0', '1')[1]",
            "redis.call('ZRANGE', queue, '+inf', '(0', 'BYSCORE', 'REV', 'LIMIT', '0', '1')[1]",
        )]),
        world: THREE,
        property: ORDER,
    },
    Planted {
        name: "the last to come is the first to be served, once data was lost",
        plant: lua(&[(
            "known or redis.call('ZRANGEBYSCORE', queue, '(0', '+inf', 'LIMIT', '0', '1')[1]",
            "redis.call('ZRANGE', queue, '+inf', '(0', 'BYSCORE', 'REV', 'LIMIT', '0', '1')[1]",
        )]),
        world: "two waiters who come once data is lost",
        property: ORDER,
    },
    Planted {
        name: "a share ends with the newest lease",
        plant: lua(&[(
            "redis.call('PEXPIREAT', lock, valid_until, 'GT')\n  local added",
            "redis.call('PEXPIREAT', lock, valid_until)\n  local added",
        )]),
        world: "limits of two and of one",
        property: PROMISES,
    },
    Planted {
        name: "a share that is released ends all",
        plant: lua(&[(
            "    redis.call('ZREM', lock, all_members(lock, share))\n    return settle(lock)",
            "    redis.call('DEL', lock)\n    return false",
        )]),
        world: LIMITS,
        property: PROMISES,
    },
    Planted {
        name: "a share's renewal shortens the key",
        plant: lua(&[(
            "redis.call('PEXPIREAT', lock, whole(valid_until), 'GT')",
            "redis.call('PEXPIREAT', lock, whole(valid_until - 500))",
        )]),
        world: "a share that is renewed, a connection stalls",
        property: PROMISES,
    },
    Planted {
        name: "what came too late is not undone",
        plant: code(&[Fault::KeepsWhatIsTooLate]),
        world: "a renewal, a connection stalls",
        property: UNTOLD,
    },
    Planted {
        name: "J.1: a hold that has ended releases its lease by the token",
        plant: code(&[Fault::ReleasesByToken]),
        world: "a repeated hold",
        property: PROMISES,
    },
    Planted {
        name: "J.1: a release of a sending's does not ask who was told of the lease later",
        plant: lua(&[(
            "if string.match(by, '[^ ]*$') ~= sending or string.find(' ' .. by, ' +', 1, true) then",
            "if false then",
        )]),
        world: "a repeated hold",
        property: PROMISES,
    },
    Planted {
        name: "the last of an attempt's sendings ends a lease that another attempt was told of",
        plant: lua(&[("~= sending or string.find(' ' .. by, ' +', 1, true) then", "~= sending then")]),
        world: "a repeated hold, and a re-entrant acquire of its owner",
        property: PROMISES,
    },
    Planted {
        name: "the life of an attempt undoes nothing in the background",
        plant: code(&[Fault::LifeUndoesNothing]),
        world: TWO_BREAK,
        property: UNTOLD,
    },
    Planted {
        name: "the life of an attempt ends in the queue",
        plant: code(&[Fault::LifeStaysInTheQueue]),
        world: "clients that hang up",
        property: PLACES,
    },
    Planted {
        name: "the queues of a sidecar take no position again",
        plant: code(&[Fault::QueuesNeverRejoin]),
        world: "a holder and a waiter, data is lost",
        property: FREE,
    },
    Planted {
        name: "the queues of a sidecar hear of no offer",
        plant: code(&[Fault::QueuesHearOfNoOffer]),
        world: LIMITS,
        property: FREE,
    },
    Planted {
        name: "the queues of a sidecar put a look off that a message brought forward",
        plant: code(&[Fault::QueuesPutLooksOff]),
        world: ALONE,
        property: FREE,
    },
    Planted {
        name: "the queues of a sidecar look again as soon as a look is answered",
        plant: code(&[Fault::QueuesLookAtOnce]),
        world: THREE,
        property: REST,
    },
    Planted {
        name: "a look that finds the key free grants it to none",
        plant: lua(&[("if (not lease or is_shared_already) and is_whole then", "if false then")]),
        world: TWO,
        property: FREE,
    },
];
