//! The queue before a key that leases share: strictly first come, first served over both modes.

use super::queue::{Subscriber, attempt_of};
use super::shared::shared;
use super::{Attempt, DECLINE, JOIN, Space, identity_of, word};
use crate::harness::TestRedis;

/// A waiter that would share the key, as its sidecar spells it.
fn sharer(sidecar: &str, id: &str, limit: Option<u64>) -> String {
    format!("{sidecar}\n{id}\n60000\n{}\n\"nonce\":\"{id}\",\n{}", identity_of(id), shared(limit))
}

/// One that wants the key alone.
fn loner(sidecar: &str, id: &str) -> String {
    format!("{sidecar}\n{id}\n60000\n{}\n\"nonce\":\"{id}\",\n", identity_of(id))
}

impl Space {
    /// An exclusive waiter joins the queue.
    pub fn wait_for_all(&mut self, id: &str) {
        assert_eq!(word(&self.wait(&loner("a-0", id), "")), "waiting");
    }

    /// The owner whose lease this is.
    fn owner_of(&mut self, token: u64) -> String {
        let lease = self.shared_lease(token).or_else(|| self.lease("k")).unwrap();
        lease.split("\"owner\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    /// Those whose turn came, in order, each of whom takes its lease.
    fn served(&mut self, subscriber: &Subscriber, sidecar: &str) -> Vec<(String, u64)> {
        let mut served = Vec::new();
        for message in subscriber.so_far(self, sidecar) {
            if message[0] == "turn" {
                let (id, token) = (message[2].clone(), message[3].parse().unwrap());
                let taken = self.renew_as("take", &id, "k", token, &identity_of(&id), "60000").unwrap();
                assert_eq!(word(&taken), "renewed");
                served.push((id, token));
            }
        }
        served
    }
}

fn names(served: &[(String, u64)]) -> Vec<&str> {
    served.iter().map(|(id, _)| id.as_str()).collect()
}

#[test]
fn waiters_are_served_in_order_over_both_modes_and_only_what_stands_before_counts() {
    let mut space = Space::shared();
    let heard = Subscriber::of(&space, "a-0");
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    for (id, limit) in [("r1", None), ("r2", None)] {
        space.wait(&sharer("a-0", id, limit), "");
    }
    space.wait_for_all("w1");
    for (id, limit) in [("r3", None), ("r4", None), ("p1", Some(3)), ("p2", Some(3))] {
        space.wait(&sharer("a-0", id, limit), "");
    }
    assert_eq!(space.served(&heard, "a-0"), []);

    space.release("k", Some(token), &identity_of("alice")).unwrap();
    let mut readers = space.served(&heard, "a-0");
    assert_eq!(names(&readers), ["r1", "r2"]);
    for (id, token) in readers.drain(..) {
        space.release("k", Some(token), &identity_of(&id)).unwrap();
        space.share(&Attempt::sharing("late", &id, None)).unwrap();
    }
    let writer = space.served(&heard, "a-0");
    assert_eq!(names(&writer), ["w1"], "whoever comes later does not overtake it");
    space.release("k", Some(writer[0].1), &identity_of("w1")).unwrap();

    let readers = space.served(&heard, "a-0");
    assert_eq!(names(&readers), ["r3", "r4", "p1"]);
    space.release("k", Some(readers[0].1), &identity_of("r3")).unwrap();
    assert_eq!(names(&space.served(&heard, "a-0")), ["p2"]);
    space.assert_whole();
}

#[test]
fn nobody_shares_a_key_past_a_waiter() {
    let mut space = Space::shared();
    space.shares(&Attempt::sharing("alice", "n-1", None));
    space.wait_for_all("w1");
    let contents = space.contents();

    assert_eq!(space.refused(&Attempt::sharing("bob", "n-2", None)), ("queue".to_owned(), 1));

    assert_eq!(space.contents(), contents);
}

#[test]
fn a_waiter_for_the_key_alone_closes_it_and_has_it_once_the_last_share_ends() {
    let mut space = Space::shared();
    let heard = Subscriber::of(&space, "a-0");
    let permits: Vec<u64> =
        (0..3).map(|at| space.shares(&Attempt::sharing("a", &format!("n-{at}"), Some(3)))).collect();
    space.wait_for_all("w1");
    for token in &permits {
        assert_eq!(space.served(&heard, "a-0"), []);
        space.release("k", Some(*token), &identity_of("a")).unwrap();
    }
    assert_eq!(names(&space.served(&heard, "a-0")), ["w1"]);
    assert!(space.lease("k").is_some(), "alone");
}

#[test]
fn those_who_wait_are_told_when_what_they_wait_for_ends_sooner() {
    let mut space = Space::shared();
    let long = space.shares(&Attempt { ttl_ms: 90_000, ..Attempt::sharing("a", "n-1", None) });
    space.shares(&Attempt { ttl_ms: 1_500, ..Attempt::sharing("b", "n-2", None) });
    let row = space.wait(&loner("a-0", "w1"), "");
    assert!(
        (1_800..=1_900).contains(&row[2].parse::<i64>().unwrap()),
        "no lease ends sooner than a look is due: {row:?}"
    );
    let heard = Subscriber::of(&space, "a-0");

    space.release("k", Some(long), &identity_of("a")).unwrap();

    let message = heard.next();
    assert_eq!(message[..2], ["offer", "k"]);
    assert!((1_000..=1_500).contains(&message[2].parse::<i64>().unwrap()), "{message:?}");
}

#[test]
fn a_waiter_with_a_limit_waits_for_the_share_that_makes_room() {
    let mut space = Space::shared();
    for (user, ttl_ms) in [("a", 40_000), ("b", 20_000), ("c", 60_000)] {
        space.shares(&Attempt { ttl_ms, ..Attempt::sharing(user, user, None) });
    }
    let waiter = sharer("a-0", "p1", Some(2));
    space.wait(&waiter, "");

    let row = space.advance("a", &[waiter]);

    assert_eq!((word(&row), &*row[5]), ("shared", "0"));
    assert!((1_800..=1_900).contains(&row[4].parse::<i64>().unwrap()), "{row:?}");
    assert!(row[1].contains(&identity_of("a")), "{row:?}");
    assert!((35_000..=40_000).contains(&row[3].parse::<i64>().unwrap()), "{row:?}");
}

#[test]
fn a_share_on_offer_that_is_not_taken_passes_on_with_its_end_and_stands_until_then() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    space.wait(&sharer("dead-0", "r1", Some(1)), "");
    space.wait(&sharer("a-0", "r2", Some(1)), "");
    space.release("k", Some(token), &identity_of("alice")).unwrap();
    assert_eq!(space.offered_to().as_deref(), Some("dead-0"));
    let row = space.advance("a", &[sharer("a-0", "r2", Some(1))]);
    assert!((500..=700).contains(&row[3].parse::<i64>().unwrap()), "{row:?}");
    assert_eq!(space.offered_to().as_deref(), Some("dead-0"), "it is its turn still");

    std::thread::sleep(std::time::Duration::from_millis(row[3].parse::<u64>().unwrap() + 2));
    space.advance("a", &[sharer("a-0", "r2", Some(1))]);

    assert_eq!(space.offered_to().as_deref(), Some("a-0"));
}

#[test]
fn a_share_on_offer_that_is_declined_goes_to_the_next() {
    let mut space = Space::shared();
    let heard = Subscriber::of(&space, "a-0");
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    for id in ["r1", "r2"] {
        space.wait(&sharer("a-0", id, Some(1)), "");
    }
    space.release("k", Some(token), &identity_of("alice")).unwrap();
    let turn = heard.next();
    assert_eq!((&*turn[0], &*turn[2]), ("turn", "r1"));

    let row = space.run_in_line(DECLINE, "k", 0, &[&turn[3], "a-0"]).unwrap();

    assert_eq!(row, ["declined"]);
    assert_eq!(names(&space.served(&heard, "a-0")), ["r2"]);
    space.assert_whole();
}

#[test]
fn a_blocked_waiter_that_leaves_lets_those_behind_it_have_what_has_room() {
    let mut space = Space::shared();
    let heard = Subscriber::of(&space, "a-0");
    space.shares(&Attempt::sharing("alice", "n-1", None));
    space.wait_for_all("w1");
    for id in ["r1", "r2"] {
        space.wait(&sharer("a-0", id, None), "");
    }
    space.wait_for_all("w2");
    assert_eq!(space.served(&heard, "a-0"), []);

    assert_eq!(space.undo_of(&attempt_of("w1"), &loner("a-0", "w1")).unwrap(), ["nothing"]);

    assert_eq!(names(&space.served(&heard, "a-0")), ["r1", "r2"]);
    assert_eq!(space.line(), ["w2"]);
}

#[test]
fn a_waiter_whose_turn_has_come_finds_its_share_when_it_comes_back() {
    let mut space = Space::shared();
    space.shares(&Attempt::sharing("alice", "n-1", None));
    let row = space.wait(&sharer("a-0", "r1", None), "");
    assert_eq!(word(&row), "waiting");

    let row = space.wait(&sharer("a-0", "r1", None), "7");

    assert_eq!(word(&row), "turn");
    let token: u64 = row[1].parse().unwrap();
    assert_eq!((space.owner_of(token), space.line()), ("r1".to_owned(), Vec::new()));
    let undone = space.undo(&attempt_of("r1")).unwrap();
    assert_eq!(undone, ["undone"], "an offer is rolled back as a lease is");
    space.assert_whole();
}

#[test]
fn a_reentrant_waiter_whose_owner_shares_the_key_is_told_so() {
    let mut space = Space::shared();
    space.shares(&Attempt::sharing("alice", "n-1", None));
    let re_entrant = ",\"own\":\"extend\"";
    for (further, own, expected) in [
        (shared(None) + re_entrant, "extend", "own"),
        (re_entrant.to_owned(), "extend", "own"),
        (String::new(), "refuse", "waiting"),
    ] {
        let entry = format!("a-0\nw\n60000\n{}\n\"nonce\":\"w\",\n{further}", identity_of("alice"));
        let row = space.run_in_line(JOIN, "k", 0, &[&entry, "w", "5000", "", own, ""]).unwrap();
        assert_eq!(word(&row), expected);
    }
}

#[test]
fn an_exclusive_lease_that_an_older_sidecar_granted_to_a_shared_waiter_is_exclusive() {
    let mut space = Space::shared();
    let further = shared(Some(3));
    let token = space.granted(&Attempt { further, ..Attempt::of("k", "alice", "n-1") });
    let lease = space.lease("k").unwrap();

    let row = space.renew_as("take", "n-1", "k", token, &identity_of("alice"), "60000").unwrap();
    assert!(row[1].starts_with(&lease[..lease.len() - 1]), "not shown as shared: {row:?}");
    assert_eq!(word(&space.share(&Attempt::sharing("bob", "n-2", None)).unwrap()), "held");
}

#[test]
fn sixty_four_are_served_at_once_and_the_rest_is_told_to_look() {
    let mut space = Space::shared();
    let heard = Subscriber::of(&space, "a-0");
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    for at in 0..70 {
        space.wait(&sharer("a-0", &format!("r{at}"), None), "");
    }
    space.release("k", Some(token), &identity_of("alice")).unwrap();
    let messages = heard.so_far(&mut space, "a-0");
    assert_eq!(messages.iter().filter(|message| message[0] == "turn").count(), 64);
    assert!(messages.iter().any(|message| message[..] == ["offer", "k", "0"]), "{messages:?}");

    space.advance("a", &[sharer("a-0", "r64", None)]);

    assert_eq!(names(&space.served(&heard, "a-0")).len(), 6);
    assert!(space.line().is_empty());
    space.assert_whole();
}

#[test]
fn out_of_memory_no_further_waiter_joins_and_those_who_wait_are_served_in_both_modes() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let heard = Subscriber::on(&redis, &space, "a-0");
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    for id in ["r1", "r2"] {
        space.wait(&sharer("a-0", id, None), "");
    }
    space.wait_for_all("w1");
    space.wait(&sharer("a-0", "p1", Some(1)), "");
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);
    let contents = space.contents();
    for late in [sharer("a-0", "late", Some(2)), loner("a-0", "late")] {
        let error = space.run_in_line(JOIN, "k", 0, &[&late, "late", "5000", "", "refuse", ""]).unwrap_err();
        assert!(error.contains("OOM"), "{error}");
    }
    assert_eq!(space.contents(), contents);

    let mut ends = ("alice".to_owned(), token);
    for (served, others) in [(&["r1", "r2"][..], vec!["w1", "p1"]), (&["w1"], vec!["p1"]), (&["p1"], Vec::new())] {
        assert_eq!(space.release("k", Some(ends.1), &identity_of(&ends.0)).unwrap(), ["released"]);
        let mut now = space.served(&heard, "a-0");
        assert_eq!((names(&now), space.line()), (served.to_vec(), others.iter().map(|id| (*id).to_owned()).collect()));
        ends = now.pop().unwrap();
        for (id, token) in now {
            assert_eq!(space.release("k", Some(token), &identity_of(&id)).unwrap(), ["released"]);
        }
    }
    space.assert_whole();
    assert_eq!(space.release("k", Some(ends.1), &identity_of("p1")).unwrap(), ["released"]);
    space.assert_gone();
}
