//! A client as simple as one can be, which keeps to the rules and checks that the broker does.

use std::collections::VecDeque;

use pocket_mqtt_core::{Ack, Packet, PacketId, ProtocolVersion, QoS, ReasonCode};

use crate::opening::id;
use crate::seed::Random;

/// What is on its way to the client.
#[derive(Clone, Debug)]
pub(crate) enum ToClient {
    Publish { id: PacketId, qos: QoS, number: usize, dup: bool },
    Other(Packet<'static>),
}

/// What is on its way to the broker.
#[derive(Clone, Debug)]
pub(crate) enum ToBroker {
    Publish(Sent),
    Other(Packet<'static>),
}

/// A message that the client publishes.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) number: usize,
    pub(crate) qos: QoS,
    /// None at QoS 0.
    pub(crate) id: Option<PacketId>,
    pub(crate) dup: bool,
    pub(crate) is_forbidden: bool,
    /// QoS 2: PUBREC came.
    is_received: bool,
}

#[derive(Default)]
pub(crate) struct Client {
    /// Messages that were given to the application, in order.
    pub(crate) given: Vec<(QoS, usize)>,
    /// Messages of QoS 2 that it refused.
    pub(crate) refused: Vec<usize>,
    /// What it published and is not done with, in order.
    pub(crate) outbox: Vec<Sent>,
    /// Messages of which the broker said that they are safe.
    pub(crate) acknowledged: Vec<usize>,
    /// Answers that it owes, to be sent in any order.
    owed: Vec<Packet<'static>>,
    /// Ids of QoS 2 that were received and not yet released.
    received: Vec<PacketId>,
    /// Ids that count towards its receive maximum.
    unacknowledged: Vec<PacketId>,
    /// Ids that it acknowledged on this connection for the one before; they may be under way to it again.
    early: Vec<PacketId>,
    /// The latest message of this connection, and the latest that was not sent again.
    latest: Option<usize>,
    latest_new: Option<usize>,
    /// Ids in the order in which they were published first on this connection and wait for PUBACK or PUBREC.
    in_order: [VecDeque<PacketId>; 3],
}

impl Client {
    /// Takes a packet and notes what it owes for it.
    pub(crate) fn take(&mut self, packet: &ToClient, version: ProtocolVersion, window: u16, random: &mut Random) {
        match packet {
            ToClient::Publish { id, qos, number, dup } => {
                self.check(*id, *number, *dup, window);
                let may_refuse = version == ProtocolVersion::V5 && !self.received.contains(id);
                let refuses = *qos == QoS::ExactlyOnce && may_refuse && random.one_in(10);
                self.take_message(*id, *qos, *number, refuses);
            }
            ToClient::Other(Packet::PublishRelease(ack)) => {
                self.received.retain(|id| *id != ack.packet_id);
                self.owed.push(Packet::PublishComplete(Ack::success(ack.packet_id)));
            }
            ToClient::Other(Packet::PublishAck(ack)) => self.end(ack, QoS::AtLeastOnce),
            ToClient::Other(Packet::PublishReceived(ack)) => self.end(ack, QoS::ExactlyOnce),
            ToClient::Other(Packet::PublishComplete(ack)) => {
                let is_over = |sent: &Sent| sent.id == Some(ack.packet_id) && sent.is_received;
                self.outbox.retain(|sent| !is_over(sent));
                self.owed
                    .retain(|owed| !matches!(owed, Packet::PublishRelease(other) if other.packet_id == ack.packet_id));
            }
            other @ ToClient::Other(_) => panic!("a client does not expect {other:?}"),
        }
    }

    /// What holds for every message that comes.
    fn check(&mut self, id: PacketId, number: usize, dup: bool, window: u16) {
        // [MQTT-4.6.0-5] in order, those that are sent again too
        assert!(self.latest.is_none_or(|latest| latest < number), "{number} after {:?}", self.latest);
        self.latest = Some(number);
        if !dup {
            assert!(
                self.latest_new.is_none_or(|latest| latest < number),
                "{number} is sent as new for the second time"
            );
            self.latest_new = Some(number);
        }
        // [MQTT-2.2.1-4] an id is used once at a time, [MQTT-3.3.4-9] and no more than the client accepts
        assert!(!self.unacknowledged.contains(&id), "the id {id} is in use");
        if !(dup && self.early.contains(&id)) {
            self.unacknowledged.push(id);
        }
        assert!(self.unacknowledged.len() <= usize::from(window), "more than {window}: {:?}", self.unacknowledged);
    }

    fn take_message(&mut self, id: PacketId, qos: QoS, number: usize, refuses: bool) {
        if refuses {
            self.refused.push(number);
            self.owed.push(Packet::PublishReceived(Ack::with(id, ReasonCode::UnspecifiedError)));
            return;
        }
        // [MQTT-4.3.3-10] until it is released the same id is the same message
        if qos == QoS::AtLeastOnce || !self.received.contains(&id) {
            self.given.push((qos, number));
        }
        if qos == QoS::AtLeastOnce {
            self.owed.push(Packet::PublishAck(Ack::success(id)));
        } else {
            self.received.retain(|known| *known != id);
            self.received.push(id);
            self.owed.push(Packet::PublishReceived(Ack::success(id)));
        }
    }

    /// PUBACK or PUBREC.
    fn end(&mut self, ack: &Ack, qos: QoS) {
        // [MQTT-4.6.0-2] [MQTT-4.6.0-3] in the order of the messages; what was sent again may be answered earlier
        let in_order = &mut self.in_order[qos.index()];
        if in_order.contains(&ack.packet_id) {
            assert_eq!(in_order.pop_front(), Some(ack.packet_id), "acknowledged before {in_order:?}");
        }
        let Some(place) = self.outbox.iter().position(|sent| sent.id == Some(ack.packet_id) && sent.qos == qos) else {
            assert_eq!(qos, QoS::ExactlyOnce, "PUBACK for nothing: {ack:?}");
            return;
        };
        if !ack.reason.is_error() && !self.outbox[place].is_received {
            self.acknowledged.push(self.outbox[place].number);
        }
        if qos == QoS::AtLeastOnce || ack.reason.is_error() {
            self.outbox.remove(place);
        } else {
            self.outbox[place].is_received = true;
            self.owed.push(Packet::PublishRelease(Ack::success(ack.packet_id)));
        }
    }

    /// One of the answers that it owes.
    pub(crate) fn answer(&mut self, random: &mut Random) -> Option<Packet<'static>> {
        if self.owed.is_empty() {
            return None;
        }
        let packet = self.owed.swap_remove(random.below(self.owed.len()));
        let ended = match &packet {
            Packet::PublishAck(ack) | Packet::PublishComplete(ack) => Some(ack.packet_id),
            Packet::PublishReceived(ack) if ack.reason.is_error() => Some(ack.packet_id),
            _ => None,
        };
        if let Some(ended) = ended {
            let before = self.unacknowledged.len();
            self.unacknowledged.retain(|id| *id != ended);
            self.early.extend((self.unacknowledged.len() == before).then_some(ended));
        }
        Some(packet)
    }

    /// Publishes a message, if it may; ids are taken in no order.
    pub(crate) fn publish(
        &mut self,
        number: usize,
        maximum: usize,
        is_forbidden: bool,
        random: &mut Random,
    ) -> Option<Sent> {
        let qos = *random.one_of(&QoS::ALL);
        let is_free = |id: &PacketId| self.outbox.iter().all(|sent| sent.id != Some(*id));
        let free: Vec<PacketId> = (1..=maximum + 2).map(id).filter(is_free).collect();
        let id = (qos > QoS::AtMostOnce).then(|| *random.one_of(&free));
        let sent = Sent { number, qos, id, dup: false, is_forbidden, is_received: false };
        if let Some(id) = id {
            if self.outbox.len() >= maximum {
                return None;
            }
            self.outbox.push(sent.clone());
            self.in_order[qos.index()].push_back(id);
        }
        Some(sent)
    }

    /// It is connected again: what it sends at once.
    pub(crate) fn connected(&mut self, session_present: bool, random: &mut Random) -> Vec<ToBroker> {
        (self.latest, self.in_order) = (None, Default::default());
        // Some clients acknowledge what came on the connection before. PUBREL is sent again below.
        let keeps = session_present && random.one_in(2);
        self.owed.retain(|owed| keeps && !matches!(owed, Packet::PublishRelease(_)));
        self.unacknowledged.clear();
        self.early.clear();
        if !session_present {
            // [MQTT-3.2.2-5] without a session in the broker there is none here
            self.outbox.clear();
            self.received.clear();
            self.latest_new = None;
            return Vec::new();
        }
        // [MQTT-4.4.0-1]
        let again = |sent: &mut Sent| match sent.id {
            Some(id) if sent.is_received => ToBroker::Other(Packet::PublishRelease(Ack::success(id))),
            _ => {
                sent.dup = true;
                ToBroker::Publish(sent.clone())
            }
        };
        self.outbox.iter_mut().map(again).collect()
    }

    /// Whether it publishes a message with this id at the moment.
    pub(crate) fn uses(&self, id: PacketId) -> bool {
        self.outbox.iter().any(|sent| sent.id == Some(id))
    }

    /// Whether it waits for nothing and owes nothing.
    pub(crate) fn is_done(&self) -> bool {
        self.outbox.is_empty() && self.owed.is_empty()
    }
}
