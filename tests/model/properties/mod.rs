//! What must hold in every state, each by its name.

use crate::world::{Client, Engine, World};

/// A property that does not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    pub property: &'static str,
    pub how: String,
}

/// Each live promise has its lease in Redis, for at least as long.
pub const PROMISES: &str = "each live promise has its lease in Redis, for at least as long";
/// At most one exclusive promise a key.
pub const EXCLUSIVE: &str = "at most one exclusive promise a key";
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
    let lease = world.lease(engine);
    for client in &world.clients {
        let Some(promise) = &client.promise else { continue };
        let is_there =
            lease.as_ref().is_some_and(|(token, until_ms)| *token == promise.token && *until_ms >= promise.until_ms);
        if !is_there && world.has_its_data {
            let there = match &lease {
                Some((token, until_ms)) => format!("the lease {token} lies there until {until_ms}"),
                None => "no lease lies there".to_owned(),
            };
            let Client { owner, .. } = client;
            return violation(
                PROMISES,
                format!("{owner} counts on {} until {} ms, and {there}", promise.token, promise.until_ms),
            );
        }
    }
    None
}

fn exclusive(world: &World) -> Option<Violation> {
    let mut tokens: Vec<_> = world.clients.iter().filter_map(|client| Some(client.promise.as_ref()?.token)).collect();
    tokens.sort_unstable();
    tokens.dedup();
    if tokens.len() > 1 && world.has_its_data {
        return violation(EXCLUSIVE, format!("{tokens:?} are counted on at once"));
    }
    None
}

fn free(world: &World) -> Option<Violation> {
    let free_ms = world.now_ms - world.free_since?;
    let most_ms = if world.was_in_trouble || !world.has_its_data { FREE_IN_TROUBLE_MS } else { FREE_MS };
    (free_ms > most_ms).then(|| Violation { property: FREE, how: format!("free for {free_ms} ms") })
}

/// What must hold once nothing is under way.
fn at_rest(world: &World, engine: &Engine) -> Option<Violation> {
    if !world.is_at_rest() {
        return None;
    }
    if let Some(entry) = world.entries(engine).first() {
        return violation(PLACES, format!("{entry:?} stands in the queue"));
    }
    let (token, until_ms) = world.lease(engine)?;
    let is_told = world.clients.iter().any(|client| client.told == Some(token.get()));
    if !is_told && !world.is_on_offer(engine, token) {
        return violation(
            UNTOLD,
            format!("the lease {token} lies there until {until_ms} ms, and no client was told of it"),
        );
    }
    None
}
