//! Batches that the database refused, in smaller and smaller parts.

use pocket_domain::NewTelemetry;
use pocket_ports::{BrokerChange, WriteBatch};

/// A part of a batch.
pub(super) struct Part {
    pub(super) batch: WriteBatch,
    /// The place of its first change among those of the whole.
    first_change: usize,
}

/// What is to be tried after a part was refused.
pub(super) enum Split {
    /// Two parts, in this order.
    Parts(Part, Part),
    /// A message that is refused by itself.
    Message(NewTelemetry),
    /// A change that is refused by itself, with its place.
    Change(usize, BrokerChange),
    /// There is nothing in it.
    Nothing,
}

impl Part {
    pub(super) fn whole(batch: WriteBatch) -> Self {
        Self { batch, first_change: 0 }
    }

    /// Messages come apart from changes, and before them, so that none is acknowledged and missing; then each is halved.
    pub(super) fn split(self) -> Split {
        let Self { batch, first_change } = self;
        let (messages, changes) = (&batch.messages, &batch.changes);
        let of_messages = |messages: &[NewTelemetry]| Self { batch: WriteBatch::of_messages(messages), first_change };
        let of_changes = |changes: &[BrokerChange], first_change| Self {
            batch: WriteBatch::default().with_changes(changes),
            first_change,
        };
        match (&**messages, &**changes) {
            ([], []) => Split::Nothing,
            ([message], []) => Split::Message(message.clone()),
            ([], [change]) => Split::Change(first_change, change.clone()),
            (messages, []) => {
                let (first, second) = messages.split_at(messages.len() / 2);
                Split::Parts(of_messages(first), of_messages(second))
            }
            ([], changes) => {
                let half = changes.len() / 2;
                let (first, second) = changes.split_at(half);
                Split::Parts(of_changes(first, first_change), of_changes(second, first_change + half))
            }
            (messages, changes) => Split::Parts(of_messages(messages), of_changes(changes, first_change)),
        }
    }
}
