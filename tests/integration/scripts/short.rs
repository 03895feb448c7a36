//! The short ways of `batch.lua`: what is asked for at random is answered, and leaves behind, what it does by the
//! operation's own script.

use std::time::{Duration, Instant};

use super::batch::Together;
use super::{Attempt, RELEASE, RENEW, Space, identity_of};

const KEYS: [&str; 2] = ["a", "b"];
const STEPS: usize = 14;
/// Well below the shortest offer of a key to a waiter.
const AT_ONCE: Duration = Duration::from_millis(400);

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn of<T: Clone>(&mut self, some: &[T]) -> T {
        some[self.below(some.len())].clone()
    }
}

/// What happens to both spaces. A token is named by its place among those that were granted; no place: none.
#[derive(Debug)]
enum Step {
    Acquire(Attempt),
    Release {
        key: &'static str,
        token: usize,
        identity: String,
        sending: &'static str,
        rest_ms: &'static str,
    },
    Renew {
        key: &'static str,
        token: usize,
        identity: String,
        ttl_ms: &'static str,
        how: [&'static str; 2],
    },
    /// Not by lockside's scripts.
    Set(&'static str, &'static str),
    Expires(&'static str),
    Waits(&'static str, String),
    Removes(&'static str),
}

fn step(random: &mut Random, granted: usize) -> Step {
    let key = random.of(&KEYS);
    let identity = identity_of(random.of(&["alice", "bo\"b,"]));
    // Mostly the last.
    let token = if random.below(4) == 0 { random.below(granted + 1) } else { granted.saturating_sub(1) };
    match random.below(12) {
        0..=3 => Step::Acquire(Attempt {
            identity,
            own: random.of(&["refuse", "refuse", "extend"]),
            request: random.of(&["", "", "r-1", "r-2"]),
            ttl_ms: random.of(&[20_000, 60_000, 90_000]),
            further: random
                .of(&[
                    "",
                    "",
                    ",\"meta\":\"{\\\"a\\\":1}\"",
                    ",\"hold\":\"s-1\"",
                    ",\"mode\":\"shared\"",
                    ",\"mode\":\"shared\"",
                    ",\"mode\":\"shared\",\"limit\":\"2\",\"label\":\"A\"",
                    ",\"terms\":\"ttl=20000 delay=0 min=70000 max=0\"",
                    ",\"terms\":\"ttl=50000 delay=9000 min=0 max=80000\"",
                ])
                .to_owned(),
            ..Attempt::of(key, "", random.of(&["n-1", "n-2"]))
        }),
        4 | 5 => {
            let (sending, rest_ms) = random.of(&[("", ""), ("", ""), ("n-1", ""), ("", "30000")]);
            Step::Release { key, token, identity, sending, rest_ms }
        }
        6..=8 => {
            let how = random.of(&[["set", ""], ["set", ""], ["extend", "n-1"], ["take", "n-2"]]);
            Step::Renew { key, token, identity, ttl_ms: random.of(&["", "20000", "60000", "90000"]), how }
        }
        9 => match random.below(4) {
            0 => Step::Expires(key),
            1 => Step::Set(key, "{\"token\":\"what another program wrote"),
            2 => Step::Set(key, "another program's"),
            _ => Step::Removes(key),
        },
        10 => Step::Removes(key),
        _ => Step::Waits(key, format!("s-0\nw-1\n60000\n{identity}\"nonce\":\"n-3\",\n")),
    }
}

impl Step {
    /// The row, or the error; nothing where it was no operation.
    fn take(&self, space: &mut Space, tokens: &mut Vec<u64>, is_short: bool) -> Result<Vec<String>, String> {
        let spelled = |token: &usize| tokens.get(*token).map(u64::to_string).unwrap_or_default();
        let row = match self {
            Step::Acquire(attempt) if is_short => together(space, |all, space| all.acquire(space, attempt)),
            Step::Acquire(attempt) if attempt.shares() => space.share(attempt)?,
            Step::Acquire(attempt) => space.acquire(attempt)?,
            Step::Release { key, token, identity, sending, rest_ms } => {
                let args = [&spelled(token), identity.as_str(), sending, rest_ms, ""];
                match is_short {
                    true => together(space, |all, space| all.operation(space, "release", key, &args)),
                    false => space.run_in_line(RELEASE, key, 0, &[&args[..], &[""]].concat())?,
                }
            }
            Step::Renew { key, token, identity, ttl_ms, how: [how, sending] } => {
                let token = spelled(token);
                match is_short {
                    true => {
                        together(space, |all, space| all.renew(space, [key, &token, identity, ttl_ms, how, sending]))
                    }
                    false => {
                        let keys = [space.lock(key), space.queue(key), space.forced(key), space.watch()];
                        let push = space.push();
                        space.run(RENEW, &keys, &[key, &token, identity, ttl_ms, &push, how, sending, "", ""])?
                    }
                }
            }
            Step::Set(key, text) => space.change(&["SET", &space.lock(key), text]),
            Step::Expires(key) => space.change(&["DEL", &space.lock(key)]),
            Step::Waits(key, entry) => space.change(&["ZADD", &space.queue(key), "7", entry]),
            Step::Removes(key) => space.change(&["DEL", &space.queue(key)]),
        };
        if row.first().is_some_and(|word| word == "granted") {
            tokens.push(row[1].parse().unwrap());
        }
        Ok(row)
    }
}

impl Space {
    /// What lockside's scripts have no part in.
    fn change(&mut self, command: &[&str]) -> Vec<String> {
        self.ask::<redis::Value>(command[0], &command[1..]);
        Vec::new()
    }
}

fn together(space: &mut Space, add: impl FnOnce(&mut Together, &Space)) -> Vec<String> {
    let mut all = Together::default();
    add(&mut all, space);
    all.run(space).remove(0)
}

/// The tokens that the index has of a key.
fn indexed(space: &mut Space, key: &str) -> Vec<u64> {
    let tokens = space.tokens();
    let entries: Vec<(Vec<u8>, u64)> = space.ask("ZRANGE", &[&tokens, "0", "-1", "WITHSCORES"]);
    let is_of_key = |name: &[u8]| name.split(|byte| *byte == b'\n').next() == Some(key.as_bytes());
    entries.into_iter().filter(|(name, _)| is_of_key(name)).map(|(_, token)| token).collect()
}

/// What lies in the space, of each key.
fn state(space: &mut Space) -> Vec<String> {
    let mut state = Vec::new();
    for key in KEYS {
        let (lock, queue) = (space.lock(key), space.queue(key));
        let lease = match space.ask::<String>("TYPE", &[&lock]).as_str() {
            "zset" => space.ask::<Vec<String>>("ZRANGE", &[&lock, "0", "-1", "WITHSCORES"]).join(" "),
            _ => space.ask::<Option<String>>("GET", &[&lock]).unwrap_or_default(),
        };
        let waiters: Vec<String> = space.ask("ZRANGE", &[&queue, "0", "-1", "WITHSCORES"]);
        state.extend([lease, space.valid_until(key).to_string()]);
        state.extend(indexed(space, key).iter().map(u64::to_string));
        state.extend(waiters);
    }
    state
}

/// A text with its tokens by their place, and times and what is left of them to the tens of seconds.
fn alike(text: &str, tokens: &[u64], begun_ms: u64) -> String {
    let mut words = Vec::new();
    for part in text.split_inclusive(|character: char| !character.is_ascii_digit()) {
        let number = part.trim_end_matches(|character: char| !character.is_ascii_digit());
        let word = match number.parse::<u64>() {
            Ok(token) if tokens.contains(&token) => format!("token {:?}", tokens.iter().position(|one| *one == token)),
            Ok(time_ms) if number.len() == 13 => format!("in {}", (time_ms + 5_000 - begun_ms) / 10_000),
            Ok(left_ms) if number.len() > 3 => format!("left {}", (left_ms + 5_000) / 10_000),
            _ => number.to_owned(),
        };
        words.extend([word, part[number.len()..].to_owned()]);
    }
    words.concat()
}

#[test]
fn a_short_way_answers_and_leaves_behind_what_the_whole_operation_does() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut sides = [(Space::shared(), Vec::new(), true), (Space::shared(), Vec::new(), false)];
        let begun_ms = u64::try_from(sides[0].0.now_ms()).unwrap();
        let begun = Instant::now();
        let mut steps = Vec::new();
        for _ in 0..STEPS {
            steps.push(step(&mut random, sides[0].1.len()));
            let seen = sides.each_mut().map(|(space, tokens, is_short)| {
                let row = steps.last().unwrap().take(space, tokens, *is_short);
                // Tokens that were granted to a waiter are known by where they lie.
                let state = state(space);
                tokens.extend(
                    KEYS.iter()
                        .flat_map(|key| indexed(space, key))
                        .filter(|token| !tokens.contains(token))
                        .collect::<Vec<_>>(),
                );
                let texts = row.unwrap_or_else(|error| vec![error]).into_iter().chain(state);
                texts.map(|text| alike(&text, tokens, begun_ms)).collect::<Vec<_>>()
            });
            if begun.elapsed() > AT_ONCE {
                break; // The machine is busy: an offer may lapse on one side only.
            }
            assert_eq!(seen[0], seen[1], "seed {seed}: {steps:#?}");
        }
    }
}
