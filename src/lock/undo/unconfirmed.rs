//! The guard of what a caller is to be told of.

use super::{Undo, Undoer};
use crate::audit::Prepared;

/// Stands for a lease that an acquire was granted or told of, until its caller has it. Dropped unconfirmed, it undoes that.
pub struct Unconfirmed(Option<(Undo, Undoer)>);

impl Unconfirmed {
    /// `undo` undoes what the caller is to be told of.
    pub fn new(undo: Undo, undoer: Undoer) -> Unconfirmed {
        Unconfirmed(Some((undo, undoer)))
    }

    /// For what needs no guard.
    pub fn none() -> Unconfirmed {
        Unconfirmed(None)
    }

    /// The name of the sending that was told of a lease; empty where none was.
    pub fn sending(&self) -> &str {
        self.0.as_ref().map_or("", |(undo, _)| &undo.sending)
    }

    /// A line for the audit trail, in case that it is undone.
    pub fn tell_if_undone(&mut self, line: Option<Prepared>) {
        if let Some((undo, _)) = &mut self.0 {
            undo.line = line.map(Box::new);
        }
    }

    /// The caller has what it was to be told of, or a hold sees to it, which is given the name of the sending.
    pub fn confirm(mut self) -> String {
        self.0.take().map(|(undo, _)| undo.sending).unwrap_or_default()
    }
}

impl Drop for Unconfirmed {
    fn drop(&mut self) {
        if let Some((undo, undoer)) = self.0.take() {
            undoer.push(undo);
        }
    }
}
