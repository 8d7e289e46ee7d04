//! What a submission takes of the queue.

use std::mem::size_of;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Weights that are added and taken off by many at the same time.
#[derive(Default)]
pub(super) struct Held {
    messages: AtomicUsize,
    changes: AtomicUsize,
    bytes: AtomicUsize,
}

impl Held {
    pub(super) fn add(&self, weight: Weight) {
        self.messages.fetch_add(weight.messages, Ordering::AcqRel);
        self.changes.fetch_add(weight.changes, Ordering::AcqRel);
        self.bytes.fetch_add(weight.bytes, Ordering::AcqRel);
    }

    /// Takes off what was added before.
    pub(super) fn take_off(&self, weight: Weight) {
        self.messages.fetch_sub(weight.messages, Ordering::AcqRel);
        self.changes.fetch_sub(weight.changes, Ordering::AcqRel);
        self.bytes.fetch_sub(weight.bytes, Ordering::AcqRel);
    }

    /// All of it; one after the other, so the three may be of slightly different moments.
    pub(super) fn now(&self) -> Weight {
        Weight {
            messages: self.messages.load(Ordering::Acquire),
            changes: self.changes.load(Ordering::Acquire),
            bytes: self.bytes.load(Ordering::Acquire),
        }
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
