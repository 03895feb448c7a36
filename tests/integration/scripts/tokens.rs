//! The rules of tokens, where they are made.

use super::{Attempt, SHARD, Space};
use crate::harness::TestRedis;

/// Sequences, and so tokens, must stay below this.
const SEQUENCES: u64 = 1 << 47;

fn sequence_of(token: u64) -> u64 {
    assert_eq!(token % 64, SHARD, "the last six bits of {token}");
    token / 64
}

/// Grants and releases a key; its token.
fn turn(space: &mut Space, attempt: &Attempt) -> u64 {
    let token = space.granted(attempt);
    assert_eq!(space.release(&attempt.key, Some(token), &attempt.identity).unwrap(), ["released"]);
    token
}

#[test]
fn a_token_is_the_instant_and_the_shard() {
    let mut space = Space::shared();
    let row = space.acquire(&Attempt::of("k", "alice", "n-1")).unwrap();
    let (token, since): (u64, u64) = (row[1].parse().unwrap(), row[2].parse().unwrap());

    assert_eq!(sequence_of(token) / 64, since - 1_735_689_600_000);
}

#[test]
fn tokens_rise_within_a_shard_whatever_the_key() {
    let mut space = Space::shared();
    let mut last = 0;
    for round in 0..300 {
        let token = turn(&mut space, &Attempt::of(&format!("k-{}", round % 3), "alice", "n"));
        assert!(token > last, "{token} after {last}");
        last = token;
    }
    assert_eq!(space.last(), Some(last));
}

#[test]
fn tokens_rise_when_redis_has_lost_everything() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let before = space.granted(&Attempt::of("k", "alice", "n-1"));
    space.ask::<String>("FLUSHALL", &[]);

    let after = space.granted(&Attempt::of("k", "bob", "n-2"));

    assert!(after > before, "{after} after {before}");
}

#[test]
fn tokens_rise_when_redis_was_restarted_without_persistence() {
    let mut redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let before = space.granted(&Attempt::of("k", "alice", "n-1"));
    redis.kill();
    redis.up();
    space.connection = redis.connection();

    let after = space.granted(&Attempt::of("k", "bob", "n-2"));

    assert!(after > before, "{after} after {before}");
}

#[test]
fn a_renewal_and_a_replay_keep_the_token() {
    let mut space = Space::shared();
    let attempt = Attempt::of("k", "alice", "n-1");
    let token = space.granted(&attempt);
    let beginning = format!("{{\"token\":\"{token}\",");

    space.renew("k", token, &attempt.identity, 90_000).unwrap();
    space.acquire(&attempt).unwrap();
    space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", "n-2") }).unwrap();

    assert!(space.lease("k").unwrap().starts_with(&beginning));
    assert_eq!(space.indexed("k"), Some(token));
}

#[test]
fn every_new_token_exceeds_the_floor_even_one_far_in_the_future() {
    let mut space = Space::shared();
    let floor = SEQUENCES / 2;

    assert_eq!(sequence_of(turn(&mut space, &Attempt { floor, ..Attempt::of("k", "a", "n-1") })), floor + 1);
    assert_eq!(sequence_of(turn(&mut space, &Attempt { floor, ..Attempt::of("k", "a", "n-2") })), floor + 2);
    assert_eq!(sequence_of(turn(&mut space, &Attempt::of("k", "a", "n-3"))), floor + 3, "a caller without that floor");
}

#[test]
fn a_stored_sequence_ahead_of_the_clock_goes_on_from_there() {
    let mut space = Space::shared();
    let ahead = SEQUENCES - 3;
    space.set_last(&(ahead * 64 + SHARD).to_string());

    let token = turn(&mut space, &Attempt::of("k", "alice", "n-1"));

    assert_eq!(sequence_of(token), ahead + 1);
    assert_eq!(token, (SEQUENCES - 2) * 64 + SHARD, "exact near 2^53");
    assert_eq!(space.last(), Some(token));
}

#[test]
fn a_last_token_that_none_of_ours_is_leaves_the_shard_in_the_next_one() {
    for (score, sequence) in [("-5", None), ("4480000000000000.5", Some(70_000_000_000_001))] {
        let mut space = Space::shared();
        space.set_last(score);

        let token = turn(&mut space, &Attempt::of("k", "alice", "n-1"));

        assert_eq!((token % 64, space.last()), (SHARD, Some(token)));
        assert!(sequence.is_none_or(|sequence| sequence_of(token) == sequence), "{score}");
    }
}

#[test]
fn a_used_up_sequence_grants_nothing_and_says_so() {
    let last = SEQUENCES - 1;
    for stored in [(last * 64).to_string(), (SEQUENCES * 64).to_string(), "1e300".to_owned(), "inf".to_owned()] {
        let mut space = Space::shared();
        space.set_last(&stored);

        let error = space.acquire(&Attempt::of("k", "alice", "n-1")).unwrap_err();

        assert!(error.contains("used up"), "{error}");
        assert_eq!((space.lease("k"), space.indexed("k")), (None, None), "{stored}");
        assert!(space.acquire(&Attempt::of("k", "alice", "n-2")).is_err(), "never falls back: {stored}");
    }
    let mut space = Space::shared();
    assert!(space.acquire(&Attempt { floor: last, ..Attempt::of("k", "alice", "n-1") }).is_err());
    assert!(space.contents().is_empty());
}

#[test]
fn the_greatest_token_is_still_granted() {
    let mut space = Space::shared();

    let token = space.granted(&Attempt { floor: SEQUENCES - 2, ..Attempt::of("k", "alice", "n-1") });

    assert_eq!(token, (SEQUENCES - 1) * 64 + SHARD);
    assert_eq!(space.indexed("k"), Some(token));
    assert_eq!(space.release("k", Some(token), &super::identity_of("alice")).unwrap(), ["released"]);
}
