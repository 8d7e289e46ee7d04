//! What a session should answer to the messages of its client: a list of batches that are being stored.

use std::collections::BTreeMap;

use pocket_mqtt_core::{
    Ack, Acknowledgement, Action, BatchId, Inbound, Outcome, Packet, PacketId, ProtocolVersion, QoS, ReasonCode, Reply,
    Session,
};

use crate::client::Sent;
use crate::seed::Random;

/// Where a message of QoS 2 stands.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Pending,
    /// Pending since an earlier connection, and not sent again on this one.
    Left,
    Received,
}

/// What one read brought.
#[derive(Default)]
struct Batch {
    /// None when its session has ended.
    id: Option<BatchId>,
    acknowledgements: Vec<Acknowledgement>,
    /// The messages to store.
    messages: Vec<(usize, QoS)>,
    outcome: Option<Outcome>,
}

/// The list of one client.
#[derive(Default)]
pub(crate) struct Publications {
    reading: Batch,
    /// In order; those whose session has ended too.
    batches: Vec<Batch>,
    exactly_once: BTreeMap<PacketId, Stage>,
    at_least_once: usize,
    /// How often each message was stored.
    pub(crate) stored: BTreeMap<(usize, QoS), usize>,
    /// Messages that were accepted and thrown away, because they are not allowed.
    pub(crate) refused: Vec<usize>,
}

impl Publications {
    /// A message arrived and the connection said what is to be done. Returns the answer to send at once, if there is one.
    pub(crate) fn arrived(&mut self, sent: &Sent, action: Action<'_>) -> Option<Packet<'static>> {
        match (sent.qos, sent.id.and_then(|id| self.exactly_once.get(&id))) {
            (QoS::ExactlyOnce, Some(Stage::Pending | Stage::Left)) => {
                assert_eq!(action, Action::None);
                self.exactly_once.extend(sent.id.map(|id| (id, Stage::Pending)));
                return None;
            }
            (QoS::ExactlyOnce, Some(Stage::Received)) => {
                let answer = Packet::PublishReceived(Ack::success(sent.id.unwrap()));
                assert_eq!(action, Action::Send(answer.clone()));
                return Some(answer);
            }
            _ => self.begin(sent, action),
        }
        None
    }

    fn begin(&mut self, sent: &Sent, action: Action<'_>) {
        match (sent.qos, sent.id) {
            (QoS::ExactlyOnce, Some(id)) => drop(self.exactly_once.insert(id, Stage::Pending)),
            (QoS::AtLeastOnce, _) => self.at_least_once += 1,
            _ => {}
        }
        match action {
            Action::Publish(inbound) if !sent.is_forbidden => {
                assert_eq!((inbound.qos, inbound.packet_id), (sent.qos, sent.id));
                let acknowledgement = Inbound::acknowledgement(&inbound, Some(self.reading.messages.len()));
                self.reading.messages.push((sent.number, sent.qos));
                self.reading.acknowledgements.extend(acknowledgement);
            }
            Action::Refuse(acknowledgement) if sent.is_forbidden => {
                self.refused.push(sent.number);
                self.reading.acknowledgements.extend(acknowledgement);
            }
            other => panic!("{sent:?} gives {other:?}"),
        }
    }

    /// Nothing is left to read: the batch is handed over to be stored.
    pub(crate) fn submit(&mut self, session: &mut Session) {
        if self.reading.messages.is_empty() && self.reading.acknowledgements.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.reading);
        batch.id = Some(session.await_storage(batch.acknowledgements.iter().cloned().map(Reply::from).collect()));
        self.batches.push(batch);
    }

    /// The fate of one batch becomes known. Returns what the session sends, and whether it closes the connection.
    pub(crate) fn settle(
        &mut self,
        session: &mut Session,
        version: ProtocolVersion,
        fails: bool,
        random: &mut Random,
    ) -> Option<(Vec<Packet<'static>>, bool)> {
        let open: Vec<usize> = (0..self.batches.len()).filter(|place| self.batches[*place].outcome.is_none()).collect();
        let batch = &mut self.batches[*random.one_of(Some(&open).filter(|open| !open.is_empty())?)];
        let outcome = match random.below(4) {
            0 if fails => Outcome::Failed(ReasonCode::UnspecifiedError),
            1 if fails && !batch.messages.is_empty() => Outcome::Lost(vec![random.below(batch.messages.len())]),
            _ => Outcome::Stored,
        };
        for (place, message) in batch.messages.iter().enumerate() {
            let is_stored = match &outcome {
                Outcome::Stored => true,
                Outcome::Lost(places) => !places.contains(&place),
                Outcome::Failed(_) | Outcome::ChangesRefused => false,
            };
            *self.stored.entry(*message).or_default() += usize::from(is_stored);
        }
        batch.outcome = Some(outcome.clone());
        let (mut sent, mut closes) = (Vec::new(), false);
        if let Some(id) = batch.id {
            closes = session.settle(id, outcome, |packet| sent.push(packet)).is_err();
        }
        let expected = self.due(version);
        assert_eq!((&sent, closes), (&expected.0, expected.1));
        Some((sent, closes))
    }

    /// What is to be sent now, and whether 3.1.1 must be cut off because it cannot be told of a failure.
    fn due(&mut self, version: ProtocolVersion) -> (Vec<Packet<'static>>, bool) {
        let (mut due, mut closes) = (Vec::new(), false);
        self.batches.retain(|batch| batch.id.is_some() || batch.outcome.is_none());
        while let Some(place) = self.batches.iter().position(|batch| batch.id.is_some())
            && self.batches[place].outcome.is_some()
        {
            let batch = self.batches.remove(place);
            for acknowledgement in batch.acknowledgements {
                let is_lost = match (&batch.outcome, acknowledgement.stored_as) {
                    (Some(Outcome::Failed(_)), Some(_)) => true,
                    (Some(Outcome::Lost(places)), Some(place)) => places.contains(&place),
                    _ => false,
                };
                let is_told = is_lost || acknowledgement.reason.is_error();
                // Answered when it is sent again.
                let is_left = acknowledgement.qos == QoS::ExactlyOnce
                    && self.exactly_once.get(&acknowledgement.packet_id) == Some(&Stage::Left);
                if is_lost && version == ProtocolVersion::V311 {
                    closes |= !is_left;
                    self.forget(&acknowledgement);
                    continue;
                }
                if acknowledgement.qos == QoS::AtLeastOnce || (is_told && version == ProtocolVersion::V5) {
                    self.forget(&acknowledgement);
                } else {
                    self.exactly_once.insert(acknowledgement.packet_id, Stage::Received);
                }
                if !closes && !is_left {
                    due.push(answer(&acknowledgement, is_lost, batch.outcome.as_ref()));
                }
            }
        }
        (due, closes)
    }

    fn forget(&mut self, acknowledgement: &Acknowledgement) {
        if acknowledgement.qos == QoS::ExactlyOnce {
            self.exactly_once.remove(&acknowledgement.packet_id);
        } else {
            self.at_least_once -= 1;
        }
    }

    /// PUBREL; returns whether the id is known.
    pub(crate) fn released(&mut self, id: PacketId) -> bool {
        self.exactly_once.remove(&id).is_some()
    }

    /// The client is back and sends all of QoS 1 again.
    pub(crate) fn resumed(&mut self) {
        self.at_least_once = 0;
        for stage in self.exactly_once.values_mut().filter(|stage| **stage == Stage::Pending) {
            *stage = Stage::Left;
        }
        for batch in &mut self.batches {
            batch.acknowledgements.retain(|acknowledgement| acknowledgement.qos == QoS::ExactlyOnce);
        }
    }

    /// The session ends; what is being stored goes on.
    pub(crate) fn ended(&mut self) {
        (self.at_least_once, self.exactly_once) = (0, BTreeMap::new());
        self.batches.iter_mut().for_each(|batch| batch.id = None);
    }

    /// Whether the broker owes a client of 3.1.1 so many answers that it reads nothing more.
    pub(crate) fn is_at_maximum(&self, version: ProtocolVersion, maximum: u16) -> bool {
        let pending = self.exactly_once.values().filter(|stage| **stage == Stage::Pending).count();
        version == ProtocolVersion::V311 && self.at_least_once + pending >= usize::from(maximum)
    }

    /// Whether nothing is left to settle.
    pub(crate) fn is_settled(&self) -> bool {
        self.reading.messages.is_empty() && self.batches.iter().all(|batch| batch.outcome.is_some())
    }
}

fn answer(acknowledgement: &Acknowledgement, is_lost: bool, outcome: Option<&Outcome>) -> Packet<'static> {
    let reason = match outcome {
        Some(Outcome::Failed(reason)) if is_lost => *reason,
        _ if is_lost => ReasonCode::ImplementationSpecificError,
        _ => acknowledgement.reason,
    };
    let ack = Ack::with(acknowledgement.packet_id, reason);
    if acknowledgement.qos == QoS::ExactlyOnce { Packet::PublishReceived(ack) } else { Packet::PublishAck(ack) }
}
