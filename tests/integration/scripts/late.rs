//! What comes to Redis past its deadline changes nothing there.

use super::{Answer, Attempt, Space, WAIT, identity_of, word};

/// Every change that a caller is answered for.
fn changes(space: &mut Space, token: u64) -> Vec<(&'static str, Answer)> {
    let alice = identity_of("alice");
    let waiter = format!("a\nw-1\n1000\n{}\n\"nonce\":\"n-2\",\n", identity_of("bob"));
    let until = space.not_after;
    let again = |own| Attempt { own, ttl_ms: 120_000, ..Attempt::of("k", "alice", "n-2") };
    vec![
        ("a grant", space.acquire(&Attempt::of("free", "alice", "n-1"))),
        ("a replay", space.acquire(&Attempt { request: "r-2", ..Attempt::of("k", "alice", "n-1") })),
        ("a renewal by acquire", space.acquire(&again("renew"))),
        ("an extension", space.acquire(&again("extend"))),
        ("a renewal", space.renew("k", token, &alice, 90_000)),
        ("a wait", space.run_in_line(WAIT, "k", 0, &[&waiter, "5000", "", until])),
        ("a release", space.release("k", Some(token), &alice)),
        ("a removal by force", space.force("free", None)),
    ]
}

#[test]
fn a_change_that_comes_too_late_says_so_and_changes_nothing() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt { request: "r-1", ..Attempt::of("k", "alice", "n-1") });
    let before = space.contents();

    space.not_after = "1600000000000";
    for (change, answer) in changes(&mut space, token) {
        let row = answer.unwrap();
        assert_eq!(word(&row), "late", "{change}");
        let now_ms = space.now_ms();
        assert!((now_ms - 5_000..=now_ms).contains(&row[1].parse().unwrap()), "{change}: {row:?}");
        assert_eq!(space.contents(), before, "{change}");
    }
}

#[test]
fn a_change_that_comes_in_time_is_done() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt { request: "r-1", ..Attempt::of("k", "alice", "n-1") });
    space.not_after = (space.now_ms() + 60_000).to_string().leak();
    let words: Vec<String> =
        changes(&mut space, token).into_iter().map(|(_, answer)| word(&answer.unwrap()).to_owned()).collect();
    assert_eq!(words, ["granted", "replayed", "renewed", "renewed", "renewed", "waiting", "released", "forced"]);
}

#[test]
fn a_taking_back_is_never_too_late() {
    let mut space = Space::shared();
    let attempt = Attempt::of("k", "alice", "n-1");
    space.granted(&attempt);
    space.not_after = "1600000000000";
    assert_eq!(space.undo(&attempt).unwrap(), ["undone"]);
}
