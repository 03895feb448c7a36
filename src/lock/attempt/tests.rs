//! An attempt's life by itself: whatever Redis answers, loses or forgets, nothing is left behind, and nothing spins.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::state::{Answer, End, Input, Life, Next, Over, PAUSE, Step, Taken, Tidy};
use crate::lock::queue::Turn;
use crate::lock::token::Token;

const LOST: Answer = Answer::Failed { is_passing: true, leaves_a_grant: true };
const NOT_SENT: Answer = Answer::Failed { is_passing: true, leaves_a_grant: false };
const REFUSED: Answer = Answer::Failed { is_passing: false, leaves_a_grant: false };

fn token() -> Token {
    Token::new(7).expect("a token")
}

/// One attempt, and the Redis that it asks, which does and says what the dice want.
struct World {
    life: Life,
    now: Instant,
    until: Option<Instant>,
    seed: u64,
    /// The name of the latest sending.
    sending: u64,
    /// The sendings that were told of the lease, as Redis has it.
    told: BTreeSet<u64>,
    /// The sendings with an entry in the queue.
    queued: BTreeSet<u64>,
    /// The sendings that are undone in the background.
    undoing: BTreeSet<u64>,
    /// Whether the last thing that was done for it ended with a lease.
    has_lease: bool,
    /// Things asked of Redis since time last passed.
    hurry: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let now = Instant::now();
        let until = (!seed.is_multiple_of(4)).then_some(now + Duration::from_millis(seed % 700));
        World {
            life: Life::new(until),
            now,
            until,
            seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            sending: 0,
            told: BTreeSet::new(),
            queued: BTreeSet::new(),
            undoing: BTreeSet::new(),
            has_lease: false,
            hurry: 0,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % sides
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hurry = 0;
    }

    fn ask(&mut self) -> Input {
        let answer = match self.roll(7) {
            0 => Answer::Acquired,
            1 => LOST,
            2 => Answer::Unreplicated,
            3 => NOT_SENT,
            4 => REFUSED,
            _ => Answer::Held,
        };
        if matches!(answer, Answer::Acquired | Answer::Unreplicated) || (answer == LOST && self.roll(2) == 0) {
            self.told.insert(self.sending);
        }
        self.has_lease = answer == Answer::Acquired;
        Input::Answered(answer)
    }

    fn join(&mut self) -> Input {
        let (is_passing, may_be_there) = match self.roll(6) {
            0 => (true, true),
            1 => (true, false),
            2 => (false, false),
            _ => {
                self.queued.insert(self.sending);
                return Input::Joined;
            }
        };
        if may_be_there && self.roll(2) == 0 {
            self.queued.insert(self.sending);
        }
        self.has_lease = false;
        Input::NotJoined { is_passing, may_be_there }
    }

    fn wait(&mut self, until: Instant) -> Input {
        match self.roll(4) {
            0 => {
                self.now = self.now.max(until);
                self.hurry = 0;
                Input::Over(if self.roll(2) == 0 { Over::Timeout } else { Over::Draining })
            }
            1 => Input::Turn(Turn::AskAgain),
            _ => {
                self.queued.remove(&self.sending);
                self.told.insert(self.sending);
                Input::Turn(Turn::Offered(token()))
            }
        }
    }

    fn take(&mut self) -> Input {
        let taken = match self.roll(6) {
            0 => Taken::Lapsed,
            1 => Taken::Failed { is_passing: true, leaves_a_grant: true },
            2 => Taken::Failed { is_passing: false, leaves_a_grant: true },
            3 => Taken::Failed { is_passing: false, leaves_a_grant: false },
            _ => Taken::Lease,
        };
        if taken == Taken::Lapsed {
            self.told.remove(&self.sending);
        }
        self.has_lease = taken == Taken::Lease;
        Input::Taken(taken)
    }

    /// Does what is to be done; what came of it, or how it ended.
    fn carry_out(&mut self, step: Step) -> Result<Input, End> {
        if matches!(step.tidy, Tidy::Undo | Tidy::Replace) {
            self.undoing.insert(self.sending);
        }
        if matches!(step.tidy, Tidy::Rename | Tidy::Replace) {
            self.sending += 1;
        }
        self.hurry += 1;
        assert!(self.hurry <= 12, "it spins: {step:?}");
        Ok(match step.next {
            Next::Ask => self.ask(),
            Next::Join => self.join(),
            Next::Wait(until) => {
                assert_eq!(Some(until), self.until);
                let waited = Duration::from_millis(self.roll(40));
                self.pass(waited);
                self.wait(until)
            }
            Next::Take(of) => {
                assert_eq!(of, token());
                self.take()
            }
            Next::Undo => {
                self.told.remove(&self.sending);
                self.queued.remove(&self.sending);
                Input::Undone
            }
            Next::Pause(until) => {
                assert_eq!(until, self.now + PAUSE);
                self.pass(PAUSE);
                Input::Paused
            }
            Next::End(end) => return Err(end),
        })
    }

    /// Plays the whole of it.
    fn play(&mut self) -> End {
        let mut step = Step { tidy: Tidy::Nothing, next: Next::Ask };
        loop {
            match self.carry_out(step) {
                Ok(input) => step = self.life.handle(input, self.now),
                Err(end) => return end,
            }
        }
    }
}

#[test]
fn random_lives_leave_a_lease_to_the_sending_that_is_answered_with_it_and_nothing_else() {
    let mut granted = 0;
    for seed in 1..40_000 {
        let mut world = World::new(seed);

        let end = world.play();

        let undone = world.undoing.clone();
        let left = |of: &BTreeSet<u64>| of.difference(&undone).copied().collect::<Vec<_>>();
        let is_granted = end == End::Answered && world.has_lease;
        let expected = if is_granted { vec![world.sending] } else { Vec::new() };
        assert_eq!(left(&world.told), expected, "seed {seed}: {end:?}");
        assert!(left(&world.queued).is_empty(), "seed {seed}: {end:?}");
        granted += usize::from(is_granted);
    }
    assert!((5_000..35_000).contains(&granted), "{granted}");
}

#[test]
fn an_attempt_that_does_not_wait_asks_once() {
    for (answer, tidy) in [
        (Answer::Acquired, Tidy::Nothing),
        (Answer::Held, Tidy::Nothing),
        (NOT_SENT, Tidy::Nothing),
        (REFUSED, Tidy::Nothing),
        (LOST, Tidy::Undo),
    ] {
        let step = Life::new(None).handle(Input::Answered(answer), Instant::now());
        assert_eq!(step, Step { tidy, next: Next::End(End::Answered) }, "{answer:?}");
    }
    let mut life = Life::new(None);
    let step = life.handle(Input::Answered(Answer::Unreplicated), Instant::now());
    assert_eq!(step.next, Next::Undo, "only then it is certain that there is no grant");
    assert_eq!(life.handle(Input::Undone, Instant::now()).next, Next::End(End::Answered));
}

#[test]
fn a_first_joining_that_fails_is_told_and_a_later_one_is_tried_again_while_there_is_time() {
    let begun = Instant::now();
    let mut life = Life::new(Some(begun + Duration::from_secs(1)));
    let lost = Input::NotJoined { is_passing: true, may_be_there: true };
    assert_eq!(life.handle(Input::Answered(Answer::Held), begun).next, Next::Join);
    let told = life.clone().handle(lost, begun);
    assert_eq!(told, Step { tidy: Tidy::Undo, next: Next::End(End::Answered) });

    life.handle(Input::Joined, begun);
    life.handle(Input::Turn(Turn::Offered(token())), begun);
    assert_eq!(life.handle(Input::Taken(Taken::Lapsed), begun).next, Next::Join);
    let again = life.clone().handle(lost, begun);
    assert_eq!(again, Step { tidy: Tidy::Replace, next: Next::Pause(begun + PAUSE) });
    let late = life.handle(lost, begun + Duration::from_millis(990));
    assert_eq!(late, Step { tidy: Tidy::Undo, next: Next::End(End::Answered) });
}

#[test]
fn a_waiter_that_is_told_to_ask_again_and_finds_the_key_held_pauses() {
    let begun = Instant::now();
    let mut life = Life::new(Some(begun + Duration::from_secs(1)));
    life.handle(Input::Answered(Answer::Held), begun);
    life.handle(Input::Joined, begun);
    assert_eq!(life.handle(Input::Turn(Turn::AskAgain), begun).next, Next::Undo);
    assert_eq!(life.handle(Input::Undone, begun), Step { tidy: Tidy::Rename, next: Next::Ask });
    assert_eq!(life.handle(Input::Answered(Answer::Held), begun).next, Next::Pause(begun + PAUSE));
}

#[test]
fn an_attempt_whose_owner_has_the_key_in_another_way_ends_at_once_though_it_would_wait() {
    let begun = Instant::now();
    let mut life = Life::new(Some(begun + Duration::from_secs(60)));
    let step = life.handle(Input::Answered(Answer::HeldInVain), begun);
    assert_eq!((step.tidy, step.next), (Tidy::Nothing, Next::End(End::Answered)));
    // Also where it was told to ask again.
    let mut life = Life::new(Some(begun + Duration::from_secs(60)));
    life.handle(Input::Answered(Answer::Held), begun);
    life.handle(Input::Joined, begun);
    life.handle(Input::Turn(Turn::AskAgain), begun);
    life.handle(Input::Undone, begun);
    assert_eq!(life.handle(Input::Answered(Answer::HeldInVain), begun).next, Next::End(End::Answered));
}
