//! Attempts that are sent more than once, and leases that a caller has already.

use super::*;
use crate::policy::UserFacts;
use crate::quota::account::SENDINGS;

#[test]
fn what_the_caller_has_already_needs_no_room() {
    let all = locks(1);
    let ci = of(&all, "ci");
    let one = lease("a", 64, 60_000, Terms::NONE);
    granted(&ci, &one);
    let mut seat = ci.reserve(&key("a"), &reentrant("o", Mode::Exclusive)).expect("its own");
    assert!(!takes(&ci, "b", &reentrant("o", Mode::Exclusive)));
    assert!(!takes(&ci, "a", &attempt()));
    seat.granted(&one);
    drop(seat);
    assert!(!has_room(&ci), "a lease that was told of before is not given back");
    all.renewed(&lease("a", 64, 90_000, Terms::NONE), Some(&ci));
    all.ended(one.token);
    assert!(has_room(&ci), "a renewal enters no lease twice");
}

#[test]
fn no_lease_comes_of_an_attempt_without_a_place() {
    let shared = Mode::Shared { limit: None };
    let all = locks(1);
    let ci = of(&all, "ci");
    granted_to(&ci, &lease("a", 64, 60_000, Terms::NONE), &named("one", shared));
    for (attempt, is_admitted, why) in [
        (named("one", shared), true, "this very attempt"),
        (that_waits(named("one", shared)), true, "this very attempt"),
        (named("two", shared), false, "another one shares the key"),
        (Attempt { owner: Owner::system("p".to_owned()), ..named("one", shared) }, false, "another owner's"),
        (reentrant("o", shared), true, "its owner takes its lease on"),
        (that_waits(reentrant("o", shared)), true, "at once"),
        (reentrant("p", shared), false, "another owner shares the key"),
        (named("two", Mode::Exclusive), true, "it is held"),
        (reentrant("p", Mode::Exclusive), true, "it is held"),
        (that_waits(named("two", Mode::Exclusive)), false, "it may be granted later"),
        (that_waits(reentrant("p", Mode::Exclusive)), false, "it may be granted later"),
        (attempt(), false, "it has no name"),
    ] {
        assert_eq!(takes(&ci, "a", &attempt), is_admitted, "{why}: {attempt:?}");
        assert!(!takes(&ci, "b", &attempt), "another key: {attempt:?}");
    }
}

#[test]
fn a_key_that_stays_taken_is_no_place_for_the_next_lease() {
    let shared = Mode::Shared { limit: None };
    let all = locks(2);
    let ci = of(&all, "ci");
    let one = lease("a", 64, 60_000, Terms::NONE);
    granted_to(&ci, &one, &named("n", shared));
    all.released(one.token, Some(Duration::from_secs(60)));
    granted_to(&ci, &lease("a", 128, 60_000, Terms::NONE), &named("n", shared));
    assert!(!has_room(&ci), "the rest and the new lease");
    all.ended(one.token);
    assert!(has_room(&ci));
    granted_to(&ci, &lease("a", 192, 60_000, Terms::NONE), &named("n", shared));
    assert!(has_room(&ci), "an attempt has one lease: the one before has ended");
    granted(&ci, &lease("b", 256, 60_000, Terms::NONE));
    assert!(!takes(&ci, "b", &reentrant("p", shared)) && !has_room(&ci));
    all.released(Token::new(256).expect("a token"), Some(Duration::from_secs(60)));
    assert!(!takes(&ci, "b", &reentrant("o", shared)), "its owner gets a new one");
}

#[test]
fn a_lease_that_another_sidecar_granted_is_counted_when_it_is_renewed() {
    let all = locks(1);
    let (ci, web) = (of(&all, "ci"), of(&all, "web"));
    for number in [64, 128] {
        all.renewed(&lease("a", number, 60_000, Terms::NONE), Some(&ci));
    }
    assert!(!has_room(&ci), "more than it may have, and none is refused");
    all.renewed(&lease("a", 64, 60_000, Terms::NONE), Some(&web));
    all.renewed(&lease("b", 192, 60_000, Terms::NONE), None);
    assert!(has_room(&web), "it was counted already");
    all.ended(Token::new(64).expect("a token"));
    assert!(!has_room(&ci));
    all.released(Token::new(128).expect("a token"), None);
    assert!(has_room(&ci));
    let least = Terms { min_hold_ms: 60_000, ..Terms::NONE };
    let old = Lease { valid_until_ms: 59_800, valid_for_ms: 0, ..lease("a", 256, 0, least) };
    all.renewed(&old, Some(&ci));
    assert!(!has_room(&ci), "200 ms of its least hold are left");
    std::thread::sleep(Duration::from_millis(210));
    assert!(has_room(&ci));
}

#[test]
fn a_lease_is_counted_until_the_last_who_has_it_goes() {
    let all = quotas(Limits { locks: Some(1), holds: Some(5), ..Limits::default() });
    let ci = of(&all, "ci");
    let (one, name) = (lease("a", 64, 0, Terms::NONE), named("n", Mode::Exclusive));
    let first = held(&ci, &one, &name);
    let second = held(&ci, &one, &name);
    drop(first);
    assert!(!has_room(&ci), "the second holds it");
    drop(second);
    assert!(has_room(&ci));

    let long = lease("a", 128, 60_000, Terms::NONE);
    let (undelivered, told) = (answered(&ci, &long, &name), answered(&ci, &long, &name));
    told.settle();
    drop(undelivered);
    assert!(!has_room(&ci), "its caller has heard of it by the second");
    let hold = held(&ci, &long, &name);
    drop(hold);
    assert!(has_room(&ci), "a hold releases what it took over");

    let hold = held(&ci, &long, &name);
    let answer = answered(&ci, &long, &name);
    drop(hold);
    assert!(!has_room(&ci), "its answer is on its way");
    answer.settle();
    assert!(!has_room(&ci), "an acquire took it over");
    all.ended(long.token);
    let hold = held(&ci, &long, &name);
    let undelivered = answered(&ci, &long, &name);
    drop(hold);
    drop(undelivered);
    assert!(has_room(&ci), "none has it");

    let hold = held(&ci, &long, &name);
    all.released(long.token, Some(Duration::from_secs(60)));
    drop(hold);
    assert!(!has_room(&ci), "its rest");
    all.ended(long.token);
    let lingers = lease("a", 192, 0, Terms { delay_ms: 60_000, ..Terms::NONE });
    drop(held(&ci, &lingers, &name));
    assert!(!has_room(&ci), "its delay");
}

#[test]
fn an_attempt_is_not_refused_by_its_earlier_sendings() {
    let all = quotas(Limits { locks: Some(1), waiters: Some(1), holds: Some(1), ..Limits::default() });
    let ci = of(&all, "ci");
    let name = that_waits(named("n", Mode::Exclusive));
    let first = ci.reserve(&key("a"), &name).expect("room");
    let second = ci.reserve(&key("a"), &name).expect("its own place");
    assert!(!takes(&ci, "b", &name), "another key");
    drop(first);
    assert!(!has_room(&ci), "the second waits");
    assert_eq!(ci.watch().err(), Some(Exceeded { limit: Limit::Waiters, max: 1 }));
    drop(second);
    assert!(has_room(&ci) && ci.watch().is_ok());
    let hold = held(&ci, &lease("a", 64, 0, Terms::NONE), &name);
    let again = held(&ci, &lease("a", 64, 0, Terms::NONE), &name);
    assert_eq!(
        ci.hold([&key("a"), &key("b")].into_iter(), &name).err(),
        Some(Exceeded { limit: Limit::Holds, max: 1 })
    );
    drop(hold);
    assert_eq!(ci.hold(std::iter::once(&key("b")), &attempt()).err(), Some(Exceeded { limit: Limit::Holds, max: 1 }));
    drop(again);
    assert!(ci.hold(std::iter::once(&key("b")), &attempt()).is_ok());
}

#[test]
fn so_many_open_requests_of_one_attempt_share_a_place() {
    let all = quotas(Limits { waiters: Some(2), ..Limits::default() });
    let ci = of(&all, "ci");
    let name = that_waits(named("n", Mode::Exclusive));
    let send = || ci.reserve(&key("a"), &name);
    let mut sendings: Vec<Seat> = (0..2 * SENDINGS).map(|_| send().expect("room")).collect();
    assert!(send().is_err());
    sendings.truncate(SENDINGS as usize + 1);
    assert!(ci.watch().is_err(), "one more than share a place");
    sendings.truncate(SENDINGS as usize);
    let watching = ci.watch().expect("room");
    assert!(send().is_err());
    drop(watching);
    drop(sendings);
    let rest = [ci.watch(), ci.watch()];
    assert!(rest.iter().all(Result::is_ok) && ci.watch().is_err());
}

#[test]
fn a_post_that_renews_spends_no_request() {
    let all = quotas(Limits { requests: Some(2), ..Limits::default() });
    let user = Subject::User(UserFacts { sub: Some("ann".into()), claims: Arc::default() });
    let ann = all.of(&user).expect("a limit");
    let spent = |name: &str| (0..10).filter(|_| ann.spend_unless_renewing(&key(name)).is_ok()).count();
    let one = lease("a", 64, 60_000, Terms::NONE);
    granted(&ann, &one);
    assert_eq!((spent("a"), spent("b")), (10, 2));
    all.ended(one.token);
    assert_eq!(spent("a"), 0);
    let ci = of(&all, "ci");
    granted(&ci, &one);
    assert!(all.ledger().lease(one.token).is_none(), "a service caller's POST is no renewal: nothing is kept");
}
