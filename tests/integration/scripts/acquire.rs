//! `acquire.lua`, row by row.

use super::{Attempt, Space, assert_left, identity_of, told, word};

#[test]
fn a_free_key_is_granted_with_a_lease_an_expiry_and_an_index_entry() {
    let mut space = Space::shared();
    let before = space.now_ms();

    let row = space.acquire(&Attempt { further: ",\"label\":\"A\"".to_owned(), ..Attempt::of("k", "alice", "n-1") });

    let row = row.unwrap();
    let (token, since, valid_until): (u64, i64, i64) =
        (row[1].parse().unwrap(), row[2].parse().unwrap(), row[3].parse().unwrap());
    assert_eq!((word(&row), row.len()), ("granted", 4));
    assert!((before..=space.now_ms()).contains(&since), "{row:?}");
    assert_eq!(valid_until, since + 60_000);
    let lease = format!(
        r#"{{"token":"{token}","kind":"user","owner":"alice","nonce":"n-1","since":{since},"ttl":60000,"label":"A"}}"#
    );
    assert_eq!(space.lease("k"), Some(lease));
    assert_eq!(space.valid_until("k"), valid_until);
    assert_eq!(space.indexed("k"), Some(token));
}

#[test]
fn the_same_attempt_is_replayed_with_its_lease_and_the_expiry_it_had() {
    let mut space = Space::shared();
    let attempt = Attempt::of("k", "alice", "n-1");
    space.granted(&attempt);
    let (lease, valid_until) = (space.lease("k").unwrap(), space.valid_until("k"));

    let again = space.acquire(&Attempt { ttl_ms: 120_000, own: "extend", ..attempt }).unwrap();

    assert_left(&again, &["replayed", &lease, &valid_until.to_string()], 60_000);
    assert_eq!((space.lease("k"), space.valid_until("k")), (Some(lease), valid_until));
}

#[test]
fn a_held_key_is_left_as_it_is_and_its_lease_is_told() {
    let mut space = Space::shared();
    space.granted(&Attempt::of("k", "alice", "n-1"));
    let (lease, valid_until) = (space.lease("k").unwrap(), space.valid_until("k").to_string());
    let contents = space.contents();

    for (user, own) in [("alice", "refuse"), ("bob", "refuse"), ("bob", "extend")] {
        let row = space.acquire(&Attempt { own, ..Attempt::of("k", user, "n-2") });
        assert_left(&row.unwrap(), &["held", &lease, &valid_until], 60_000);
    }
    assert_eq!(space.contents(), contents);
}

#[test]
fn a_nonce_of_another_owner_or_key_is_no_replay() {
    let mut space = Space::shared();
    space.granted(&Attempt::of("k", "alice", "n-1"));

    assert_eq!(word(&space.acquire(&Attempt::of("k", "bob", "n-1")).unwrap()), "held");
    assert_eq!(word(&space.acquire(&Attempt::of("other", "alice", "n-1")).unwrap()), "granted");
}

#[test]
fn a_user_and_a_system_owner_of_one_name_are_two() {
    let mut space = Space::shared();
    space.granted(&Attempt::of("k", "alice", "n-1"));
    let identity = identity_of("alice").replace("user", "system");

    let row = space.acquire(&Attempt { identity, own: "extend", ..Attempt::of("k", "", "n-1") });

    assert_eq!(word(&row.unwrap()), "held");
}

#[test]
fn what_is_no_string_is_a_stranger_and_stays() {
    for (command, args) in [("LPUSH", &["x"][..]), ("HSET", &["f", "x"]), ("SADD", &["x"]), ("ZADD", &["1", "x"])] {
        let mut space = Space::shared();
        let name = space.lock("k");
        space.ask::<i64>(command, &[&[name.as_str()], args].concat());
        let contents = space.contents();

        let row = space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", "n-1") });

        assert_eq!(row.unwrap(), ["stranger"], "{command}");
        assert_eq!(space.contents(), contents, "{command}");
    }
}

#[test]
fn a_strangers_string_is_held_even_when_empty_or_made_to_look_like_the_owners() {
    let copy = format!("{{\"copy\":{{\"token\":\"1\",{}\"nonce\":\"n-1\",\"since\":1}}}}", identity_of("alice"));
    let near = format!("{{\"token\":\"\",{}\"nonce\":\"n-1\",\"since\":1}}", identity_of("alice"));
    for text in
        ["", "1", "true", "null", "{\"token\":\"", &copy, &near, &format!("{}\"nonce\":\"n-1\",", identity_of("alice"))]
    {
        for nonce in ["n-1", "n-2"] {
            let mut space = Space::shared();
            let name = space.lock("k");
            space.ask::<String>("SET", &[&name, text]);
            let contents = space.contents();

            let row = space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", nonce) });

            assert_eq!(row.unwrap(), ["held", told(text), "-1", "-1"]);
            assert_eq!(space.contents(), contents, "{text}");
        }
    }
}

#[test]
fn no_text_of_one_owner_passes_for_anothers_field() {
    let alice = Attempt { own: "extend", ..Attempt::of("k", "alice", "n-1") };
    let name = format!("{}{}", alice.identity, alice.nonce);
    let imitation = format!("x\",{name}");
    for hostile in [imitation.as_str(), &name, "\\", "\\\\\"", "kind", "\",\"by\":\"*\",", "\"by\":\"*\","] {
        let further = format!(",\"label\":{0},\"description\":{0}", super::json(hostile));
        for attempt in [
            Attempt { further, ..Attempt::of("k", "mallory", "n-2") },
            Attempt::of("k", hostile, "n-2"),
            Attempt { request: "r-1", ..Attempt::of("k", "mallory", hostile) },
        ] {
            let mut space = Space::shared();
            let token = space.granted(&attempt);

            assert_eq!(word(&space.acquire(&alice).unwrap()), "held", "{hostile}");
            assert_eq!(word(&space.renew("k", token, &alice.identity, 1000).unwrap()), "other", "{hostile}");
            assert_eq!(word(&space.release("k", None, &alice.identity).unwrap()), "other", "{hostile}");
            assert_eq!(space.undo(&alice).unwrap(), ["nothing"], "{hostile}");
            assert_eq!(space.undo(&attempt).unwrap(), ["undone"], "{hostile}");
        }
    }
}

#[tokio::test]
async fn an_expired_key_is_granted_anew() {
    let mut space = Space::shared();
    let first = space.granted(&Attempt { ttl_ms: 20, ..Attempt::of("k", "alice", "n-1") });
    space.expired("k").await;

    let second = space.granted(&Attempt::of("k", "bob", "n-2"));

    assert!(second > first, "{second} after {first}");
    assert_eq!(space.indexed("k"), Some(second));
}
