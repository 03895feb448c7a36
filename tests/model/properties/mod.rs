//! What must hold in every state, each by its name.

use lockside::lock::{Mode, Token};

use crate::world::{Client, Engine, Held, Promise, World};

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

/// How long an offer lasts whose sidecar does not listen (`UNHEARD_OFFER_MS` in queue.lua): only one that listens declines it.
const UNHEARD_OFFER_MS: i64 = 700;
/// How long a key may be free while a client waits for it, in quiet times: until a look after a lease has expired, or, where
/// a waiter comes back to a queue that is empty, for as long as others may come back to it, too (`REJOIN_MS` in queue.lua).
const FREE_MS: i64 = 310;
/// Where messages are lost or commands are: a look, and what follows it.
const FREE_IN_TROUBLE_MS: i64 = 2_000;

fn violation(property: &'static str, how: String) -> Option<Violation> {
    Some(Violation { property, how })
}

/// The first property that does not hold, if any.
pub fn broken(world: &World, engine: &Engine) -> Option<Violation> {
    let broken = world.broken.clone();
    broken
        .or_else(|| promises(world, engine))
        .or_else(|| exclusive(world))
        .or_else(|| free(world))
        .or_else(|| at_rest(world, engine))
}

fn promises(world: &World, engine: &Engine) -> Option<Violation> {
    let leases = world.leases(engine);
    for client in &world.clients {
        let Some(promise) = &client.promise else { continue };
        let is_of_it = |held: &Held| held.token == promise.token && held.until_ms >= promise.until_ms;
        if !leases.iter().any(is_of_it) && promise.token.get() > world.lost.up_to {
            let Client { owner, .. } = client;
            return violation(
                PROMISES,
                format!("{owner} counts on {} until {} ms, and there is {leases:?}", promise.token, promise.until_ms),
            );
        }
    }
    None
}

fn exclusive(world: &World) -> Option<Violation> {
    let is_looked_at = |promise: &&Promise| promise.token.get() > world.lost.up_to;
    let promises = || world.clients.iter().filter_map(|client| client.promise.as_ref()).filter(is_looked_at);
    let alone = promises().find(|promise| promise.mode == Mode::Exclusive)?;
    let other = promises().find(|promise| promise.token != alone.token)?;
    violation(EXCLUSIVE, format!("{} and {} are counted on at once", alone.token, other.token))
}

fn free(world: &World) -> Option<Violation> {
    let free_ms = world.now_ms - world.free_since?;
    let most_ms = if world.was_in_trouble || !world.has_its_data { FREE_IN_TROUBLE_MS } else { FREE_MS };
    (free_ms > most_ms).then(|| Violation { property: FREE, how: format!("free for {free_ms} ms") })
}

/// What must hold once nothing is under way, but for what a sidecar left that crashed, and for what a replica brought back.
fn at_rest(world: &World, engine: &Engine) -> Option<Violation> {
    if !world.is_at_rest() {
        return None;
    }
    let is_of_a_crash = |entry: &str| world.ended.iter().any(|name| entry.starts_with(&format!("{name}\n")));
    let is_left = |entry: &&String| !is_of_a_crash(entry) && !world.lost.places.contains(*entry);
    if let Some(entry) = world.entries(engine).iter().find(is_left) {
        return violation(PLACES, format!("{entry:?} stands in the queue"));
    }
    let mut leases = world.leases(engine);
    leases.retain(|held| held.token.get() > world.lost.up_to);
    offers(world, engine, &leases).or_else(|| untold(world, engine, &leases))
}

fn offers(world: &World, engine: &Engine, leases: &[Held]) -> Option<Violation> {
    let lasts = |held: &&Held| held.until_ms - world.now_ms > UNHEARD_OFFER_MS;
    let offered = leases.iter().filter(|held| world.is_on_offer(engine, held.token) && !world.was_in_trouble);
    let Held { token, until_ms, .. } = offered.clone().find(lasts)?;
    violation(OFFERS, format!("the lease {token} is on offer until {until_ms} ms, and no client waits"))
}

fn untold(world: &World, engine: &Engine, leases: &[Held]) -> Option<Violation> {
    let is_told = |token: Token| world.clients.iter().any(|client| client.told.contains(&token.get()));
    // Told to a sidecar that crashed, and to no other.
    let has_ended = |sending: &str| world.ended.iter().any(|name| sending.starts_with(name));
    let is_of_a_crash = |held: &&Held| held.by.split([' ', '+']).filter(|by| !by.is_empty()).all(has_ended);
    let mut untold = leases.iter().filter(|held| !is_told(held.token) && !world.is_on_offer(engine, held.token));
    let Held { token, until_ms, .. } = untold.find(|held| !is_of_a_crash(held))?;
    violation(UNTOLD, format!("the lease {token} lies there until {until_ms} ms, and no client was told of it"))
}
