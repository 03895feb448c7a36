use super::*;

const TTL: Duration = Duration::from_secs(30);

fn held(now: Instant) -> Held {
    Held::new(TTL, 0, now + TTL, false, None, now)
}

/// Lets time pass to the next due moment.
fn next(held: &mut Held, now: &mut Instant) -> Vec<Effect> {
    *now = held.next_due().max(*now);
    held.handle(Input::Due, *now)
}

#[test]
fn a_hold_that_is_idle_says_something_every_two_seconds_and_renews_after_a_third_of_its_ttl() {
    let begun = Instant::now();
    let (mut held, mut now, mut said) = (held(begun), begun, begun);
    for _ in 0..200 {
        for effect in next(&mut held, &mut now) {
            match effect {
                Effect::SayLeft(_) => {}
                Effect::Renew => {
                    assert!(now <= begun + TTL / 3 || now - said <= TTL / 3);
                    assert_eq!(
                        held.handle(Input::Renewed { until: now + TTL, is_last: false }, now),
                        [Effect::SayRenewed]
                    );
                }
                other => panic!("{other:?}"),
            }
            assert!(now - said <= Duration::from_secs(2), "silent for {:?}", now - said);
            said = now;
        }
    }
    assert!(now > begun + Duration::from_secs(100));
}

#[test]
fn a_hold_whose_renewals_fail_tries_again_five_times_a_second_and_ends_before_its_promise_does() {
    let begun = Instant::now();
    let (mut held, mut now, mut tried) = (held(begun), begun, 0);
    let end = 'ended: loop {
        for effect in next(&mut held, &mut now) {
            match effect {
                Effect::Renew => {
                    tried += 1;
                    assert_eq!(held.handle(Input::NotRenewed, now), []);
                }
                Effect::End(end) => break 'ended end,
                _ => {}
            }
        }
    };
    assert_eq!((end, now), (End::Unrenewed, begun + TTL - LAST_WORD));
    assert!((90..=101).contains(&tried), "{tried} in twenty seconds");
}

#[test]
fn a_renewal_that_is_never_answered_outlives_no_promise() {
    let begun = Instant::now();
    let (mut held, mut now) = (held(begun), begun);
    loop {
        if next(&mut held, &mut now) == [Effect::End(End::Unrenewed)] {
            break assert_eq!(now, begun + TTL - LAST_WORD);
        }
    }
}

#[test]
fn a_lease_that_was_shortened_is_promised_for_no_longer_and_renewed_at_once() {
    let now = Instant::now();
    let mut held = held(now);
    let left = Duration::from_secs(2);
    assert_eq!(held.handle(Input::Shortened { left }, now), [Effect::SayLeft(left), Effect::Renew]);
    assert_eq!(held.deadline(), now + left - LAST_WORD);
    assert_eq!(held.handle(Input::Shortened { left: TTL }, now), [Effect::Renew], "longer is no news");
    assert_eq!(held.deadline(), now + left - LAST_WORD);
}

#[test]
fn a_hold_ends_when_its_credential_does_and_when_the_grace_of_a_stop_is_over() {
    let now = Instant::now();
    let mut ending = Held::new(TTL, 0, now + TTL, false, Some(now + Duration::from_secs(1)), now);
    assert_eq!(ending.next_due(), now + Duration::from_secs(1));
    assert_eq!(ending.handle(Input::Due, ending.next_due()), [Effect::End(End::Unauthorized)]);
    let (mut stopping, grace) = (held(now), Duration::from_millis(500));
    assert_eq!(stopping.handle(Input::Draining { grace }, now), [Effect::SayDraining]);
    assert_eq!(stopping.handle(Input::Draining { grace: TTL }, now), [], "once");
    assert_eq!(stopping.handle(Input::Due, now + grace), [Effect::End(End::Drained)]);
}

#[test]
fn the_renewals_of_many_holds_spread_over_a_tenth_of_the_time_between_them() {
    let now = Instant::now();
    let after = |chance| Held::new(TTL, chance, now + TTL, false, None, now).renew_at - now;
    let mut due: Vec<_> = (0..=255).map(after).collect();
    due.sort();
    due.dedup();
    assert_eq!(due.len(), 256);
    assert!(due[0] >= Duration::from_secs(9) && due[255] == TTL / 3, "{:?} to {:?}", due[0], due[255]);
}

#[test]
fn a_hold_that_may_be_renewed_no_longer_ends_for_that_reason_and_a_shorter_time_for_its_own() {
    let now = Instant::now();
    let (mut capped, left) = (held(now), Duration::from_secs(4));
    capped.handle(Input::Renewed { until: now + left, is_last: true }, now);
    let mut shortened = capped.clone();
    let end = loop {
        if let [Effect::End(end)] = capped.handle(Input::Due, capped.next_due())[..] {
            break end;
        }
    };
    assert_eq!((end, end.loss(), capped.next_due()), (End::Capped, Some("max-hold"), now + left - LAST_WORD));
    shortened.handle(Input::Shortened { left: left / 2 }, now);
    assert_eq!(shortened.handle(Input::Due, now + left / 2), [Effect::End(End::Unrenewed)]);
}

#[test]
fn a_lost_lease_whose_key_outlasts_its_promise_is_left_to_its_terms() {
    let ends = [
        (End::Closed, true, true),
        (End::Drained, true, true),
        (End::Superseded, true, false),
        (End::Unrenewed, true, false),
        (End::Unauthorized, true, false),
        (End::Capped, false, false),
        (End::Released, false, false),
        (End::Forced, false, false),
        (End::Expired, false, false),
    ];
    for (end, is_released, is_released_with_terms) in ends {
        assert_eq!(
            (end.leaves_a_lease(false), end.leaves_a_lease(true)),
            (is_released, is_released_with_terms),
            "{end:?}"
        );
    }
}

#[test]
fn a_renewal_that_is_heard_late_promises_no_more_than_when_it_was_asked_for() {
    let begun = Instant::now();
    let mut held = held(begun);
    // Frozen for more than a ttl between Redis's answer and this.
    let late = begun + TTL + Duration::from_secs(5);
    held.handle(Input::Renewed { until: begun + TTL, is_last: false }, late);
    assert!(held.left(late).is_zero());
    assert_eq!(held.handle(Input::Due, late), [Effect::End(End::Unrenewed)]);
}
