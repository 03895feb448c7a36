//! Who stands first before a key that leases share: one whose sidecar is not there keeps none from it, and one that has a
//! lease already asks for that instead of waiting for a second.

use std::time::{Duration, Instant};

use super::queue::Subscriber;
use super::shared::shared;
use super::{Attempt, Space, identity_of, word};

/// For how long a waiter's process is taken to be there since its last look, milliseconds; as `lua/queue.lua` has it.
const ALIVE_MS: u64 = 1_900;

/// A waiter of this owner's; `attempt` as its lease would spell it, `further` as its sidecar does.
fn waiter(sidecar: &str, id: &str, owner: &str, attempt: &str, further: &str) -> String {
    format!("{sidecar}\n{id}\n60000\n{}\n{attempt}\n{further}", identity_of(owner))
}

/// A waiter that is its owner's only one, `limit` as its request has it; without one it wants the key alone.
fn one(sidecar: &str, id: &str, limit: Option<Option<u64>>) -> String {
    waiter(sidecar, id, id, &format!("\"nonce\":\"{id}\","), &limit.map(shared).unwrap_or_default())
}

/// The words for the sidecar `a-0`, and whom each is for.
fn told(heard: &Subscriber, space: &mut Space) -> Vec<(String, String)> {
    let messages = heard.so_far(space, "a-0").into_iter();
    messages.filter(|words| words[0] != "offer").map(|words| (words[0].clone(), words[2].clone())).collect()
}

fn words(told: &[(String, String)]) -> Vec<(&str, &str)> {
    told.iter().map(|(word, id)| (word.as_str(), id.as_str())).collect()
}

#[test]
fn a_first_waiter_whose_process_does_not_look_keeps_those_behind_it_waiting_for_two_seconds_at_most() {
    // Such as wants the key alone, and such as has a limit that is reached.
    for limit in [None, Some(Some(1))] {
        let mut space = Space::shared();
        let heard = Subscriber::of(&space, "a-0");
        space.shares(&Attempt::sharing("alice", "n-1", None));
        let begun = Instant::now();
        space.wait(&one("dead-0", "w1", limit), "");
        space.wait(&one("dead-1", "w2", limit), "");
        let behind = one("a-0", "r1", Some(None));
        space.wait(&behind, "");

        let row = space.advance("a", std::slice::from_ref(&behind));

        assert_eq!((word(&row), &*row[5]), ("shared", "2"));
        let look_ms: u64 = row[4].parse().unwrap();
        assert!((1..=ALIVE_MS).contains(&look_ms), "{row:?}");
        assert_eq!(space.line(), ["w1", "w2", "r1"]);
        assert_eq!(space.refused(&Attempt::sharing("bob", "n-2", None)), ("queue".to_owned(), 1));

        std::thread::sleep(Duration::from_millis(look_ms + 3));
        space.advance("a", &[behind]);

        assert_eq!(words(&told(&heard, &mut space)), [("turn", "r1")]);
        assert!(begun.elapsed() >= Duration::from_millis(ALIVE_MS));
        assert_eq!(space.line(), Vec::<String>::new(), "all of that process");
        space.shares(&Attempt::sharing("carol", "n-3", None));
    }
}

#[test]
fn one_who_comes_later_is_not_kept_out_by_a_waiter_of_a_dead_process_either() {
    let mut space = Space::shared();
    space.shares(&Attempt::sharing("alice", "n-1", None));
    space.wait(&one("dead-0", "w1", None), "");
    assert_eq!(space.refused(&Attempt::sharing("bob", "n-2", None)), ("queue".to_owned(), 1));
    std::thread::sleep(Duration::from_millis(ALIVE_MS + 10));
    space.shares(&Attempt::sharing("bob", "n-2", None));
    assert_eq!(space.line(), Vec::<String>::new());
}

#[test]
fn a_first_waiter_whose_process_looks_keeps_its_place_and_its_mark_goes_with_it() {
    let mut space = Space::shared();
    let alice = space.shares(&Attempt::sharing("alice", "n-1", None));
    let (first, behind) = (one("b-0", "w1", None), one("a-0", "r1", Some(None)));
    space.wait(&first, "");
    space.wait(&behind, "");
    let heard = Subscriber::of(&space, "b-0");
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(700));
        space.advance("b", std::slice::from_ref(&first));
        space.advance("a", std::slice::from_ref(&behind));
        assert_eq!(space.line(), ["w1", "r1"]);
    }
    let queue = space.queue("k");
    assert_eq!(space.ask::<u64>("ZCOUNT", &[&queue, "-inf", "(0"]), 1, "when b was last heard of");

    space.release("k", Some(alice), &identity_of("alice")).unwrap();

    let turn = heard.next();
    assert_eq!((&*turn[0], &*turn[2]), ("turn", "w1"));
    assert_eq!(space.ask::<u64>("ZCOUNT", &[&queue, "-inf", "(0"]), 0);
}

#[test]
fn one_attempt_that_waits_twice_has_one_share_and_its_other_sending_asks_for_it() {
    for limit in [None, Some(1), Some(2)] {
        let mut space = Space::shared();
        let heard = Subscriber::of(&space, "a-0");
        let token = space.granted(&Attempt::of("k", "alice", "n-1"));
        for id in ["s1", "s2"] {
            let attempt = format!("\"nonce\":\"n-2\",\"by\":\"{id}\",");
            space.wait(&waiter("a-0", id, "bob", &attempt, &shared(limit)), "");
        }

        space.release("k", Some(token), &identity_of("alice")).unwrap();

        assert_eq!(words(&told(&heard, &mut space)), [("turn", "s1"), ("again", "s2")], "{limit:?}");
        assert_eq!(space.line(), ["s2"], "until it leaves by itself");
    }
}

#[test]
fn a_re_entrant_waiter_whose_owner_shares_the_key_asks_for_that_lease_and_so_does_one_that_wants_it_alone() {
    for wants in [shared(None), shared(Some(1)), String::new()] {
        let mut space = Space::shared();
        let heard = Subscriber::of(&space, "a-0");
        let token = space.granted(&Attempt::of("k", "alice", "n-1"));
        let re_entrant = |further: &str| format!("{further},\"own\":\"extend\"");
        for (id, further) in [("w1", shared(None)), ("w2", wants)] {
            space.wait(&waiter("a-0", id, "bob", &format!("\"nonce\":\"{id}\","), &re_entrant(&further)), "");
        }

        space.release("k", Some(token), &identity_of("alice")).unwrap();

        assert_eq!(words(&told(&heard, &mut space)), [("turn", "w1"), ("again", "w2")]);
        let (lock, lease) = (space.lock("k"), "\"own\"");
        let members: Vec<String> = space.ask("ZRANGE", &[&lock, "0", "-1"]);
        assert!(!members.iter().any(|member| member.contains(lease)), "it is no part of a lease: {members:?}");
    }
}

#[test]
fn a_look_says_which_waiters_have_a_share_wherever_they_stand() {
    let mut space = Space::shared();
    space.shares(&Attempt::sharing("alice", "n-1", None));
    let first = one("a-0", "w1", None);
    let own = waiter("a-0", "w2", "alice", "\"nonce\":\"w2\",", ",\"own\":\"extend\"");
    let other = waiter("a-0", "w3", "carol", "\"nonce\":\"w3\",", ",\"own\":\"extend\"");
    let not_re_entrant = waiter("a-0", "w4", "alice", "\"nonce\":\"w4\",", "");
    let entries = [first, own, other, not_re_entrant];
    for entry in &entries[..1] {
        space.wait(entry, "");
    }
    // As where their owner shared the key only after they had joined.
    for entry in &entries[1..] {
        let queue = space.queue("k");
        space.ask::<u64>("ZADD", &[&queue, "9000000000000000", entry]);
    }

    let row = space.advance("a", &entries);

    assert_eq!(row[5..], ["0", "-2", "2", "3"]);
}
