//! What a script may have done by the time Redis stops it at a command that its user may not run: read off its text, so
//! that no list of it is kept by hand.
//!
//! The effect of a script is what it does to the lease, for that is what its caller is told of.

use std::collections::{BTreeSet, HashMap};

use super::steps::{Block, Command, Step, parse};

/// Grants to the first waiter: an effect of a script whose caller may be that waiter, and of no other.
const GRANTS_TO_A_WAITER: &str = "hand_over";
const OF_A_WAITER: &str = "queue_join";

/// Whether the script of this name and text, stopped at one of the commands `missing`, cannot have done yet what it is
/// for: on no way through it an effect comes before one of them.
pub(super) fn none_before(name: &str, text: &str, missing: &BTreeSet<&str>) -> bool {
    let (main, functions) = parse(text);
    let mut way =
        Way { functions: &functions, missing, script: name, depth_of_a_waiter: 0, tried: None, is_safe: true };
    way.block(&main, States::CLEAN);
    way.is_safe
}

/// What may have been done at a place: nothing yet, something, or either; neither where no way leads there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct States {
    clean: bool,
    changed: bool,
}

impl States {
    const NONE: States = States { clean: false, changed: false };
    const CLEAN: States = States { clean: true, changed: false };

    fn or(self, other: States) -> States {
        States { clean: self.clean | other.clean, changed: self.changed | other.changed }
    }
}

/// How a caught command ended, for the `if` behind it, which looks at that.
#[derive(Clone, Copy)]
enum Tried {
    Failed,
    /// With what had been done before it.
    Done(States),
}

struct Way<'a> {
    functions: &'a HashMap<String, Block>,
    missing: &'a BTreeSet<&'a str>,
    script: &'a str,
    /// Above 0 within what grants to a waiter.
    depth_of_a_waiter: usize,
    tried: Option<Tried>,
    is_safe: bool,
}

impl Way<'_> {
    /// Where a block leads on, and where it returns.
    fn block(&mut self, block: &Block, begin: States) -> (States, States) {
        let (mut now, mut returned) = (begin, States::NONE);
        for step in block {
            if now == States::NONE {
                break;
            }
            match step {
                Step::Call { command, is_effect, is_caught } => now = self.call(command, *is_effect, *is_caught, now),
                Step::Run(function) => now = self.run(function, now),
                Step::If(branches, otherwise) => {
                    let (on, back) = self.branches(branches, otherwise, now);
                    (now, returned) = (on, returned.or(back));
                }
                Step::Repeat(body) => {
                    // Twice: what the first time did is done before all of the second.
                    for _ in 0..2 {
                        let (on, back) = self.block(body, now);
                        (now, returned) = (now.or(on), returned.or(back));
                    }
                }
                Step::Return => return (States::NONE, returned.or(now)),
            }
        }
        (now, returned)
    }

    fn call(&mut self, command: &Command, is_effect: bool, is_caught: bool, now: States) -> States {
        if self.missing.contains(command.name.as_str()) {
            if is_caught {
                self.tried = Some(Tried::Failed);
                return now;
            }
            self.is_safe &= !now.changed;
            return States::NONE;
        }
        self.tried = is_caught.then_some(Tried::Done(now));
        let counts = is_effect && (self.depth_of_a_waiter == 0 || self.script == OF_A_WAITER);
        if counts { States { clean: false, changed: true } } else { now }
    }

    fn run(&mut self, function: &str, now: States) -> States {
        let Some(body) = self.functions.get(function) else { return now };
        let is_of_a_waiter = usize::from(function == GRANTS_TO_A_WAITER);
        self.depth_of_a_waiter += is_of_a_waiter;
        let (on, back) = self.block(body, now);
        self.depth_of_a_waiter -= is_of_a_waiter;
        self.tried = None;
        on.or(back)
    }

    fn branches(&mut self, branches: &[(Block, Block)], otherwise: &Block, begin: States) -> (States, States) {
        let (mut now, mut on, mut returned) = (begin, States::NONE, States::NONE);
        for (condition, body) in branches {
            now = self.block(condition, now).0;
            // Behind a caught command an `if` asks first whether it failed.
            let (held, else_holds) = match self.tried.take() {
                Some(Tried::Failed) => (now, States::NONE),
                Some(Tried::Done(before)) => (before, now),
                None => (now, now),
            };
            let (next, back) = self.block(body, held);
            (on, returned, now) = (on.or(next), returned.or(back), else_holds);
            self.tried = None;
        }
        let (next, back) = self.block(otherwise, now);
        (on.or(next), returned.or(back))
    }
}
