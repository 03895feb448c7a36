//! Attempts that their caller names and may repeat: each sending has a name of its own. A lease lives while one of its
//! sendings was told of it, and goes with the undo of the last.

use std::time::{Duration, Instant};

use super::{Attempt, Space, assert_left, identity_of, word};

/// One sending of the attempt `n-1` of alice.
fn sending(request: &'static str) -> Attempt {
    Attempt { request, ..Attempt::of("k", "alice", "n-1") }
}

#[test]
fn a_grant_names_its_sending_and_a_repetition_is_told_and_named_too() {
    let mut space = Space::shared();
    let token = space.granted(&sending("r-1"));
    let lease = space.lease("k").unwrap();
    let valid_until = space.valid_until("k");
    assert!(lease.contains(",\"nonce\":\"n-1\",\"by\":\"r-1\",\"since\":"), "{lease}");

    let row = space.acquire(&Attempt { ttl_ms: 90_000, ..sending("r-2") }).unwrap();

    let told = lease.replace("\"by\":\"r-1\"", "\"by\":\"r-1 r-2\"");
    assert_left(&row, &["replayed", &told, &valid_until.to_string()], 60_000);
    assert_eq!((space.lease("k"), space.valid_until("k")), (Some(told), valid_until));
    assert_eq!(space.indexed("k"), Some(token));
}

#[test]
fn a_sending_that_arrives_twice_is_named_once() {
    let mut space = Space::shared();
    space.granted(&sending("r-1"));
    let lease = space.lease("k");
    for _ in 0..2 {
        assert_eq!(word(&space.acquire(&sending("r-1")).unwrap()), "replayed");
        assert_eq!(space.lease("k"), lease);
    }
}

#[test]
fn undo_leaves_alone_a_lease_that_a_repetition_was_told_of() {
    for undone in ["r-1", "r-2", "r-3"] {
        let mut space = Space::shared();
        let token = space.granted(&sending("r-1"));
        space.acquire(&sending("r-2")).unwrap();
        space.acquire(&sending("r-3")).unwrap();
        let valid_until = space.valid_until("k");

        assert_eq!(space.undo(&sending(undone)).unwrap(), ["told"], "{undone}");
        assert_eq!(space.undo(&sending(undone)).unwrap(), ["nothing"], "{undone} twice");

        let lease = space.lease("k").unwrap();
        assert!(!lease.contains(undone), "{lease}");
        assert_eq!((space.valid_until("k"), space.indexed("k")), (valid_until, Some(token)));
        assert_eq!(word(&space.renew("k", token, &identity_of("alice"), 90_000).unwrap()), "renewed");
    }
}

#[test]
fn the_undo_of_the_last_sending_takes_the_lease_back_in_whatever_order() {
    for order in [["r-1", "r-2", "r-3"], ["r-3", "r-2", "r-1"], ["r-2", "r-3", "r-1"], ["r-2", "r-1", "r-3"]] {
        let mut space = Space::shared();
        for request in ["r-1", "r-2", "r-3"] {
            space.acquire(&sending(request)).unwrap();
        }

        let rows = order.map(|request| space.undo(&sending(request)).unwrap().concat());

        assert_eq!(rows, ["told", "told", "undone"], "{order:?}");
        assert_eq!((space.lease("k"), space.indexed("k")), (None, None));
    }
}

#[test]
fn undo_leaves_alone_a_lease_that_a_repetition_was_granted() {
    let mut space = Space::shared();
    space.granted(&sending("r-1"));
    assert_eq!(space.undo(&sending("r-1")).unwrap(), ["undone"]);
    space.granted(&sending("r-2"));
    let contents = space.contents();

    for other in ["r-1", "r-", "r-22", "2", "", " "] {
        assert_eq!(space.undo(&sending(other)).unwrap(), ["nothing"], "{other}");
    }
    assert_eq!(space.contents(), contents);
}

#[test]
fn an_undo_knows_owner_and_sending() {
    let mut space = Space::shared();
    space.granted(&sending("r-1"));
    let contents = space.contents();

    for (user, nonce) in [("bob", "n-1"), ("alic", "n-1"), ("alice\"", "n-1")] {
        let attempt = Attempt { request: "r-1", ..Attempt::of("k", user, nonce) };
        assert_eq!(space.undo(&attempt).unwrap(), ["nothing"], "{user} {nonce}");
    }
    assert_eq!(space.contents(), contents);
}

#[test]
fn a_sending_that_finds_too_many_others_told_is_refused_so_that_each_can_be_undone() {
    let mut space = Space::shared();
    let requests: Vec<&'static str> = (0..100).map(|number| &*format!("0123456789abcdef-{number}").leak()).collect();
    let rows = requests.iter().map(|request| word(&space.acquire(&sending(request)).unwrap()).to_owned());
    let rows: Vec<String> = rows.collect();

    let told = rows.iter().filter(|row| *row != "held").count();
    assert!((20..30).contains(&told), "{rows:?}");
    assert!(space.lease("k").unwrap().len() < 1024);
    for request in &requests[..told - 1] {
        assert_eq!(space.undo(&sending(request)).unwrap(), ["told"]);
    }
    assert_eq!(space.undo(&sending(requests[told - 1])).unwrap(), ["undone"]);
    assert_eq!(space.lease("k"), None);
}

#[test]
fn an_undo_leaves_what_its_owner_was_told_of_by_a_renewal_or_an_extension() {
    for request in ["", "r-1"] {
        let again = |ttl_ms| Attempt { own: "extend", ttl_ms, ..Attempt::of("k", "alice", "n-2") };
        for renewal in [None, Some(again(120_000)), Some(again(1))] {
            let mut space = Space::shared();
            let token = space.granted(&sending(request));
            match &renewal {
                None => space.renew("k", token, &identity_of("alice"), 90_000).unwrap(),
                Some(again) => space.acquire(again).unwrap(),
            };

            assert_eq!(space.undo(&sending(request)).unwrap(), ["told"]);
            assert_eq!(space.indexed("k"), Some(token));
            assert_eq!(space.undo(&sending(request)).unwrap(), ["nothing"], "twice");
            assert_eq!(space.indexed("k"), Some(token));
        }
    }
}

#[test]
fn a_hold_releases_and_renews_only_while_no_later_sending_was_told() {
    let mut space = Space::shared();
    let alice = identity_of("alice");
    let token = space.granted(&sending("r-1"));
    assert_eq!(word(&space.renew_as("extend", "r-1", "k", token, &alice, "60000").unwrap()), "renewed");
    space.acquire(&sending("r-2")).unwrap();

    assert_eq!(space.renew_as("extend", "r-1", "k", token, &alice, "60000").unwrap(), ["superseded"]);
    assert_eq!(space.release_as("r-1", "k", token, &alice).unwrap(), ["told"]);
    assert_eq!(space.release_as("r-1", "k", token, &alice).unwrap(), ["told"], "twice");
    assert_eq!(space.indexed("k"), Some(token));
    assert_eq!(word(&space.renew_as("extend", "r-2", "k", token, &alice, "60000").unwrap()), "renewed");
    assert_eq!(space.release_as("r-2", "k", token, &alice).unwrap(), ["released"]);
    assert_eq!((space.lease("k"), space.indexed("k")), (None, None));
}

#[test]
fn a_hold_goes_on_after_a_later_sending_is_undone() {
    let mut space = Space::shared();
    let alice = identity_of("alice");
    let token = space.granted(&sending("r-1"));
    space.acquire(&sending("r-2")).unwrap();
    assert_eq!(space.undo(&sending("r-2")).unwrap(), ["told"]);

    assert_eq!(word(&space.renew_as("extend", "r-1", "k", token, &alice, "60000").unwrap()), "renewed");
    assert_eq!(space.release_as("r-1", "k", token, &alice).unwrap(), ["released"]);
}

#[test]
fn a_hold_renews_beside_a_reentrant_acquire_but_leaves_it_the_lease_at_its_end() {
    let mut space = Space::shared();
    let alice = identity_of("alice");
    let token = space.granted(&Attempt { ttl_ms: 3_000, ..sending("r-1") });
    space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", "n-2") }).unwrap();
    let valid_until = space.valid_until("k");

    let row = space.renew_as("extend", "r-1", "k", token, &alice, "3000").unwrap();

    assert_eq!((word(&row), &row[2]), ("renewed", &valid_until.to_string()), "what was promised stays");
    assert_eq!(space.release_as("r-1", "k", token, &alice).unwrap(), ["told"]);
    assert_eq!(space.valid_until("k"), valid_until);
    assert_eq!(space.release("k", Some(token), &alice).unwrap(), ["released"], "one release by its token frees it");
}

#[test]
fn a_repeated_hold_leaves_the_lease_to_a_reentrant_acquire_that_came_before_the_repetition() {
    let mut space = Space::shared();
    let alice = identity_of("alice");
    let token = space.granted(&Attempt { ttl_ms: 3_000, ..sending("r-1") });
    space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", "n-2") }).unwrap();
    assert_eq!(word(&space.acquire(&sending("r-2")).unwrap()), "replayed");
    let valid_until = space.valid_until("k");

    for request in ["r-1", "r-2", "r-2"] {
        assert_eq!(space.release_as(request, "k", token, &alice).unwrap(), ["told"], "{request}");
    }

    assert_eq!((space.valid_until("k"), space.indexed("k")), (valid_until, Some(token)));
    assert_eq!(space.undo(&Attempt::of("k", "alice", "n-2")).unwrap(), ["undone"], "it was the last to count on it");
}

#[test]
fn no_text_makes_a_repetition_pass_for_another() {
    for hostile in ["\",\"by\":\"*\",", "n\",\"by\":\"r-9\",\"since\":1", "*"] {
        let mut space = Space::shared();
        let attempt = Attempt { request: "r-1", ..Attempt::of("k", hostile, hostile) };
        space.granted(&attempt);
        assert_eq!(space.undo(&Attempt { request: "r-9", ..attempt.clone() }).unwrap(), ["nothing"], "{hostile}");
        assert_eq!(space.undo(&attempt).unwrap(), ["undone"], "{hostile}");
    }
}

#[test]
fn a_lease_that_lost_its_expiry_is_told_to_nobody() {
    let mut space = Space::shared();
    space.granted(&sending("r-1"));
    let name = space.lock("k");
    space.ask::<i64>("PERSIST", &[&name]);
    let lease = space.lease("k").unwrap();

    assert_eq!(space.acquire(&sending("r-2")).unwrap(), ["held", &lease, "-1", "-1"]);
    assert_eq!(space.lease("k"), Some(lease));
}

/// In its last millisecond a lease can still be read, and an expiry set on it ends it.
#[test]
fn repetitions_up_to_the_last_moment_never_leave_a_lock_without_an_end() {
    let mut space = Space::shared();
    let requests: Vec<&'static str> = (0..30).map(|number| &*format!("r-{number}").leak()).collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let attempt = Attempt { ttl_ms: 3, ..sending("r") };
        space.acquire(&attempt).unwrap();
        for request in &requests {
            space.acquire(&Attempt { request, ..attempt.clone() }).unwrap();
            space.undo(&Attempt { request, ..attempt.clone() }).unwrap();
            assert_ne!(space.valid_until("k"), -1, "a lock for ever");
        }
    }
}
