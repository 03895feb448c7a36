//! The queue's state by itself: single inputs here, random interleavings of all of them in `random`.

mod random;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::event::{Effect, Entry, Input, Position, Turn};
use super::local::LOOK;
use super::messages::{Message, Word};
use super::state::Queues;
use crate::lock::scripts::{AdvanceRow, KeyState, Place, Stored};
use crate::lock::{Key, Token};

fn key(name: &str) -> Key {
    Key::parse(name).expect("a key")
}

fn entry(id: &str, owner: &str, is_reentrant: bool) -> Entry {
    Entry {
        id: id.to_owned(),
        text: format!("a-0\n{id}"),
        identity: format!("\"kind\":\"system\",\"owner\":\"{owner}\","),
        nonce: format!("\"nonce\":\"{id}\","),
        wait_ms: 60_000,
        is_reentrant,
        is_named: false,
        wants_progress: false,
    }
}

/// A lease of `owner`, granted to the sending `id`.
fn held(key: &Key, owner: &str, id: &str, left_ms: i64) -> KeyState {
    let token = 64 * 9 + key.shard().index() as u64;
    let text =
        format!(r#"{{"token":"{token}","kind":"system","owner":"{owner}","nonce":"{id}","since":5,"ttl":30000}}"#);
    KeyState::Held(Stored { text: text.into(), valid_until_ms: 35, left_ms })
}

/// One sidecar whose clock is ours to move.
struct Fixture {
    state: Queues,
    now: Instant,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { state: Queues::new("a-0".to_owned(), false), now: Instant::now() }
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        self.state.handle(input, self.now)
    }

    /// A waiter that is in the queue, behind a lease of which so much is left.
    fn waits(&mut self, name: &str, entry: Entry, left_ms: i64) {
        let id = entry.id.clone();
        assert_eq!(self.handle(Input::Join(key(name), entry)), []);
        assert_eq!(self.handle(Input::Joined { key: key(name), id, position: "7".to_owned(), left_ms }), []);
    }

    fn told(&mut self, name: &str, word: Word) -> Vec<Effect> {
        self.handle(Input::Told(Message { key: key(name), word }))
    }

    /// Lets the time pass until a look is due; how long that was, and the looks.
    fn next_looks(&mut self) -> (Duration, Vec<(Key, Vec<String>)>) {
        let due = self.state.next_due().expect("a look is planned");
        let passed = due.saturating_duration_since(self.now);
        self.now = due.max(self.now);
        let looks = self.state.due(self.now).into_iter().map(|effect| match effect {
            Effect::Look { key, ids, .. } => (key, ids),
            other => panic!("{other:?}"),
        });
        (passed, looks.collect())
    }

    /// Answers a look at a queue.
    fn looked(&mut self, name: &str, ids: &[&str], state: KeyState, places: &[Place]) -> Vec<Effect> {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.handle(Input::Looked { key: key(name), ids, row: AdvanceRow { key: state, places: places.to_vec() } })
    }
}

fn token() -> Token {
    Token::new(64 * 9 + key("k").shard().index() as u64).expect("a token")
}

#[test]
fn a_queue_is_looked_at_when_the_lease_before_it_ends_and_every_two_seconds_at_least() {
    for (left_ms, expected) in [(500, Duration::from_millis(503)), (30_000, LOOK), (-1, LOOK)] {
        let mut fixture = Fixture::new();
        fixture.waits("k", entry("w-1", "x", false), left_ms);
        for _ in 0..3 {
            let (passed, looks) = fixture.next_looks();
            assert_eq!((passed, looks), (expected, vec![(key("k"), vec!["w-1".to_owned()])]), "{left_ms}");
            assert!(passed < Duration::from_secs(2));
            assert_eq!(fixture.looked("k", &["w-1"], held(&key("k"), "y", "n-1", left_ms), &[Place::Behind(0)]), []);
        }
    }
}

#[test]
fn a_message_in_the_instant_of_a_look_is_newer_than_its_answer() {
    let mut fixture = Fixture::new();
    fixture.waits("k", entry("w-1", "x", false), 100);
    fixture.next_looks();
    fixture.told("k", Word::Shortened { token: token(), left_ms: 200 });
    fixture.looked("k", &["w-1"], held(&key("k"), "y", "n-1", 1_500), &[Place::Behind(0)]);
    assert_eq!(fixture.next_looks().0, Duration::from_millis(203));
}

#[test]
fn a_message_brings_a_look_forward_and_never_puts_one_off() {
    let mut fixture = Fixture::new();
    fixture.waits("k", entry("w-1", "x", false), 800);
    fixture.told("k", Word::Offer { left_ms: 60_000 });
    fixture.told("k", Word::Shortened { token: token(), left_ms: 200 });
    fixture.told("k", Word::Offer { left_ms: 1500 });
    assert_eq!(fixture.next_looks().0, Duration::from_millis(203));

    // The answer to what was asked before the message is older news.
    fixture.now += Duration::from_millis(1);
    fixture.told("k", Word::Offer { left_ms: 100 });
    fixture.looked("k", &["w-1"], held(&key("k"), "y", "n-1", 30_000), &[Place::Behind(0)]);
    assert_eq!(fixture.next_looks().0, Duration::from_millis(103));
    fixture.looked("k", &["w-1"], held(&key("k"), "y", "n-1", 30_000), &[Place::Behind(0)]);
    assert_eq!(fixture.next_looks().0, LOOK, "an answer does");
}

#[test]
fn a_turn_calls_its_waiter_once_and_is_declined_where_there_is_none() {
    let mut fixture = Fixture::new();
    fixture.waits("k", entry("w-1", "x", false), 800);
    let turn = |id: &str| Word::Turn { id: id.to_owned(), token: token(), left_ms: 1500, is_resigned: false };
    let call = Effect::Call { id: "w-1".to_owned(), turn: Turn::Offered(token()) };

    assert_eq!(fixture.told("k", turn("w-1")), [call]);
    assert_eq!(fixture.told("k", turn("w-1")), [], "it is taking the lease");
    let decline = Effect::Decline { key: key("k"), token: token() };
    assert_eq!(fixture.told("k", turn("w-2")), std::slice::from_ref(&decline));
    fixture.handle(Input::Leave(key("k"), "w-1".to_owned()));
    assert_eq!(fixture.told("k", turn("w-1")), [decline]);
    assert!(fixture.state.is_empty());
    assert_eq!(fixture.state.next_due(), None);
}

#[test]
fn a_look_calls_those_that_have_the_key_whatever_was_lost() {
    for (owner, id, is_reentrant, turn) in [
        ("x", "w-1", false, Some(Turn::Offered(token()))),
        ("x", "n-9", true, Some(Turn::AskAgain)),
        ("x", "n-9", false, None),
        ("y", "n-9", true, None),
    ] {
        let mut fixture = Fixture::new();
        fixture.waits("k", entry("w-1", "x", is_reentrant), 800);
        fixture.next_looks();

        let effects = fixture.looked("k", &["w-1"], held(&key("k"), owner, id, 30_000), &[Place::Behind(0)]);

        let calls: Vec<Effect> = turn.into_iter().map(|turn| Effect::Call { id: "w-1".to_owned(), turn }).collect();
        assert_eq!(effects, calls, "{owner} {id}");
    }
}

/// Leases that share the key, of which `owner` has the one that the first waiter waits for.
fn shared(key: &Key, owner: &str, left_ms: i64, look_ms: i64) -> KeyState {
    let KeyState::Held(awaited) = held(key, owner, "n-1", left_ms) else { panic!("a lease") };
    KeyState::Shared { awaited, look_ms }
}

#[test]
fn a_waiter_whose_attempt_or_owner_shares_the_key_asks_for_that_lease_however_it_hears_of_it() {
    for how in ["looked", "told"] {
        let mut fixture = Fixture::new();
        fixture.waits("k", entry("w-1", "x", true), 800);
        fixture.waits("k", entry("w-2", "y", true), 800);
        fixture.next_looks();

        let effects = match how {
            "looked" => {
                let state = shared(&key("k"), "z", 30_000, 1_000);
                fixture.looked("k", &["w-1", "w-2"], state, &[Place::Behind(0), Place::Served])
            }
            _ => fixture.told("k", Word::Again { id: "w-2".to_owned() }),
        };

        assert_eq!(effects, [Effect::Call { id: "w-2".to_owned(), turn: Turn::AskAgain }], "{how}");
        assert_eq!(fixture.told("k", Word::Again { id: "w-2".to_owned() }), [], "it is asking");
        assert_eq!(fixture.told("k", Word::Again { id: "w-9".to_owned() }), [], "it has gone");
    }
}

#[test]
fn a_key_that_leases_share_is_looked_at_when_redis_says_and_64_are_asked_about_that_may_have_one() {
    let mut fixture = Fixture::new();
    for number in 0..200 {
        let id = format!("w-{number}");
        fixture.waits("k", Entry { is_named: number % 2 == 0, ..entry(&id, "x", number % 4 == 1) }, 800);
    }
    let (_, mut looks) = fixture.next_looks();
    assert_eq!(looks.pop().expect("a look").1, ["w-0", "w-199"], "nothing is known of the key yet");
    let mut asked = BTreeSet::new();
    fixture.looked("k", &[], shared(&key("k"), "z", 30_000, 700), &[]);
    for _ in 0..3 {
        let (passed, mut looks) = fixture.next_looks();
        assert_eq!(passed, Duration::from_millis(703));
        let (_, ids) = looks.pop().expect("a look");
        assert!(ids.len() <= 66, "{}", ids.len());
        fixture.looked("k", &[], shared(&key("k"), "z", 30_000, 700), &[]);
        asked.extend(ids);
    }
    assert_eq!(asked.len(), 151, "all but those that can have none, of which the last is asked about anyway");
    fixture.next_looks();
    fixture.looked("k", &[], held(&key("k"), "z", "n-1", 700), &[]);
    assert_eq!(fixture.next_looks().1[0].1, ["w-0", "w-199"], "it is held alone");
}

#[test]
fn entries_that_are_missing_join_again_at_their_positions_all_at_once() {
    for how in ["looked", "dropped", "lost"] {
        let mut fixture = Fixture::new();
        let entries = [entry("w-1", "x", false), entry("w-2", "y", false), entry("w-3", "z", false)];
        entries.iter().for_each(|entry| fixture.waits("k", entry.clone(), 800));
        let (_, looks) = fixture.next_looks();
        assert_eq!(looks[0].1, ["w-1", "w-3"], "the first and the last");

        let effects = match how {
            "looked" => fixture.looked(
                "k",
                &["w-1", "w-3"],
                KeyState::Free { left_ms: -1 },
                &[Place::Behind(0), Place::Missing],
            ),
            "dropped" => fixture.told("k", Word::Dropped),
            _ => fixture.told("k", Word::Lost { by: "b-0".to_owned() }),
        };

        let position = Position { number: "7".to_owned(), is_missing: how == "looked" };
        let rejoin = |entry: Entry| Effect::Rejoin { key: key("k"), entry, position: position.clone() };
        assert_eq!(effects, entries.map(rejoin), "{how}");
    }
}

#[test]
fn where_one_of_ours_finds_the_queue_lost_the_others_are_looked_for_at_once() {
    let mut fixture = Fixture::new();
    ["w-1", "w-2"].iter().for_each(|id| fixture.waits("k", entry(id, id, false), 800));

    assert_eq!(fixture.told("k", Word::Lost { by: "a-0".to_owned() }), [], "those that a look missed join already");

    let (passed, looks) = fixture.next_looks();
    assert_eq!((passed, looks[0].1.len()), (Duration::ZERO, 2));
}

#[test]
fn an_entry_whose_waiter_left_while_it_joined_again_is_removed() {
    let mut fixture = Fixture::new();
    let waiter = entry("w-1", "x", false);
    fixture.waits("k", waiter.clone(), 800);
    fixture.told("k", Word::Dropped);
    let unanswered = Input::NotRejoined { key: key("k"), entry: waiter.clone() };
    assert_eq!(fixture.handle(unanswered.clone()), [], "it waits yet");
    fixture.handle(Input::Leave(key("k"), "w-1".to_owned()));
    for end in [Input::Rejoined { key: key("k"), entry: waiter.clone(), left_ms: 5 }, unanswered] {
        assert_eq!(fixture.handle(end), [Effect::Remove { key: key("k"), entry: waiter.clone() }]);
    }
}

#[test]
fn a_turn_that_a_rejoining_finds_is_declined_where_its_waiter_left() {
    let mut fixture = Fixture::new();
    fixture.waits("k", entry("w-1", "x", false), 800);
    fixture.handle(Input::Leave(key("k"), "w-1".to_owned()));
    let turn = Turn::Offered(token());
    let effects = fixture.handle(Input::Called { key: key("k"), id: "w-1".to_owned(), turn });
    assert_eq!(effects, [Effect::Decline { key: key("k"), token: token() }]);
}

#[test]
fn a_look_asks_about_256_positions_at_most_and_in_turn_about_all() {
    let mut fixture = Fixture::new();
    for number in 0..1000 {
        let curious = Entry { wants_progress: true, ..entry(&format!("w-{number}"), "x", false) };
        assert_eq!(fixture.handle(Input::Join(key("k"), curious.clone())), []);
        let (id, position) = (curious.id, "7".to_owned());
        fixture.handle(Input::Joined { key: key("k"), id, position, left_ms: 500 });
    }
    let mut asked = BTreeSet::new();
    for _ in 0..4 {
        let (_, mut looks) = fixture.next_looks();
        let (_, ids) = looks.pop().expect("a look");
        assert!(ids.len() <= 258 && ids.contains(&"w-0".to_owned()) && ids.contains(&"w-999".to_owned()));
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        fixture.looked("k", &names, held(&key("k"), "y", "n-1", 50), &vec![Place::Behind(1); ids.len()]);
        asked.extend(ids);
    }
    assert_eq!(asked.len(), 1000);
}

#[test]
fn a_queue_that_redis_refuses_again_and_again_keeps_no_other_from_being_looked_at() {
    let mut fixture = Fixture::new();
    for name in ["a", "b", "c"] {
        fixture.waits(name, entry(name, "x", false), 500);
    }
    let (_, looks) = fixture.next_looks();
    for (key, _) in looks {
        fixture.handle(Input::NotLooked { key, is_of_this_key: false });
    }
    let (mut seen, begun) = (BTreeSet::new(), fixture.now);
    while fixture.now < begun + LOOK {
        for (key, _) in fixture.next_looks().1 {
            seen.insert(key.as_str().to_owned());
            let is_of_this_key = key.as_str() == "a";
            if is_of_this_key {
                fixture.handle(Input::NotLooked { key, is_of_this_key });
            }
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn a_redis_that_is_silent_is_asked_by_one_look_for_all_queues_and_all_are_looked_at_when_it_answers() {
    let mut fixture = Fixture::new();
    let names: Vec<String> = (0..100).map(|number| format!("k-{number}")).collect();
    for name in &names {
        fixture.waits(name, entry(&format!("w-{name}"), "x", false), 500);
    }
    let (_, looks) = fixture.next_looks();
    assert_eq!(looks.len(), 100);
    for (key, _) in looks {
        fixture.handle(Input::NotLooked { key, is_of_this_key: false });
    }
    let mut asked = 0;
    let begun = fixture.now;
    while fixture.now < begun + Duration::from_secs(2) {
        let (_, looks) = fixture.next_looks();
        assert!(looks.len() <= 1, "{looks:?}");
        for (key, _) in looks {
            asked += 1;
            fixture.handle(Input::NotLooked { key, is_of_this_key: false });
        }
    }
    assert!((20..=50).contains(&asked), "{asked} looks in two seconds");
    let (key, ids) = loop {
        if let Some(look) = fixture.next_looks().1.pop() {
            break look;
        }
    };
    let name = key.as_str().to_owned();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();

    let effects = fixture.looked(&name, &ids, KeyState::Free { left_ms: -1 }, &[Place::Behind(0)]);

    assert_eq!(effects.len(), 1, "it may have lost its place: {effects:?}");
    let (passed, looks) = fixture.next_looks();
    assert_eq!((passed, looks.len()), (Duration::ZERO, 100), "the one that was answered, too: that was a moment ago");
}

#[test]
fn a_queue_in_which_there_is_nothing_to_ask_about_puts_off_no_look_at_a_redis_that_was_silent() {
    let mut fixture = Fixture::new();
    fixture.waits("k", entry("w-1", "x", false), 100);
    assert_eq!(fixture.next_looks().1.len(), 1);
    fixture.handle(Input::NotLooked { key: key("k"), is_of_this_key: false });
    fixture.told("k", Word::Turn { id: "w-1".to_owned(), token: token(), left_ms: 1_500, is_resigned: false });
    assert_eq!(fixture.next_looks().1, [], "its turn has come");

    // It had lapsed, and the key is free.
    fixture.handle(Input::Leave(key("k"), "w-1".to_owned()));
    fixture.waits("k", entry("w-1", "x", false), -2);

    let (passed, looks) = fixture.next_looks();
    assert_eq!((passed, looks.len()), (Duration::from_millis(300), 1));
}
