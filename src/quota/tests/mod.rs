//! What is counted, and what is given back.

mod attempts;

use super::ledger::FEW;
use super::*;
use crate::lock::{Mode, Owner, Terms, Ttl, Wait};

fn key(name: &str) -> Key {
    Key::parse(name).expect("a key")
}

fn lease(name: &str, number: u64, valid_for_ms: u64, terms: Terms) -> Lease {
    Lease {
        mode: Mode::Exclusive,
        key: key(name),
        token: Token::new(number).expect("a token"),
        owner: Owner::system("o".to_owned()),
        since_ms: 0,
        valid_until_ms: valid_for_ms,
        ttl_ms: valid_for_ms,
        valid_for_ms,
        promised_until: None,
        terms,
        is_resting: false,
        meta: None,
    }
}

fn quotas(limits: Limits) -> Arc<Quotas> {
    Arc::new(Quotas::new(limits, None, Arc::new(Metrics::new())))
}

fn of(quotas: &Arc<Quotas>, name: &str) -> Quota {
    quotas.of(&Subject::Token(name.into())).expect("a limit")
}

fn locks(max: u64) -> Arc<Quotas> {
    quotas(Limits { locks: Some(max), ..Limits::default() })
}

/// An attempt of the owner `o`.
fn attempt() -> Attempt {
    Attempt::plain(Owner::system("o".to_owned()), Ttl::from_ms(60_000, 60_000).expect("a ttl"), Reentry::Refuse)
}

fn named(name: &str, mode: Mode) -> Attempt {
    Attempt { name: Some(name.to_owned()), mode, ..attempt() }
}

fn reentrant(owner: &str, mode: Mode) -> Attempt {
    Attempt { owner: Owner::system(owner.to_owned()), reentry: Reentry::Extend, mode, ..attempt() }
}

fn that_waits(attempt: Attempt) -> Attempt {
    let wait = Wait { until: Instant::now() + Duration::from_secs(60), progress: None, succession: None };
    Attempt { wait: Some(wait), ..attempt }
}

/// Whether there is room for one more.
fn has_room(quota: &Quota) -> bool {
    takes(quota, "any", &attempt())
}

/// Whether the attempt has a place, or needs none.
fn takes(quota: &Quota, name: &str, attempt: &Attempt) -> bool {
    quota.reserve(&key(name), attempt).is_ok()
}

/// A lease that its caller has heard of.
fn granted(quota: &Quota, lease: &Lease) {
    granted_to(quota, lease, &attempt());
}

fn granted_to(quota: &Quota, lease: &Lease, attempt: &Attempt) {
    answered(quota, lease, attempt).settle();
}

/// A lease of which the answer is on its way.
fn answered(quota: &Quota, lease: &Lease, attempt: &Attempt) -> Seat {
    let mut seat = quota.reserve(&lease.key, attempt).expect("room");
    seat.granted(lease);
    seat
}

/// A hold of a lease.
fn held(quota: &Quota, lease: &Lease, attempt: &Attempt) -> HoldSeat {
    let seat = quota.reserve(&lease.key, attempt).expect("room");
    let mut hold = quota.hold(std::iter::once(&lease.key), attempt).expect("room");
    hold.takes(seat, lease);
    hold
}

#[test]
fn a_place_is_taken_from_the_reservation_to_the_end_of_the_lease() {
    let all = locks(1);
    let (ci, web) = (of(&all, "ci"), of(&all, "web"));
    let seat = ci.reserve(&key("a"), &attempt()).expect("room");
    let told = ci.reserve(&key("b"), &attempt()).err();
    assert_eq!(told, Some(Exceeded { limit: Limit::Locks, max: 1 }));
    assert!(has_room(&web), "another caller's is another matter");
    drop(seat);
    assert!(has_room(&ci), "it was not granted");
    let one = lease("a", 64, 60_000, Terms::NONE);
    let mut seat = ci.reserve(&one.key, &attempt()).expect("room");
    seat.granted(&one);
    drop(seat);
    assert!(has_room(&ci), "no caller heard of it");
    granted(&ci, &one);
    assert!(!has_room(&ci));
    all.released(one.token, None);
    assert!(has_room(&ci));
    granted(&ci, &one);
    ci.released_key(&one.key);
    assert!(has_room(&ci));
    granted(&ci, &lease("a", 128, 0, Terms::NONE));
    assert!(has_room(&ci), "it has expired");
}

#[test]
fn a_key_that_stays_taken_counts_on() {
    let all = locks(1);
    let ci = of(&all, "ci");
    let one = lease("a", 64, 60_000, Terms::NONE);
    granted(&ci, &one);
    all.released(one.token, Some(Duration::from_secs(60)));
    assert!(!has_room(&ci), "a rest");
    all.ended(one.token);
    let two = lease("a", 128, 60_000, Terms { min_hold_ms: 60_000, ..Terms::NONE });
    granted(&ci, &two);
    all.released(two.token, None);
    assert!(!has_room(&ci), "its least hold");
    all.ended(two.token);
    let three = lease("a", 192, 0, Terms { delay_ms: 60_000, ..Terms::NONE });
    granted(&ci, &three);
    assert!(!has_room(&ci), "its delay");
}

#[test]
fn waiters_and_holds_have_places_of_their_own() {
    let all = quotas(Limits { locks: Some(3), waiters: Some(1), holds: Some(1), ..Limits::default() });
    let ci = of(&all, "ci");
    let waiting = ci.reserve(&key("a"), &that_waits(attempt())).expect("room");
    let told = ci.reserve(&key("b"), &that_waits(attempt())).err();
    assert_eq!(told, Some(Exceeded { limit: Limit::Waiters, max: 1 }));
    let other = ci.reserve(&key("b"), &attempt()).expect("it does not wait");
    drop(waiting);
    let hold_it = || ci.hold(std::iter::once(&key("b")), &attempt());
    let mut hold = hold_it().expect("room");
    assert_eq!(hold_it().err(), Some(Exceeded { limit: Limit::Holds, max: 1 }));
    hold.takes(other, &lease("b", 64, 0, Terms::NONE));
    let rest = [ci.reserve(&key("c"), &attempt()), ci.reserve(&key("d"), &attempt())];
    assert!(rest.iter().all(Result::is_ok) && !has_room(&ci), "a hold counts as long as its connection lasts");
    drop(hold);
    assert!(has_room(&ci) && hold_it().is_ok());
}

#[test]
fn one_that_watches_takes_a_place_among_those_that_wait() {
    let all = quotas(Limits { waiters: Some(2), ..Limits::default() });
    let (ci, web) = (of(&all, "ci"), of(&all, "web"));
    let watching = ci.watch().expect("room");
    let waiting = ci.reserve(&key("a"), &that_waits(attempt())).expect("room");
    let exceeded = Some(Exceeded { limit: Limit::Waiters, max: 2 });
    assert_eq!(ci.watch().err(), exceeded);
    assert_eq!(ci.reserve(&key("b"), &that_waits(attempt())).err(), exceeded);
    assert!(has_room(&ci) && web.watch().is_ok());
    drop(watching);
    let watching = ci.watch().expect("room");
    assert_eq!(ci.watch().err(), exceeded);
    drop((waiting, watching));
    assert!(ci.watch().is_ok());
}

#[test]
fn requests_are_refilled_within_a_second() {
    let mut account = Account::default();
    let now = Instant::now();
    let spent = |account: &mut Account, at| (0..10).filter(|_| account.spend(4, at)).count();
    assert_eq!(spent(&mut account, now), 4);
    assert_eq!(spent(&mut account, now + Duration::from_millis(500)), 2);
    assert_eq!(spent(&mut account, now + Duration::from_secs(60)), 4, "no more than the bucket holds");
    assert_eq!((0..10).filter(|_| account.spend(0, now)).count(), 0);
}

#[test]
fn accounts_that_count_nothing_do_not_pile_up() {
    let all = locks(1);
    for number in 0..10_000 {
        assert!(has_room(&of(&all, &format!("caller-{number}"))));
    }
    let kept = all.ledger().accounts.len();
    assert!(kept <= 2 * FEW, "{kept}");
    let stays = of(&all, "stays");
    granted(&stays, &lease("a", 64, 60_000, Terms::NONE));
    for number in 0..1000 {
        assert!(has_room(&of(&all, &format!("other-{number}"))));
    }
    assert!(!has_room(&stays));
}

#[test]
fn leases_that_have_expired_do_not_pile_up() {
    let all = locks(1);
    let ci = of(&all, "ci");
    for number in 1..10_000 {
        all.renewed(&lease("a", number * 64, 0, Terms::NONE), Some(&ci));
    }
    let kept = all.ledger().account(&ci.name).locks();
    assert!(kept <= 2 * FEW as u64, "{kept}");
}
