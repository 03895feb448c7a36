//! `acquire.lua` with `extend`: what a reentrant acquire does to its owner's lease.

use super::{Attempt, Space, assert_left, identity_of, renewed, told_to, word};

fn extend(ttl_ms: u64) -> Attempt {
    Attempt { ttl_ms, own: "extend", ..Attempt::of("k", "alice", "n-2") }
}

#[test]
fn a_longer_ttl_sets_the_time_and_becomes_the_leases_own() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    let lease = told_to(&space.lease("k").unwrap().replace("\"ttl\":60000", "\"ttl\":90000"), "n-1 +n-2");
    let before = space.now_ms();

    let row = space.acquire(&extend(90_000)).unwrap();

    let valid_until = space.valid_until("k");
    assert_eq!(row, ["renewed", &lease, &valid_until.to_string(), "90000"]);
    assert!((before + 90_000..=space.now_ms() + 90_000).contains(&valid_until), "{valid_until}");
    assert_eq!((space.lease("k"), space.indexed("k")), (Some(lease), Some(token)));
}

#[test]
fn a_shorter_ttl_only_marks_the_lease_as_told_of_again() {
    let mut space = Space::shared();
    space.granted(&Attempt::of("k", "alice", "n-1"));
    let lease = told_to(&space.lease("k").unwrap(), "n-1 +n-2");
    let valid_until = space.valid_until("k").to_string();

    let row = space.acquire(&extend(20_000)).unwrap();

    assert_left(&row, &["renewed", &lease, &valid_until], 60_000);
    let contents = space.contents();
    space.acquire(&extend(20_000)).unwrap();
    assert_eq!(space.contents(), contents, "once");
    assert_eq!((space.lease("k"), space.valid_until("k").to_string()), (Some(lease), valid_until));
}

#[test]
fn a_shorter_ttl_that_is_longer_than_what_is_left_sets_the_time_and_keeps_the_leases_own() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    let lease = told_to(&renewed(&space.lease("k").unwrap()), "n-1 +n-2");
    space.renew("k", token, &identity_of("alice"), 5_000).unwrap();

    let row = space.acquire(&extend(20_000)).unwrap();

    assert_eq!(row, ["renewed", &lease, &space.valid_until("k").to_string(), "20000"]);
}

#[test]
fn a_ttl_longer_than_the_leases_own_but_not_than_what_is_left_becomes_its_own_and_shortens_nothing() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    space.renew("k", token, &identity_of("alice"), 90_000).unwrap();
    let valid_until = space.valid_until("k");

    let row = space.acquire(&extend(70_000)).unwrap();

    let lease = space.lease("k").unwrap();
    assert_left(&row, &["renewed", &lease, &valid_until.to_string()], 90_000);
    assert!(lease.contains("\"ttl\":70000"), "{lease}");
    assert_eq!(space.valid_until("k"), valid_until);
}

#[test]
fn only_the_ttl_of_the_lease_is_rewritten_whatever_its_texts_look_like() {
    let hostile = "\",\"ttl\":1,\"";
    let mut space = Space::shared();
    let first =
        Attempt { further: format!(",\"meta\":{}", super::json("{\"ttl\":7}")), ..Attempt::of("k", hostile, "n-1") };
    space.granted(&first);
    let lease = space.lease("k").unwrap();

    let row = space.acquire(&Attempt { ttl_ms: 90_000, own: "extend", ..Attempt::of("k", hostile, "n-2") }).unwrap();

    assert_eq!(row[1], told_to(&lease, "n-1 +n-2").replace("\"ttl\":60000", "\"ttl\":90000"));
}

#[test]
fn extended_twice_it_is_extended_once() {
    let mut space = Space::shared();
    space.granted(&Attempt::of("k", "alice", "n-1"));
    space.acquire(&extend(90_000)).unwrap();
    let lease = space.lease("k").unwrap();

    let row = space.acquire(&extend(90_000)).unwrap();

    assert_eq!((word(&row), space.lease("k")), ("renewed", Some(lease)));
}

#[test]
fn a_free_key_is_granted_and_another_owners_is_held() {
    let mut space = Space::shared();
    space.granted(&extend(60_000));
    assert_eq!(word(&space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "bob", "n-3") }).unwrap()), "held");
}

#[test]
fn the_undo_of_an_attempt_that_only_extended_leaves_the_lease() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    space.acquire(&extend(90_000)).unwrap();

    assert_eq!(space.undo(&extend(90_000)).unwrap(), ["told"]);
    assert_eq!(space.indexed("k"), Some(token));
}

#[test]
fn a_lease_whose_grant_and_whose_extensions_are_all_undone_is_freed() {
    for order in [["n-1", "n-2", "n-3"], ["n-3", "n-1", "n-2"]] {
        let mut space = Space::shared();
        space.granted(&Attempt::of("k", "alice", "n-1"));
        for nonce in ["n-2", "n-3"] {
            space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", nonce) }).unwrap();
        }

        let rows = order.map(|nonce| space.undo(&Attempt::of("k", "alice", nonce)).unwrap().concat());

        assert_eq!(rows, ["told", "told", "undone"], "{order:?}");
        assert_eq!((space.lease("k"), space.indexed("k")), (None, None));
    }
}

/// An owner may ask as often as it likes; what was told many times counts for good.
#[test]
fn a_lease_that_is_extended_many_times_stays_small_and_is_never_refused() {
    let mut space = Space::shared();
    space.granted(&Attempt::of("k", "alice", "n-1"));
    for number in 0..100 {
        let nonce = format!("0123456789abcdef-{number}");
        let row = space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", &nonce) }).unwrap();
        assert_eq!(word(&row), "renewed");
    }
    let lease = space.lease("k").unwrap();

    assert!(lease.len() < 1024, "{}", lease.len());
    assert_eq!(space.undo(&Attempt::of("k", "alice", "n-1")).unwrap(), ["told"]);
    assert_eq!(space.undo(&Attempt::of("k", "alice", "0123456789abcdef-7")).unwrap(), ["nothing"]);
    assert!(space.lease("k").is_some());
}
