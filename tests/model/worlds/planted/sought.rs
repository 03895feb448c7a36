//! A world that is explored for one property alone, whatever else a planted fault breaks on the way there.

use crate::properties::{self, Violation};
use crate::search::State;
use crate::world::{Action, Engine, World};

#[derive(Clone, Hash)]
pub struct Sought {
    world: World,
    property: &'static str,
    /// Whether what must have happened has.
    has_happened: bool,
    /// Whether the property was broken before.
    is_spoiled: bool,
    through: fn(Action) -> bool,
}

impl Sought {
    /// The property is to be broken on a way on which an action happens that is `through`.
    pub fn new(world: World, property: &'static str, through: Option<fn(Action) -> bool>) -> Sought {
        Sought {
            world,
            property,
            has_happened: through.is_none(),
            is_spoiled: false,
            through: through.unwrap_or(|_| true),
        }
    }
}

impl State for Sought {
    type Action = Action;

    fn actions(&self, engine: &Engine) -> Vec<Action> {
        self.world.actions(engine)
    }

    fn apply(&mut self, engine: &Engine, action: Action) {
        self.has_happened |= (self.through)(action);
        self.world.apply(engine, action);
        self.is_spoiled |= !self.has_happened && properties::broken_of(&self.world, engine, self.property).is_some();
    }

    fn broken(&self, engine: &Engine) -> Option<Violation> {
        properties::broken_of(&self.world, engine, self.property).filter(|_| self.has_happened && !self.is_spoiled)
    }

    fn next_calm(&self, engine: &Engine) -> Option<Action> {
        self.world.next_calm(engine)
    }

    fn is_at_rest(&self) -> bool {
        self.world.is_at_rest()
    }
}
