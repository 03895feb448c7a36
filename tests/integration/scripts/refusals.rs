//! What Redis may refuse: a refused script has changed nothing, and what frees a lock works out of memory too.

use super::{Answer, Attempt, Space, identity_of, word};
use crate::harness::TestRedis;

/// Runs a script on a key that alice holds under `token`; `acquire` on one that is free.
fn run(space: &mut Space, script: &str, token: u64) -> Answer {
    let attempt = Attempt::of("held", "alice", "n-1");
    match script {
        "acquire" => space.acquire(&Attempt::of("free", "alice", "n-1")),
        "renew" => space.renew("held", token, &attempt.identity, 90_000),
        "release" => space.release("held", Some(token), &attempt.identity),
        "release of a key" => space.release("held", None, &attempt.identity),
        "force" => space.force("held", None),
        "undo" => space.undo(&attempt),
        _ => panic!("no script {script}"),
    }
}

const ALL: [&str; 6] = ["acquire", "renew", "release", "release of a key", "force", "undo"];

/// Asserts that each of `scripts` fails with `code`, and that nothing changes.
fn refused(space: &mut Space, token: u64, scripts: &[&str], code: &str) {
    let before = space.contents();
    for script in scripts {
        let error = run(space, script, token).unwrap_err();
        assert!(error.contains(code), "{script}: {error}");
    }
    assert_eq!(space.contents(), before);
}

#[test]
fn out_of_memory_acquire_fails_and_has_changed_nothing() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    space.granted(&Attempt::of("held", "alice", "n-1"));
    let contents = space.contents();
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);

    let error = space.acquire(&Attempt::of("free", "bob", "n-2")).unwrap_err();
    assert!(error.contains("OOM"), "{error}");
    assert_eq!(space.contents(), contents);
    assert_eq!(word(&space.acquire(&Attempt::of("held", "bob", "n-2")).unwrap()), "held", "still true, so still said");
}

#[test]
fn out_of_memory_the_owner_still_renews_by_acquire_and_has_what_it_asks_for() {
    for (own, ttl_ms) in [("extend", 90_000), ("extend", 30_000)] {
        let redis = TestRedis::start(&[]);
        let mut space = Space::on(&redis);
        space.granted(&Attempt::of("held", "alice", "n-1"));
        redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);

        let row = space.acquire(&Attempt { own, ttl_ms, ..Attempt::of("held", "alice", "n-2") }).unwrap();

        assert_eq!(
            row[..3],
            ["renewed".to_owned(), space.lease("held").unwrap(), space.valid_until("held").to_string()]
        );
        assert_eq!(row[1].contains("\"ttl\":90000"), ttl_ms == 90_000, "{row:?}");
    }
}

#[test]
fn out_of_memory_a_repetition_is_told_and_an_undo_leaves_it_its_lease() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let first = Attempt { request: "r-1", ..Attempt::of("held", "alice", "n-1") };
    let second = Attempt { request: "r-2", ..first.clone() };
    space.granted(&first);
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);

    assert_eq!(word(&space.acquire(&second).unwrap()), "replayed");
    assert_eq!(space.undo(&first).unwrap(), ["told"]);
    assert_eq!(space.undo(&second).unwrap(), ["undone"]);
}

#[test]
fn out_of_memory_everything_that_keeps_or_frees_a_lock_works() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let attempts: Vec<Attempt> = ["a", "b", "c", "d"].iter().map(|key| Attempt::of(key, "alice", "n-1")).collect();
    let tokens: Vec<u64> = attempts.iter().map(|attempt| space.granted(attempt)).collect();
    let (index, gone) = (space.tokens(), "gone");
    space.ask::<i64>("ZADD", &[&index, "64", gone]);
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);

    assert_eq!(word(&space.renew("a", tokens[0], &identity_of("alice"), 90_000).unwrap()), "renewed");
    assert_eq!(space.release("a", Some(tokens[0]), &identity_of("alice")).unwrap(), ["released"]);
    assert_eq!(space.release("b", None, &identity_of("alice")).unwrap(), ["released"]);
    assert_eq!(word(&space.force("c", None).unwrap()), "forced");
    assert_eq!(space.undo(&attempts[3]).unwrap(), ["undone"]);
    assert_eq!(space.sweep(&[gone]).unwrap(), ["swept", "1"]);
    assert_eq!(space.read(&["a"]), [["free", "0"]]);
}

#[test]
fn an_index_of_another_type_refuses_grants_and_releases_but_leaves_no_lock_half_done() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("held", "alice", "n-1"));
    let tokens = space.tokens();
    space.ask::<i64>("DEL", &[&tokens]);
    space.ask::<String>("SET", &[&tokens, "x"]);

    refused(&mut space, token, &["acquire", "release", "release of a key", "force", "undo"], "WRONGTYPE");

    assert_eq!(word(&space.renew("held", token, &identity_of("alice"), 90_000).unwrap()), "renewed");
    assert!(space.sweep(&["gone"]).is_err());
}

#[test]
fn a_replica_changes_nothing() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let token = space.granted(&Attempt::of("held", "alice", "n-1"));
    redis.ask::<String>("REPLICAOF", &["127.0.0.1", "1"]);

    refused(&mut space, token, &ALL, "READONLY");
}

#[test]
fn a_master_that_lacks_replicas_changes_nothing() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let token = space.granted(&Attempt::of("held", "alice", "n-1"));
    redis.ask::<String>("CONFIG", &["SET", "min-replicas-to-write", "1"]);

    refused(&mut space, token, &ALL, "NOREPLICAS");
}

#[test]
fn a_user_who_may_not_get_is_refused_and_not_told_of_a_stranger() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let token = space.granted(&Attempt::of("held", "alice", "n-1"));
    redis.ask::<String>("ACL", &["SETUSER", "limited", "on", "nopass", "~*", "+@all", "-getrange"]);
    let contents = space.contents();
    space.ask::<String>("AUTH", &["limited", "any"]);

    let others = space.acquire(&Attempt::of("held", "bob", "n-2")).unwrap_err();
    assert!(others.contains("can't run this command"), "{others}");
    // Whether a free key is free can be seen without reading it.
    for script in ALL.into_iter().filter(|script| *script != "acquire") {
        let error = run(&mut space, script, token).unwrap_err();
        assert!(error.contains("can't run this command"), "{script}: {error}");
    }
    let names = [space.lock("held"), space.queue("held")];
    assert!(space.eval(super::READ, &names, &[""]).is_err());
    space.connection = redis.connection();
    assert_eq!(space.contents(), contents);
}
