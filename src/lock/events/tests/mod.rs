//! The state of watching by itself: a Redis that is a table, messages that are late or lost, and random interleavings of
//! all that happens.

mod world;

use std::time::Duration;

use super::event::{Effect, Input, Interest, MOST_STATES, What};
use super::message::Word;
use crate::lock::Shard;
use world::{Data, Fixture, key};

/// Longest time until the states that are shown are right again, whatever was lost.
const RIGHT: Duration = Duration::from_secs(3);

/// A small generator whose numbers only have to differ: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn the_state_comes_first_and_then_what_happens_and_how_it_ended() {
    let mut fixture = Fixture::new();
    let first = fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.watch(1, Interest::Key(key("k")));
    fixture.watch(2, Interest::Prefix("k".to_owned()));
    fixture.settle(Duration::from_millis(50));
    fixture.assert_right("at the beginning");
    assert_eq!(fixture.reader(1).changes, []);

    fixture.world.end(&key("k"), Word::Released);
    fixture.settle(Duration::from_millis(20));
    let second = fixture.world.grant(&key("k"), Duration::from_millis(500));
    fixture.settle(Duration::from_millis(600));
    let third = fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(20));
    fixture.world.end(&key("k"), Word::Forced);
    fixture.settle(Duration::from_millis(20));

    let expected = [
        (What::Released, Some(first)),
        (What::Granted, Some(second)),
        (What::Expired, Some(second)),
        (What::Granted, Some(third)),
        (What::Forced, Some(third)),
    ];
    for stream in [1, 2] {
        assert_eq!((&fixture.reader(stream).changes[..], fixture.reader(stream).gaps), (&expected[..], 0));
    }
    fixture.handle(Input::Unwatch { stream: 1 });
    fixture.handle(Input::Unwatch { stream: 2 });
    assert!(fixture.state.is_empty() && fixture.state.next_due().is_none());
}

#[test]
fn a_lost_message_is_a_gap_within_two_seconds_and_the_state_follows() {
    for is_followed in [false, true] {
        let mut fixture = Fixture::new();
        fixture.watch(1, Interest::Key(key("k")));
        fixture.settle(Duration::from_millis(50));
        fixture.world.grant(&key("k"), Duration::from_secs(60));
        fixture.world.messages.clear();
        if is_followed {
            fixture.world.tell(&key("k"), Word::Waiting, None);
        }

        fixture.settle(Duration::from_secs(2));

        assert_eq!(fixture.reader(1).gaps, 1);
        fixture.assert_right("behind the gap");
    }
}

#[test]
fn data_that_is_lost_and_a_replica_that_is_behind_are_gaps() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Prefix(String::new()));
    fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(50));
    fixture.world.replica = fixture.world.data.clone();
    fixture.world.grant(&key("l"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(50));

    fixture.world.data = Data::default();
    fixture.settle(Duration::from_secs(2));
    assert_eq!(fixture.reader(1).gaps, 1);
    fixture.assert_right("without data");

    // No connection broke, as far as it was noticed.
    fixture.world.data = fixture.world.replica.clone();
    fixture.settle(Duration::from_secs(2));
    fixture.assert_right("with the data of the replica");
    assert_eq!(fixture.reader(1).gaps, 2);
}

#[test]
fn a_reader_that_is_behind_is_told_nothing_until_it_has_caught_up() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Key(key("k")));
    fixture.watch(2, Interest::Key(key("k")));
    fixture.settle(Duration::from_millis(50));
    fixture.handle(Input::Behind { stream: 2 });
    fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(50));
    assert_eq!((fixture.reader(1).changes.len(), fixture.reader(2).changes.len()), (1, 0));

    fixture.handle(Input::CaughtUp { stream: 2 });

    assert_eq!((fixture.reader(1).gaps, fixture.reader(2).gaps), (0, 1));
    fixture.assert_right("caught up");
}

#[test]
fn what_nothing_tells_of_is_found_within_half_a_minute() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Prefix("k".to_owned()));
    fixture.settle(Duration::from_millis(50));
    fixture.world.is_older = true;
    fixture.world.grant(&key("k-1"), Duration::from_secs(600));
    fixture.settle(Duration::from_secs(31));
    fixture.assert_right("in the end");
    assert_eq!(fixture.reader(1).gaps, 0);
}

#[test]
fn a_message_that_is_heard_before_the_answer_to_an_older_look_is_not_forgotten() {
    for interest in [Interest::Key(key("k")), Interest::Prefix("k".to_owned())] {
        let mut fixture = Fixture::new();
        fixture.watch(1, interest);
        fixture.due();
        while !fixture.world.asked.is_empty() {
            fixture.world.run(0, false);
        }
        for answer in std::mem::take(&mut fixture.world.answers) {
            fixture.handle(answer);
        }
        // The looks are done by Redis; their answers are on their way.
        while !fixture.world.asked.is_empty() {
            fixture.world.run(0, false);
        }
        fixture.world.grant(&key("k"), Duration::from_secs(60));
        let message = fixture.world.messages.pop_front().expect("it is marked");
        fixture.handle(Input::Told(message));
        for answer in std::mem::take(&mut fixture.world.answers) {
            fixture.handle(answer);
        }

        fixture.settle(RIGHT);

        fixture.assert_right("after a message");
    }
}

#[test]
fn of_a_prefix_that_is_too_large_no_more_is_found_than_of_the_largest_that_is_not() {
    let mut fixture = Fixture::new();
    for number in 0..MOST_STATES + 2_000 {
        fixture.world.grant(&key(&format!("k-{number}")), Duration::from_secs(600));
    }
    fixture.watch(1, Interest::Prefix("k".to_owned()));
    fixture.due();
    fixture.world.run(0, false);
    let marked = fixture.world.answers.remove(0);
    fixture.handle(marked);
    assert_eq!(fixture.world.asked.len(), Shard::all().count());

    // All shards are looked at before the first answer is there.
    while !fixture.world.asked.is_empty() {
        fixture.world.run(0, false);
    }

    let found = fixture.world.answers.iter().map(|answer| match answer {
        Input::Looked { found, .. } => found.looks.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(found.sum::<usize>(), MOST_STATES);
    for answer in std::mem::take(&mut fixture.world.answers) {
        fixture.handle(answer);
    }
    assert!(fixture.reader(1).is_refused && !fixture.reader(1).is_synced);
}

#[test]
fn a_stream_that_joins_a_prefix_that_is_too_large_is_told_so() {
    let mut fixture = Fixture::new();
    for number in 0..=MOST_STATES {
        fixture.world.grant(&key(&format!("k-{number}")), Duration::from_secs(600));
    }
    fixture.watch(1, Interest::Prefix("k".to_owned()));
    fixture.settle(Duration::from_millis(50));
    assert!(fixture.reader(1).is_refused);

    fixture.watch(2, Interest::Prefix("k".to_owned()));
    fixture.handle(Input::Unwatch { stream: 1 });

    assert!(fixture.reader(2).is_refused);
}

#[test]
fn lost_messages_do_not_make_it_look_at_all_again_and_again() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Key(key("k")));
    fixture.settle(Duration::from_millis(50));
    let mut looks = 0;
    for _ in 0..1000 {
        fixture.world.now += Duration::from_millis(1);
        fixture.world.tell(&key("k"), Word::Waiting, None);
        fixture.world.messages.clear();
        fixture.world.tell(&key("k"), Word::Waiting, None);
        while let Some(message) = fixture.world.messages.pop_front() {
            fixture.handle(Input::Told(message));
        }
        fixture.due();
        while !fixture.world.asked.is_empty() {
            looks += usize::from(matches!(fixture.world.asked[0], Effect::Look { .. }));
            fixture.world.run(0, false);
        }
        for answer in std::mem::take(&mut fixture.world.answers) {
            fixture.handle(answer);
        }
    }
    assert!(looks < 20, "{looks} looks and {} gaps in a second", fixture.reader(1).gaps);
}

#[test]
fn shards_are_looked_at_in_turn_and_not_all_at_once() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Prefix("k".to_owned()));
    fixture.settle(Duration::from_millis(50));
    let (mut looks, mut at_once) = (0, 0);
    for _ in 0..3_000 {
        fixture.world.now += Duration::from_millis(10);
        fixture.due();
        let asked = fixture.world.asked.iter().filter(|effect| matches!(effect, Effect::Look { .. })).count();
        (looks, at_once) = (looks + asked, at_once.max(asked));
        fixture.deliver();
    }
    assert!(looks >= Shard::all().count() && at_once <= 2, "{looks} looks, {at_once} of them at once");
}

#[test]
fn while_a_mark_is_looked_at_nothing_is_due() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Key(key("k")));
    fixture.due();
    assert!(matches!(fixture.world.asked[..], [Effect::Mark(_)]));
    assert_eq!(fixture.state.next_due(), None, "else the driver would not sleep, were there no answer for long");
}

/// Whatever happens in whatever order, what is shown is what Redis had, and is right within [`RIGHT`] of the last event.
#[test]
fn random_interleavings_end_in_the_state_that_redis_has() {
    let names = ["k-1", "k-2", "k-3", "l-1"].map(key);
    for seed in 1..=60_u64 {
        let (mut dice, mut fixture) = (Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)), Fixture::new());
        fixture.watch(1, Interest::Key(names[0].clone()));
        fixture.watch(2, Interest::Prefix("k".to_owned()));
        let mut is_away = false;
        for step in 0..300_u64 {
            fixture.world.now += Duration::from_millis(dice.roll(60));
            fixture.world.expire();
            let name = names[dice.roll(4) as usize].clone();
            match dice.roll(16) {
                0..=2 if !fixture.world.data.leases.contains_key(&name) => {
                    fixture.world.grant(&name, Duration::from_millis(50 + dice.roll(3000)));
                }
                3 => fixture.world.end(&name, Word::Released),
                4 => fixture.world.end(&name, Word::Forced),
                5 => {
                    let (now, more) = (fixture.world.now, Duration::from_millis(dice.roll(2000) + 50));
                    if let Some((_, end)) = fixture.world.data.leases.get_mut(&name) {
                        *end = (*end).max(now + more);
                    }
                }
                6 if dice.roll(3) == 0 => drop(fixture.world.messages.pop_front()),
                7 if dice.roll(12) == 0 => fixture.world.data = Data::default(),
                8 if dice.roll(4) == 0 => fixture.world.replica = fixture.world.data.clone(),
                9 if dice.roll(12) == 0 => {
                    fixture.world.data = fixture.world.replica.clone();
                    fixture.world.messages.clear();
                    fixture.handle(Input::Gap);
                }
                10 if dice.roll(10) == 0 => is_away = !is_away,
                11 if dice.roll(4) == 0 => {
                    let prefix = ["k-", "k-1", "", "l"][dice.roll(4) as usize];
                    fixture.watch(100 + step, Interest::Prefix(prefix.to_owned()));
                }
                12 if dice.roll(4) == 0 => {
                    if let Some(stream) = fixture.readers.keys().find(|stream| **stream >= 100).copied() {
                        fixture.readers.remove(&stream);
                        fixture.handle(Input::Unwatch { stream });
                    }
                }
                _ => {}
            }
            fixture.due();
            while !fixture.world.asked.is_empty() && dice.roll(3) > 0 {
                let at = dice.roll(fixture.world.asked.len() as u64) as usize;
                fixture.world.run(at, is_away);
            }
            while dice.roll(3) > 0 {
                let Some(message) = fixture.world.messages.pop_front() else { break };
                fixture.handle(Input::Told(message));
            }
            while !fixture.world.answers.is_empty() && dice.roll(3) > 0 {
                let at = dice.roll(fixture.world.answers.len() as u64) as usize;
                let answer = fixture.world.answers.remove(at);
                fixture.handle(answer);
            }
        }
        fixture.settle(RIGHT);
        fixture.assert_right(&format!("seed {seed}"));
    }
}
