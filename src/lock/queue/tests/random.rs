//! Random interleavings.

use super::*;

/// A small generator whose numbers only have to differ: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Whatever happens in whatever order: each queue with waiters is looked at within [`LOOK`] unless Redis is silent, a
/// waiter is called once, only an offer that has no waiter is declined, and a message puts nothing off.
#[test]
fn random_interleavings_keep_every_queue_looked_at_and_every_waiter_called_once() {
    for seed in 1..=60_u64 {
        let (mut dice, mut fixture) = (Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)), Fixture::new());
        let names = ["k", "l", "m"];
        let (mut waiting, mut called) = (BTreeSet::new(), BTreeSet::new());
        let (mut looks, mut is_silent): (Vec<(Key, Vec<String>)>, bool) = (Vec::new(), false);
        for step in 0..400 {
            fixture.now += Duration::from_millis(dice.roll(120));
            let name = names[dice.roll(3) as usize];
            let some = waiting.iter().nth(dice.roll(8) as usize).cloned();
            let (name, id) = some.unwrap_or((name.to_owned(), "w-gone".to_owned()));
            let due_before = fixture.state.next_due();
            let choice = dice.roll(10);
            let effects = match choice {
                0 | 1 => {
                    let id = format!("w-{step}");
                    waiting.insert((name.clone(), id.clone()));
                    fixture.handle(Input::Join(key(&name), entry(&id, "x", dice.roll(2) == 0)));
                    let left_ms = dice.roll(3000) as i64 - 2;
                    fixture.handle(Input::Joined { key: key(&name), id, position: step.to_string(), left_ms })
                }
                2 => {
                    waiting.remove(&(name.clone(), id.clone()));
                    fixture.handle(Input::Leave(key(&name), id))
                }
                3 => fixture.told(&name, Word::Turn { id, token: token(), left_ms: 1500, is_resigned: false }),
                4 => fixture.told(&name, Word::Offer { left_ms: dice.roll(3000) as i64 }),
                5 => fixture.told(&name, if dice.roll(2) == 0 { Word::Dropped } else { Word::Lost { by: "b".into() } }),
                6 if dice.roll(4) == 0 => fixture.handle(Input::Gap),
                _ => match looks.pop() {
                    Some((key, ids)) if dice.roll(5) == 0 => {
                        is_silent = true;
                        let _ = ids;
                        fixture.handle(Input::NotLooked { key, is_of_this_key: dice.roll(3) == 0 })
                    }
                    Some((key, ids)) => {
                        is_silent = false;
                        let places = ids.iter().map(|_| Place::of(i64::from(dice.roll(6) > 0) - 1)).collect();
                        let state = match dice.roll(3) {
                            0 => KeyState::Free { left_ms: dice.roll(300) as i64 - 1 },
                            1 => KeyState::Stranger,
                            _ => held(&key, "y", "n-1", dice.roll(5000) as i64),
                        };
                        fixture.handle(Input::Looked { key, ids, row: AdvanceRow { key: state, places } })
                    }
                    None => Vec::new(),
                },
            };
            if (3..=5).contains(&choice) {
                let due = fixture.state.next_due();
                assert!(due_before.is_none_or(|before| due.is_some_and(|due| due <= before)), "seed {seed}: put off");
            }
            for effect in effects.into_iter().chain(fixture.state.due(fixture.now)) {
                match effect {
                    Effect::Call { id, .. } => {
                        assert!(waiting.iter().any(|(_, other)| *other == id), "seed {seed}: {id} does not wait");
                        assert!(called.insert(id), "seed {seed}: called twice");
                    }
                    Effect::Decline { .. } => {
                        assert_eq!(choice, 3, "seed {seed}");
                    }
                    Effect::Look { key, ids, .. } => {
                        assert!(ids.iter().all(|id| waiting.contains(&(key.as_str().to_owned(), id.clone()))));
                        assert!(looks.iter().all(|(other, _)| *other != key), "seed {seed}: two looks at one queue");
                        looks.push((key, ids));
                    }
                    _ => {}
                }
            }
            // A look whose queue has ended is answered to no one.
            looks.retain(|(key, _)| waiting.iter().any(|(name, _)| name == key.as_str()));
            let is_planned = |name: &str| {
                fixture.state.next_due().is_some_and(|due| due <= fixture.now + LOOK)
                    || looks.iter().any(|(key, _)| key.as_str() == name)
            };
            for (name, id) in &waiting {
                assert!(is_silent || called.contains(id) || is_planned(name), "seed {seed}: {name} is forgotten");
            }
        }
        waiting.iter().for_each(|(name, id)| drop(fixture.handle(Input::Leave(key(name), id.clone()))));
        assert!(fixture.state.is_empty() && fixture.state.next_due().is_none(), "seed {seed}: nothing is left");
    }
}
