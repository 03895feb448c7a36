//! What must hold in every state, each by its name.

use lockside::lock::{Mode, Token};

use crate::world::{Client, Engine, Held, World};

/// A property that does not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    pub property: &'static str,
    pub how: String,
}

/// Each live promise has its lease in Redis, for at least as long.
pub const PROMISES: &str = "each live promise has its lease in Redis, for at least as long";
/// An exclusive promise is alone, and at a shared grant fewer than its limit are promised.
pub const EXCLUSIVE: &str = "an exclusive promise is alone, and a shared one within its limit";
/// The tokens of a key rise.
pub const TOKENS: &str = "tokens rise";
/// A grant nobody was told of ends.
pub const UNTOLD: &str = "a grant that no client was told of ends";
/// No waiter overtakes another.
pub const ORDER: &str = "no waiter overtakes another that still waits";
/// A key is never free for longer than the world's bound while a client waits.
pub const FREE: &str = "a key is never free for longer than the bound while a client waits";
/// No place in the queue without a waiter.
pub const PLACES: &str = "no place in the queue without a waiter";

/// An offer to a waiter that has gone ends at once.
pub const OFFERS: &str = "no key is on offer to a waiter that has gone";

/// A repeated attempt has one lease.
pub const ONE: &str = "an attempt has one lease at a time";
/// Each key in Redis has an end, but for the index of tokens.
pub const ENDS: &str = "each key in Redis has an end";
/// What scripts answer is true, and no lease names a sending whose caller was not told of it.
pub const TRUE: &str = "what is answered is true";

/// How long an offer lasts whose sidecar does not listen (`UNHEARD_OFFER_MS` in queue.lua): only one that listens declines it.
const UNHEARD_OFFER_MS: i64 = 700;
/// How long a key may be free while a client waits for it, in quiet times: until a look after a lease has expired, or, where
/// a waiter comes back to a queue that is empty, for as long as others may come back to it, too (`REJOIN_MS` in queue.lua).
pub const FREE_MS: i64 = 310;
/// Where messages are lost or commands are: a look, and what follows it.
pub const FREE_IN_TROUBLE_MS: i64 = 2_000;

/// What looks at a state for one property.
type Check = fn(&World, &Engine) -> Option<Violation>;

/// Those of all properties: the first that finds something names what is broken.
const CHECKS: [Check; 10] =
    [|world, _| world.broken.clone(), promises, exclusive, one, ends, free, places, offers, untold, told_by];

fn violation(property: &'static str, how: String) -> Option<Violation> {
    Some(Violation { property, how })
}

/// The first property that does not hold, if any.
pub fn broken(world: &World, engine: &Engine) -> Option<Violation> {
    CHECKS.iter().find_map(|check| check(world, engine))
}

/// How this property does not hold, if it does not, whatever others do.
pub fn broken_of(world: &World, engine: &Engine, property: &str) -> Option<Violation> {
    CHECKS.iter().filter_map(|check| check(world, engine)).find(|found| found.property == property)
}

fn promises(world: &World, _: &Engine) -> Option<Violation> {
    for client in &world.clients {
        let Some(promise) = client.promise.as_ref().filter(|promise| !promise.is_lost) else { continue };
        let is_of_it = |held: &Held| held.token == promise.token && held.until_ms >= promise.until_ms;
        if !world.held.iter().any(is_of_it) {
            let (Client { owner, .. }, leases) = (client, &world.held);
            return violation(
                PROMISES,
                format!("{owner} counts on {} until {} ms, and there is {leases:?}", promise.token, promise.until_ms),
            );
        }
    }
    None
}

fn exclusive(world: &World, _: &Engine) -> Option<Violation> {
    let promises = || world.clients.iter().filter_map(|client| client.promise.as_ref()).filter(|one| !one.is_lost);
    let alone = promises().find(|promise| promise.mode == Mode::Exclusive)?;
    let other = promises().find(|promise| promise.token != alone.token)?;
    violation(EXCLUSIVE, format!("{} and {} are counted on at once", alone.token, other.token))
}

fn one(world: &World, _: &Engine) -> Option<Violation> {
    // But for a share that had ended, and lasts again by a clock that was set back.
    let leases = || world.held.iter().filter(|held| !held.is_resting && !world.lost.again.contains(&held.token.get()));
    let is_twice = |held: &&Held| leases().filter(|other| other.attempt() == held.attempt()).count() > 1;
    let Held { token, attempt, .. } = leases().find(is_twice)?;
    violation(ONE, format!("the lease {token} is not the only one of its attempt: {attempt}"))
}

fn ends(world: &World, engine: &Engine) -> Option<Violation> {
    let tokens = engine.space.tokens(engine.key.shard());
    let is_endless = |key: &[u8], expires_ms: Option<i64>| expires_ms.is_none() && *key != **tokens;
    let (key, _) = world.redis.iter().find(|(key, stored)| is_endless(key, stored.expires_ms))?;
    violation(ENDS, format!("{} has none", String::from_utf8_lossy(key)))
}

/// For longer than the bound, which is that of a trouble where one happened so shortly before, or goes on; or where a sidecar
/// that crashed has places: it lets an offer lapse, and then they are removed together. Where another sidecar is in trouble, too,
/// that follows what was on offer there.
fn free(world: &World, engine: &Engine) -> Option<Violation> {
    let since_ms = world.free_since?;
    let free_ms = world.now_ms - since_ms;
    if free_ms <= FREE_MS {
        return None;
    }
    let is_in_trouble = world.troubled_ms.is_some_and(|at_ms| since_ms <= at_ms + FREE_IN_TROUBLE_MS);
    let (entries, offers) = (world.entries(engine), world.offers(engine));
    let has_places = |name: &&&str| {
        entries.iter().any(|entry| entry.split_once('\n').is_some_and(|(sidecar, _)| sidecar == **name))
            || offers.iter().any(|(_, sidecar)| sidecar == **name)
    };
    let crashed = i64::try_from(world.ended.iter().filter(has_places).count()).expect("a small number");
    let is_another = world.cut_off.iter().chain(&world.held_up).any(|name| !world.ended.contains(name));
    let most_ms = match crashed {
        0 if !is_in_trouble => FREE_MS,
        crashed if is_in_trouble && is_another => FREE_IN_TROUBLE_MS + crashed * UNHEARD_OFFER_MS,
        _ => FREE_IN_TROUBLE_MS,
    };
    (free_ms > most_ms).then(|| Violation { property: FREE, how: format!("free for {free_ms} ms") })
}

fn is_of_a_crash(world: &World, entry: &str) -> bool {
    entry.split_once('\n').is_some_and(|(sidecar, _)| world.ended.contains(sidecar))
}

/// Whether a sidecar made this sending that has crashed since.
fn is_of_ended(world: &World, sending: &str) -> bool {
    world.ended.iter().any(|name| sending.starts_with(name))
}

/// A place without a waiter at a sidecar that has nothing under way, or the mark of an offer whose waiter was told of its lease;
/// but for what a sidecar left that crashed, and for what a replica brought back. That no offer lapses is noted as it happens.
fn places(world: &World, engine: &Engine) -> Option<Violation> {
    let is_waited_for = |entry: &str| {
        world.clients.iter().any(|client| client.course.as_deref().is_some_and(|course| course.entry == entry))
    };
    let is_at_rest = |entry: &str| entry.split_once('\n').is_some_and(|(sidecar, _)| world.is_idle(sidecar));
    let entries = world.entries(engine);
    let left = entries.iter().find(|entry| {
        is_at_rest(entry)
            && !is_waited_for(entry)
            && !is_of_a_crash(world, entry)
            && !world.lost.places.contains(*entry)
            && !entry.lines().nth(1).is_some_and(|sending| world.run_late.contains(sending))
    });
    if let Some(entry) = left {
        return violation(PLACES, format!("{entry:?} stands in the queue"));
    }
    let is_told = |token: u64| world.clients.iter().flat_map(|client| &client.told).any(|told| told.0 == token);
    let marks = world.offers(engine);
    let (token, _) = marks.iter().find(|(token, _)| is_told(*token) && !world.lost.leases.contains(token))?;
    violation(PLACES, format!("an offer of {token} is marked, and a client was told of that lease"))
}

/// Once nothing is under way; but for a sidecar whose refusal of the offer may be lost, or the message of it.
fn offers(world: &World, engine: &Engine) -> Option<Violation> {
    if !world.is_at_rest() {
        return None;
    }
    let offered = world.offers(engine);
    let is_heard = |token: Token| {
        let is_of_it = |(of, sidecar): &&(u64, String)| {
            *of == token.get() && !world.cut_off.contains(sidecar.as_str()) && !world.lost.leases.contains(of)
        };
        offered.iter().any(|offer| is_of_it(&offer))
    };
    let lasts = |held: &&Held| held.until_ms - world.now_ms > UNHEARD_OFFER_MS + world.behind_ms;
    let Held { token, until_ms, .. } = world.held.iter().filter(lasts).find(|held| is_heard(held.token))?;
    violation(OFFERS, format!("the lease {token} is on offer until {until_ms} ms, and no client waits"))
}

/// The leases that lie there once nothing is under way and that are on offer to none, but for those that a replica has
/// otherwise than they were.
fn resting<'a>(world: &'a World, engine: &Engine) -> impl Iterator<Item = &'a Held> {
    let offered = if world.is_at_rest() { world.offers(engine) } else { Vec::new() };
    let held = if world.is_at_rest() { world.held.as_slice() } else { &[] };
    held.iter().filter(move |held| {
        let token = held.token.get();
        !held.sendings().any(|sending| world.run_late.contains(sending))
            && !world.lost.leases.contains(&token)
            && offered.iter().all(|(offered, _)| *offered != token)
    })
}

fn untold(world: &World, engine: &Engine) -> Option<Violation> {
    let is_told = |held: &&Held| {
        let tokens = world.clients.iter().flat_map(|client| &client.told).map(|(token, _)| *token);
        tokens.into_iter().any(|token| token == held.token.get())
    };
    let is_of_a_crash =
        |held: &&Held| held.sendings().next().is_some() && held.sendings().all(|sending| is_of_ended(world, sending));
    let Held { token, until_ms, .. } = resting(world, engine).find(|held| !is_told(held) && !is_of_a_crash(held))?;
    violation(UNTOLD, format!("the lease {token} lies there until {until_ms} ms, and no client was told of it"))
}

/// Who was refused, or answered in time by none, has nothing: no lease names a sending that its caller was not told by.
fn told_by(world: &World, engine: &Engine) -> Option<Violation> {
    let is_told = |sending: &str| world.clients.iter().flat_map(|client| &client.told).any(|(_, by)| by == sending);
    resting(world, engine).filter(|held| !held.is_resting).find_map(|held| {
        let untold = held.sendings().find(|sending| !is_told(sending) && !is_of_ended(world, sending))?;
        violation(TRUE, format!("the lease {} names {untold}, whose caller was not told of it", held.token))
    })
}
