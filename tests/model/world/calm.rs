//! The calm end of a state: nothing goes wrong any more, no client asks for anything more, and all that is under way goes on,
//! in one order, until nothing is left to happen.

use super::{Action, Engine, World};

impl World {
    /// What happens next in a calm end; `None` at its end.
    pub fn next_calm(&self, engine: &Engine) -> Option<Action> {
        let rank = |action: &Action| {
            Some(match action {
                Action::Thaw(_) => 0,
                Action::Resume(_) => 1,
                Action::Listen(_) => 2,
                Action::Empty => 3,
                Action::Run(_) => 4,
                Action::Answer(_) => 5,
                Action::Hear(_) => 6,
                Action::Pass => 7,
                // Nothing waits for it.
                Action::RunLate(_) => 8,
                _ => return None,
            })
        };
        let ranked = self.actions(engine).into_iter().filter_map(|action| Some((rank(&action)?, action)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, action)| action)
    }
}
