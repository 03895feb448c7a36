//! Faults that are planted in what ships, to show that the exploration finds them.

/// What is planted: in the scripts, one text for another; and in what surrounds the machines, by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plant {
    pub lua: &'static [(&'static str, &'static str)],
    pub code: &'static [Fault],
}

/// A fault outside the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An undo is sent once, whether or not it is answered.
    UndoesOnce,
    /// What a caller was to be told of who has gone is not undone.
    ForgetsReceipts,
    /// Of these, what was a renewal is not.
    ForgetsReceiptsOfRenewals,
    /// An undo of the attempt's own that is not answered is not tried again.
    ForgetsUndo,
    /// What came too late to be of use is not undone.
    KeepsWhatIsTooLate,
    /// Of these, what a repetition was told is not.
    KeepsRepetitionsTooLate,
    /// What too few replicas have is taken for refused.
    KeepsWhatReplicasLack,
    /// Of several keys that may have been granted the first alone is undone.
    UndoesOneLeg,
    /// An attempt goes on under its old name.
    KeepsNames,
    /// The undo of an attempt's own is not refused for being late, and so not waited for when its connection breaks.
    UndoesWithoutDeadline,
    /// Joining the queue is not refused for being late.
    JoinsWithoutDeadline,
    /// A waiter is not told that its turn has come.
    IgnoresTurns,
    /// An offer to a waiter that has gone is not declined.
    NeverDeclines,
    /// A command whose connection broke is taken for failed at once, though it may be run yet.
    GivesUpAtOnce,
    /// A place that a waiter took again after it had left stays.
    KeepsLatePlaces,
    /// A waiter that has gone stays in its sidecar's list.
    NeverLeaves,
    /// An undo does not remove the entry in the queue.
    ForgetsEntries,
    /// The life of an attempt undoes nothing in the background.
    LifeUndoesNothing,
    /// The life of an attempt ends or asks again without leaving the queue before.
    LifeStaysInTheQueue,
    /// The queues of a sidecar take no position again.
    QueuesNeverRejoin,
    /// The queues of a sidecar hear of no offer, so that no message brings a look forward.
    QueuesHearOfNoOffer,
    /// The queues of a sidecar take an answer for newer than a message of the instant in which it was asked for.
    QueuesPutLooksOff,
    /// The queues of a sidecar take it for their own word where one of its waiters has found the queue lost.
    QueuesIgnoreTheirOwn,
    /// The queues of a sidecar look again as soon as a look is answered.
    QueuesLookAtOnce,
    /// A hold that has ended releases its lease by the token, whoever was told of it later.
    ReleasesByToken,
    /// A sidecar remembers no token that it is shown.
    ForgetsTokens,
    /// A promise is counted from the answer, and not from the sending.
    CountsFromTheAnswer,
}

impl Plant {
    /// Each text with the fault in it. A fault that is nowhere to be planted is none.
    pub fn planted(self, texts: impl Iterator<Item = (&'static str, String)>) -> Vec<(&'static str, String)> {
        let mut texts: Vec<_> = texts.collect();
        for (from, to) in self.lua {
            assert!(texts.iter().any(|(_, text)| text.contains(from)), "no script has `{from}`");
            for (_, text) in &mut texts {
                *text = text.replace(from, to);
            }
        }
        texts
    }

    pub fn has(self, fault: Fault) -> bool {
        self.code.contains(&fault)
    }
}
