//! Acknowledgements, and whatever else waits until something is stored.
//!
//! What is stored is stored in batches. [MQTT-4.6.0-2] PUBACKs leave in the order in which the PUBLISHes came: a batch that
//! is stored early waits for those before it, and what is refused at once waits with the batch it came in.

use std::collections::VecDeque;

use crate::{PacketId, QoS, ReasonCode, Reply};

/// A PUBACK or PUBREC to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which message.
    pub packet_id: PacketId,
    /// 1: PUBACK, 2: PUBREC.
    pub qos: QoS,
    /// Success or why not.
    pub reason: ReasonCode,
    /// For people, 5.0 only.
    pub reason_string: Option<Box<str>>,
    /// Its message's place among those that are stored together; `None` when it is not stored.
    pub stored_as: Option<usize>,
}

/// What became of the messages that were stored together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All are safe.
    Stored,
    /// Those at these places are not, the others are.
    Lost(Vec<usize>),
    /// The messages are, but some change that came with them is not: a subscription, a delivery to a stored session, a retained
    /// message. Nothing of the batch may be told as success, because each part of it may stand on that change.
    ChangesRefused,
    /// None is.
    Failed(ReasonCode),
}

impl Outcome {
    /// The failure of a message, if it failed.
    pub(crate) fn failure_of(&self, stored_as: Option<usize>) -> Option<ReasonCode> {
        if *self == Self::ChangesRefused {
            return Some(ReasonCode::ImplementationSpecificError);
        }
        let place = stored_as?;
        match self {
            Self::Stored | Self::ChangesRefused => None,
            Self::Lost(places) => places.contains(&place).then_some(ReasonCode::ImplementationSpecificError),
            Self::Failed(reason) => Some(*reason),
        }
    }
}

/// Names a batch within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(u64);

/// The batches of one connection, in order.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements {
    batches: VecDeque<Batch>,
    first: u64,
}

#[derive(Debug)]
struct Batch {
    replies: Vec<Reply>,
    outcome: Option<Outcome>,
}

impl Acknowledgements {
    /// Adds a batch that waits for its outcome.
    pub(crate) fn push(&mut self, replies: Vec<Reply>) -> BatchId {
        let id = BatchId(self.first + self.batches.len() as u64);
        self.batches.push_back(Batch { replies, outcome: None });
        id
    }

    /// The outcome of a batch. An outcome that comes twice, or for a batch of no interest any more, changes nothing.
    pub(crate) fn settle(&mut self, id: BatchId, outcome: Outcome) {
        let place = id.0.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(batch) = place.and_then(|place| self.batches.get_mut(place)) {
            batch.outcome.get_or_insert(outcome);
        }
    }

    /// Leaves only what holds for the next connection.
    pub(crate) fn forget_connection(&mut self) {
        for batch in &mut self.batches {
            batch.replies.retain(Reply::outlives_connection);
        }
    }

    /// The next batch whose turn it is, with its outcome.
    pub(crate) fn next(&mut self) -> Option<(Vec<Reply>, Outcome)> {
        let outcome = self.batches.front_mut()?.outcome.take()?;
        self.first += 1;
        Some((self.batches.pop_front()?.replies, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(id: u16) -> Reply {
        Reply::Acknowledge(Acknowledgement {
            packet_id: PacketId::new(id).unwrap(),
            qos: QoS::AtLeastOnce,
            reason: ReasonCode::Success,
            reason_string: None,
            stored_as: Some(0),
        })
    }

    #[test]
    fn a_batch_waits_for_those_before_it() {
        let mut acknowledgements = Acknowledgements::default();
        let first = acknowledgements.push(vec![ack(1)]);
        let second = acknowledgements.push(vec![ack(2)]);
        acknowledgements.settle(second, Outcome::Stored);
        assert_eq!(acknowledgements.next(), None);
        acknowledgements.settle(first, Outcome::Failed(ReasonCode::UnspecifiedError));
        acknowledgements.settle(first, Outcome::Stored);
        assert_eq!(acknowledgements.next(), Some((vec![ack(1)], Outcome::Failed(ReasonCode::UnspecifiedError))));
        assert_eq!(acknowledgements.next(), Some((vec![ack(2)], Outcome::Stored)));
        acknowledgements.settle(first, Outcome::Stored);
        assert_eq!(acknowledgements.next(), None);
    }

    #[test]
    fn only_messages_that_were_to_be_stored_can_fail() {
        let lost = Outcome::Lost(vec![2]);
        assert_eq!(lost.failure_of(Some(2)), Some(ReasonCode::ImplementationSpecificError));
        assert_eq!(lost.failure_of(Some(1)), None);
        assert_eq!(Outcome::Failed(ReasonCode::UnspecifiedError).failure_of(None), None);
        assert_eq!(Outcome::Stored.failure_of(Some(0)), None);
        assert!(
            Outcome::ChangesRefused.failure_of(Some(0)).is_some() && Outcome::ChangesRefused.failure_of(None).is_some()
        );
    }
}
