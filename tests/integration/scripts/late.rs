//! What comes to Redis past its deadline changes nothing there.

use super::{Answer, Attempt, JOIN, Space, identity_of, word};

/// Every change that a caller is answered for.
fn changes(space: &mut Space, token: u64) -> Vec<(&'static str, Answer)> {
    let alice = identity_of("alice");
    let entry = format!("a-0\nw-1\n1000\n{}\n\"nonce\":\"n-2\",\n", identity_of("bob"));
    let until = space.not_after;
    let again = |own| Attempt { own, ttl_ms: 120_000, ..Attempt::of("k", "alice", "n-2") };
    vec![
        ("a grant", space.acquire(&Attempt::of("free", "alice", "n-1"))),
        ("a replay", space.acquire(&Attempt { request: "r-2", ..Attempt::of("k", "alice", "n-1") })),
        ("an extension", space.acquire(&again("extend"))),
        ("a renewal", space.renew("k", token, &alice, 90_000)),
        ("a renewal of a hold", space.renew_as("extend", "r-2", "k", token, &alice, "90000")),
        ("a joining", space.run_in_line(JOIN, "k", 0, &[&entry, "w-1", "5000", "", "refuse", until])),
        ("an undo", space.undo(&Attempt { request: "r-2", ..Attempt::of("k", "alice", "n-1") })),
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
    assert_eq!(
        words,
        ["granted", "replayed", "renewed", "renewed", "renewed", "waiting", "told", "released", "forced"]
    );
}
