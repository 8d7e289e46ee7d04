//! What a submission takes of the queue.

use std::mem::size_of;
use std::ops::{AddAssign, SubAssign};

use pocket_domain::NewTelemetry;
use pocket_ports::{BrokerChange, DeliveryRecord, MessageRecord, Submission};

/// Messages, changes of the broker's state, and the memory of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) messages: usize,
    /// Changes, and each delivery of a change.
    pub(super) changes: usize,
    /// Bytes of payloads, topics and what else has no fixed size, with the structures that hold them.
    pub(super) bytes: usize,
}

impl Weight {
    pub(super) fn of(submission: &Submission) -> Self {
        let mut weight = Self { messages: submission.messages.len(), ..Self::default() };
        for message in &submission.messages {
            weight.bytes += of_message(message);
        }
        for change in &submission.changes {
            let (changes, bytes) = of_change(change);
            weight.changes += changes;
            weight.bytes += size_of::<BrokerChange>() + bytes;
        }
        weight
    }

    /// What counts for the bound of messages.
    pub(super) fn entries(self) -> usize {
        self.messages + self.changes
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.changes += other.changes;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Weight {
    fn sub_assign(&mut self, other: Self) {
        self.messages -= other.messages;
        self.changes -= other.changes;
        self.bytes -= other.bytes;
    }
}

fn of_message(message: &NewTelemetry) -> usize {
    size_of::<NewTelemetry>() + message.payload.as_str().len() + message.topic.as_str().len()
}

/// How many entries, and bytes beside those of the change itself. A payload that other changes share counts for each.
fn of_change(change: &BrokerChange) -> (usize, usize) {
    let of_record = |record: &MessageRecord| {
        let properties = record.properties.as_ref().map_or(0, |properties| properties.len());
        size_of::<MessageRecord>() + record.payload.len() + record.topic.as_str().len() + properties
    };
    match change {
        BrokerChange::Queued(message, deliveries) => {
            (1 + deliveries.len(), of_record(message) + deliveries.len() * size_of::<DeliveryRecord>())
        }
        BrokerChange::Retained(_, message) => (1, of_record(message)),
        BrokerChange::SessionKept(session) => (1, session.will.as_ref().map_or(0, |will| will.len())),
        _ => (1, 0),
    }
}
