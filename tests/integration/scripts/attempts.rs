//! Attempts that their nonce names: sent twice they act once, and an undo takes back what they were granted, and no more.

use super::{Attempt, Space, word};

#[test]
fn an_acquire_sent_twice_acts_once() {
    let mut space = Space::shared();
    let attempt = Attempt::of("k", "alice", "n-1");
    let token = space.granted(&attempt);
    let (name, last) = (space.tokens(), space.last());

    for _ in 0..3 {
        let row = space.acquire(&attempt).unwrap();
        assert_eq!(word(&row), "replayed");
        assert!(row[1].starts_with(&format!("{{\"token\":\"{token}\",")), "{row:?}");
    }
    assert_eq!((space.last(), last), (last, Some(token)), "no token was drawn");
    assert_eq!(space.ask::<u64>("ZCARD", &[&name]), 2, "the key, and the last token");
}

#[test]
fn undo_takes_back_the_grant_and_its_index_entry() {
    let mut space = Space::shared();
    let attempt = Attempt::of("k", "alice", "n-1");
    space.granted(&attempt);

    assert_eq!(space.undo(&attempt).unwrap(), ["undone"]);

    assert_eq!((space.lease("k"), space.indexed("k")), (None, None));
    assert_eq!(space.undo(&attempt).unwrap(), ["nothing"], "twice");
}

#[test]
fn undo_of_an_attempt_without_a_lease_touches_nobody_elses() {
    let mut space = Space::shared();
    assert_eq!(space.undo(&Attempt::of("k", "alice", "n-1")).unwrap(), ["nothing"]);
    space.granted(&Attempt::of("k", "alice", "n-1"));
    let contents = space.contents();

    for (user, nonce) in [("alice", "n-2"), ("bob", "n-1"), ("alice", "n-"), ("alice", "n-11")] {
        assert_eq!(space.undo(&Attempt::of("k", user, nonce)).unwrap(), ["nothing"], "{user} {nonce}");
    }
    assert_eq!(space.contents(), contents);
}

#[test]
fn undo_of_an_attempt_that_was_told_of_its_owners_lease_leaves_it_to_the_first() {
    let mut space = Space::shared();
    let first = Attempt::of("k", "alice", "n-1");
    let second = Attempt { own: "extend", ..Attempt::of("k", "alice", "n-2") };
    let token = space.granted(&first);
    assert_eq!(word(&space.acquire(&second).unwrap()), "renewed");

    assert_eq!(space.undo(&second).unwrap(), ["told"]);
    assert_eq!(space.undo(&second).unwrap(), ["nothing"], "twice");
    assert_eq!(space.indexed("k"), Some(token));

    assert_eq!(space.undo(&first).unwrap(), ["undone"]);
}

#[test]
fn after_its_end_an_attempt_is_an_ordinary_one() {
    let mut space = Space::shared();
    let attempt = Attempt::of("k", "alice", "n-1");
    let first = space.granted(&attempt);
    space.release("k", Some(first), &attempt.identity).unwrap();

    let second = space.granted(&attempt);

    assert!(second > first, "{second} after {first}");
}
