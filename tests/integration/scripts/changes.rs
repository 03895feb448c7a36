//! `renew.lua`, `release.lua` and `force.lua`, row by row.

use super::{Attempt, Space, identity_of, renewed, told, word};

const SYSTEM: &str = "\"kind\":\"system\",";

/// A key that alice holds, and its token.
fn held() -> (Space, u64) {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    (space, token)
}

/// A key under which something lies that is no lease.
fn strange(text: Option<&str>) -> Space {
    let mut space = Space::shared();
    let name = space.lock("k");
    match text {
        Some(text) => space.ask::<String>("SET", &[&name, text]),
        None => space.ask("LPUSH", &[&name, "x"]),
    };
    space
}

#[test]
fn renew_sets_the_remaining_time_and_never_adds() {
    let (mut space, token) = held();
    let lease = renewed(&space.lease("k").unwrap());
    for ttl_ms in [90_000, 5_000] {
        let before = space.now_ms();

        let row = space.renew("k", token, &identity_of("alice"), ttl_ms).unwrap();

        let valid_until = space.valid_until("k");
        assert_eq!(row, ["renewed", &lease, &valid_until.to_string(), &ttl_ms.to_string()]);
        let ttl_ms = i64::try_from(ttl_ms).unwrap();
        assert!((before + ttl_ms..=space.now_ms() + ttl_ms).contains(&valid_until), "{valid_until}");
    }
    assert_eq!((space.lease("k"), space.indexed("k")), (Some(lease), Some(token)));
}

#[test]
fn renew_without_a_ttl_takes_the_leases_own() {
    let (mut space, token) = held();
    let lease = renewed(&space.lease("k").unwrap());
    space.renew("k", token, &identity_of("alice"), 5_000).unwrap();
    let before = space.now_ms();

    let row = space.renew_for("k", token, &identity_of("alice"), "").unwrap();

    let valid_until = space.valid_until("k");
    assert_eq!(row, ["renewed", &lease, &valid_until.to_string(), "60000"]);
    assert!((before + 60_000..=space.now_ms() + 60_000).contains(&valid_until), "{valid_until}");
}

#[test]
fn no_owner_makes_its_name_the_leases_own_ttl() {
    for owner in ["ttl", "\"ttl\":5", "\",\"ttl\":5,\"", "{\"ttl\":5}"] {
        let mut space = Space::shared();
        let token = space.granted(&Attempt::of("k", owner, owner));

        let row = space.renew_for("k", token, &identity_of(owner), "").unwrap();

        assert_eq!(row[3], "60000", "{row:?}");
    }
}

#[tokio::test]
async fn renew_after_expiry_is_lost_not_extended() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt { ttl_ms: 20, ..Attempt::of("k", "alice", "n-1") });
    space.expired("k").await;

    assert_eq!(space.renew("k", token, &identity_of("alice"), 60_000).unwrap(), ["lost"]);
    assert_eq!(space.lease("k"), None);
}

#[test]
fn renew_refuses_all_but_this_owners_lease_of_this_token() {
    let (mut space, token) = held();
    let (lease, contents) = (space.lease("k").unwrap(), space.contents());

    for (token, identity) in [
        (token, identity_of("bob")),
        (token, identity_of("alic")),
        (token, SYSTEM.to_owned()),
        (token + 64, identity_of("alice")),
        (token / 10, identity_of("alice")),
    ] {
        assert_eq!(space.renew("k", token, &identity, 1).unwrap(), ["other", &lease], "{token} {identity}");
    }
    assert_eq!(space.contents(), contents);
}

#[test]
fn release_frees_the_key_and_its_index_entry() {
    for by_token in [true, false] {
        let (mut space, token) = held();

        assert_eq!(space.release("k", by_token.then_some(token), &identity_of("alice")).unwrap(), ["released"]);

        assert_eq!((space.lease("k"), space.indexed("k")), (None, None));
    }
}

#[test]
fn a_second_release_is_lost_and_leaves_the_next_holder_alone() {
    let (mut space, token) = held();
    space.release("k", Some(token), &identity_of("alice")).unwrap();
    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["lost"]);
    assert_eq!(space.release("k", None, &identity_of("alice")).unwrap(), ["lost"]);

    let next = space.granted(&Attempt::of("k", "alice", "n-2"));
    let lease = space.lease("k").unwrap();

    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["other", &lease]);
    assert_eq!(space.indexed("k"), Some(next));
}

#[test]
fn release_refuses_all_but_this_owners_lease_of_this_token() {
    let (mut space, token) = held();
    let (lease, contents) = (space.lease("k").unwrap(), space.contents());

    for (token, identity) in [
        (Some(token), identity_of("bob")),
        (Some(token), SYSTEM.to_owned()),
        (Some(token + 64), identity_of("alice")),
        (None, identity_of("bob")),
        (None, identity_of("alic")),
        (None, SYSTEM.to_owned()),
    ] {
        assert_eq!(space.release("k", token, &identity).unwrap(), ["other", &lease], "{token:?} {identity}");
    }
    assert_eq!(space.contents(), contents);
}

#[test]
fn a_system_lease_answers_to_every_system_caller_who_has_its_token() {
    let mut space = Space::shared();
    let identity = format!("{SYSTEM}\"owner\":\"web-3\",");
    let token = space.granted(&Attempt { identity, ..Attempt::of("k", "", "n-1") });

    assert_eq!(word(&space.renew("k", token, SYSTEM, 1000).unwrap()), "renewed");
    assert_eq!(word(&space.renew("k", token, &identity_of("web-3"), 1000).unwrap()), "other");
    assert_eq!(space.release("k", Some(token), SYSTEM).unwrap(), ["released"]);
}

#[test]
fn force_takes_the_lease_of_a_token_or_whichever_there_is() {
    for by_token in [true, false] {
        let (mut space, token) = held();
        let lease = space.lease("k").unwrap();

        assert_eq!(space.force("k", by_token.then_some(token)).unwrap(), ["forced", &lease]);

        assert_eq!((space.lease("k"), space.indexed("k")), (None, None));
        assert_eq!(space.force("k", by_token.then_some(token)).unwrap(), ["free"], "twice");
    }
}

#[test]
fn force_with_a_token_leaves_the_lease_of_another_one() {
    let (mut space, token) = held();
    let (lease, contents) = (space.lease("k").unwrap(), space.contents());

    for other in [token + 64, token - 64, token / 10, token * 10] {
        assert_eq!(space.force("k", Some(other)).unwrap(), ["other", &lease], "{other}");
    }
    assert_eq!(space.contents(), contents);
}

#[test]
fn nothing_takes_a_strangers_string() {
    let copy = format!("{{\"copy\":{{\"token\":\"1\",{}\"nonce\":\"n-1\"}}}}", identity_of("alice"));
    let near = format!("{{\"token\":\"\",{}\"nonce\":\"n-1\"}}", identity_of("alice"));
    let short = format!("{{\"token\":\"1\",{}\"nonce\":\"n-2\"}}", identity_of("alice"));
    let mut space = strange(Some(&short));
    assert_eq!(space.force("k", None).unwrap(), ["other", &short], "it only begins like a lease");
    assert_eq!(space.renew_for("k", 1, &identity_of("alice"), "").unwrap(), ["other", &short], "it has no ttl");
    for text in ["", "1", "{\"token\":\"abc\"}", "{\"token\":\"12\"}", &copy, &near, &identity_of("alice")] {
        let mut space = strange(Some(text));
        let contents = space.contents();

        for row in [
            space.renew("k", 1, &identity_of("alice"), 1),
            space.renew_for("k", 1, &identity_of("alice"), ""),
            space.release("k", Some(1), &identity_of("alice")),
            space.release("k", None, &identity_of("alice")),
            space.force("k", Some(12)),
            space.force("k", None),
        ] {
            assert_eq!(row.unwrap(), ["other", told(text)]);
        }
        assert_eq!(space.undo(&Attempt::of("k", "alice", "n-1")).unwrap(), ["nothing"]);
        assert_eq!(space.contents(), contents, "{text}");
    }
}

#[test]
fn nothing_takes_what_is_no_string() {
    let mut space = strange(None);
    let contents = space.contents();

    assert_eq!(space.renew("k", 1, &identity_of("alice"), 1).unwrap(), ["stranger"]);
    assert_eq!(space.release("k", Some(1), &identity_of("alice")).unwrap(), ["stranger"]);
    assert_eq!(space.release("k", None, &identity_of("alice")).unwrap(), ["stranger"]);
    assert_eq!(space.force("k", Some(1)).unwrap(), ["stranger"]);
    assert_eq!(space.force("k", None).unwrap(), ["stranger"]);
    assert_eq!(space.undo(&Attempt::of("k", "alice", "n-1")).unwrap(), ["nothing"]);
    assert_eq!(space.contents(), contents);
}

#[test]
fn a_renewal_of_a_lease_that_was_taken_away_is_told_so_for_a_while() {
    let (mut space, token) = held();
    space.force("k", None).unwrap();
    let forced = space.forced("k");
    assert!((1..=60).contains(&space.ask::<i64>("TTL", &[&forced])));

    assert_eq!(space.renew("k", token, &identity_of("alice"), 1000).unwrap(), ["forced"]);
    assert_eq!(space.renew("k", token + 64, &identity_of("alice"), 1000).unwrap(), ["lost"], "another one's");
    let next = space.granted(&Attempt::of("k", "bob", "n-2"));
    assert_eq!(space.renew("k", token, &identity_of("alice"), 1000).unwrap(), ["forced"]);
    assert_eq!(word(&space.renew("k", next, &identity_of("bob"), 1000).unwrap()), "renewed");
}
