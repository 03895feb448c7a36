use std::time::Duration;

use super::*;

#[test]
fn a_succession_is_of_one_lease_and_lapses_with_its_offer() {
    let (now, offer) = (Instant::now(), Duration::from_millis(1500));
    let [one, other] = [7, 8].map(|token| Token::new(token).expect("a token"));
    let succession = Succession::default();
    assert!(!succession.is_of(one, now));
    succession.mark(one, now + offer);
    assert!(succession.is_of(one, now) && !succession.is_of(other, now));
    assert!(!succession.is_of(one, now + offer));
}
