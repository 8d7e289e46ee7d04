//! What a session should send to its client: a list of what waits and a list of what is under way.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use pocket_domain::{Timestamp, TopicName};
use pocket_mqtt_core::{Ack, Delivery, Limits, Message, Offer, OutgoingPacket, Packet, PacketId, QoS, Session};

use crate::client::ToClient;
use crate::opening::{id, subscription};
use crate::seed::Random;

/// A message that was sent and is not yet done with.
struct Flying {
    id: PacketId,
    delivery: Delivery,
    is_released: bool,
    /// It was sent on this connection, for the first time or again.
    is_sent: bool,
}

/// The list of one session.
#[derive(Default)]
pub(crate) struct Deliveries {
    waiting: VecDeque<Delivery>,
    flying: Vec<Flying>,
    /// Messages that must arrive, by number.
    pub(crate) promised: Vec<usize>,
}

/// The number of a message stands in its payload.
pub(crate) fn number(delivery: &Delivery) -> usize {
    let text = std::str::from_utf8(&delivery.message.payload).unwrap();
    text.trim_end_matches('.').parse().unwrap()
}

/// A message with a number.
pub(crate) fn delivery(number: usize, expires_at: Option<Timestamp>, random: &mut Random) -> Delivery {
    let qos = *random.one_of(&[QoS::AtLeastOnce, QoS::ExactlyOnce]);
    let payload = format!("{number}{}", ".".repeat(random.below(20)));
    let message = Message {
        topic: TopicName::parse(random.one_of::<&str>(&["t", "t/u", "v"])).unwrap(),
        payload: Bytes::from(payload),
        qos,
        retain: false,
        properties: None,
        expires_at,
    };
    let group = random.one_in(4).then(|| subscription("$share/g/#", Default::default(), None).group.unwrap());
    Delivery { message: Arc::new(message), qos, retain: false, identifiers: Vec::new(), group, stored: None }
}

impl Deliveries {
    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|delivery| delivery.message.weight()).sum()
    }

    fn under_way(&self) -> usize {
        self.flying.iter().filter(|flying| flying.is_sent).count()
    }

    /// A message was offered to the session; what it said must be what the bounds say.
    pub(crate) fn offered(&mut self, delivery: Delivery, offer: Offer, limits: &Limits) {
        let bytes = self.waiting_bytes() + delivery.message.weight();
        let fits =
            self.waiting.len() < limits.queued_messages && (bytes <= limits.queued_bytes || self.waiting.is_empty());
        assert_eq!(offer, if fits { Offer::Queued } else { Offer::Dropped });
        if fits {
            self.promised.push(number(&delivery));
            self.waiting.push_back(delivery);
        }
    }

    /// Takes what the session sends, as far as it does, and checks that it is what is due and all that is due. One in
    /// `refusing` messages is found to be too large for the client.
    pub(crate) fn send(
        &mut self,
        session: &mut Session,
        window: u16,
        now: Timestamp,
        refusing: usize,
        random: &mut Random,
    ) -> Vec<ToClient> {
        let mut sent = Vec::new();
        while let Some(packet) = session.next(now) {
            match packet {
                OutgoingPacket::Record(id) => panic!("{id} of a session that is not stored"),
                OutgoingPacket::Release(id) => {
                    let due = self.next_again().expect("nothing is to be sent again");
                    assert_eq!((id, true), (due.id, due.is_released));
                    due.is_sent = true;
                    sent.push(ToClient::Other(Packet::PublishRelease(Ack::success(id))));
                }
                OutgoingPacket::Publish { packet_id, delivery, dup } => {
                    self.check(packet_id, &delivery, dup, now);
                    if !dup && random.one_in(refusing) {
                        session.discard(packet_id);
                        self.end(packet_id);
                        self.keep_no_promise(number(&delivery));
                    } else {
                        let number = number(&delivery);
                        sent.push(ToClient::Publish { id: packet_id, qos: delivery.qos, number, dup });
                    }
                }
            }
            assert!(self.under_way() <= usize::from(window));
        }
        self.is_exhausted(session, window, now);
        sent
    }

    /// The first message of an earlier connection that was not yet sent on this one.
    fn next_again(&mut self) -> Option<&mut Flying> {
        self.flying.iter_mut().find(|flying| !flying.is_sent)
    }

    fn check(&mut self, id: PacketId, delivery: &Delivery, dup: bool, now: Timestamp) {
        if let Some(due) = self.next_again() {
            // [MQTT-3.3.1-1]
            assert!(dup, "{id} is sent again without DUP, or before its turn");
            assert_eq!((id, false), (due.id, due.is_released));
            assert_eq!(*delivery, due.delivery);
            due.is_sent = true;
            return;
        }
        assert!(!dup, "{id} was not sent before");
        self.pass_over_expired(now);
        let due = self.waiting.pop_front().expect("nothing waits");
        assert_eq!(*delivery, due);
        assert!(self.flying.iter().all(|flying| flying.id != id), "the id {id} is in use");
        self.flying.push(Flying { id, delivery: due, is_released: false, is_sent: true });
    }

    /// All was sent that the window has room for.
    fn is_exhausted(&mut self, session: &Session, window: u16, now: Timestamp) {
        if self.under_way() < usize::from(window) {
            assert!(self.next_again().is_none(), "something is not sent again");
            self.pass_over_expired(now);
            assert!(self.waiting.is_empty(), "the window has room and {} wait", self.waiting.len());
        }
        assert_eq!(session.queued(), self.waiting.len());
        assert_eq!(session.is_idle(), self.under_way() == 0);
    }

    /// The session says rightly whether it has recovered.
    pub(crate) fn check_bounds(&self, session: &Session, limits: &Limits) {
        let half = self.waiting.len() <= limits.queued_messages / 2 && self.waiting_bytes() <= limits.queued_bytes / 2;
        assert_eq!(session.is_queue_half_empty(), half);
    }

    fn pass_over_expired(&mut self, now: Timestamp) {
        while let Some(first) = self.waiting.pop_front_if(|first| first.message.is_expired(now)) {
            self.keep_no_promise(number(&first));
        }
    }

    fn keep_no_promise(&mut self, number: usize) {
        self.promised.retain(|promised| *promised != number);
    }

    fn end(&mut self, id: PacketId) {
        self.flying.retain(|flying| flying.id != id);
    }

    /// An acknowledgement that nobody waits for: of an id that is not in use, or of the wrong kind.
    pub(crate) fn nonsense(&self, random: &mut Random) -> Packet<'static> {
        let id = id(1 + random.below(65_535));
        let kinds = [Packet::PublishAck, Packet::PublishReceived, Packet::PublishComplete, Packet::PublishRelease];
        let flying = match self.flying.iter().find(|flying| flying.id == id) {
            None if self.flying.is_empty() || random.one_in(2) => return random.one_of(&kinds)(Ack::success(id)),
            None => random.one_of(&self.flying),
            Some(flying) => flying,
        };
        let ack = Ack::success(flying.id);
        match flying.delivery.qos {
            QoS::ExactlyOnce if flying.is_released || random.one_in(2) => Packet::PublishAck(ack),
            QoS::AtLeastOnce if random.one_in(2) => Packet::PublishReceived(ack),
            _ => Packet::PublishComplete(ack),
        }
    }

    /// Whether the message of an acknowledgement's id waits for another one.
    pub(crate) fn contradict(&self, packet: &Packet<'_>) -> bool {
        let flying = |id: PacketId| self.flying.iter().find(|flying| flying.id == id);
        match packet {
            Packet::PublishAck(ack) => flying(ack.packet_id).is_some_and(|f| f.delivery.qos != QoS::AtLeastOnce),
            Packet::PublishReceived(ack) => flying(ack.packet_id).is_some_and(|f| f.delivery.qos != QoS::ExactlyOnce),
            Packet::PublishComplete(ack) => flying(ack.packet_id).is_some_and(|f| !f.is_released),
            _ => false,
        }
    }

    fn get(&mut self, id: PacketId) -> Option<&mut Flying> {
        self.flying.iter_mut().find(|flying| flying.id == id)
    }

    /// PUBACK.
    pub(crate) fn acknowledged(&mut self, id: PacketId) {
        if self.get(id).is_some_and(|flying| flying.delivery.qos == QoS::AtLeastOnce) {
            self.end(id);
        }
    }

    /// PUBREC; returns whether the id is known.
    pub(crate) fn received(&mut self, id: PacketId, is_error: bool) -> bool {
        let Some(flying) = self.get(id).filter(|flying| flying.delivery.qos == QoS::ExactlyOnce) else { return false };
        if !is_error {
            flying.is_released = true;
        } else if !flying.is_released {
            let number = number(&flying.delivery);
            self.end(id);
            self.keep_no_promise(number);
        }
        true
    }

    /// PUBCOMP.
    pub(crate) fn completed(&mut self, id: PacketId) {
        if self.get(id).is_some_and(|flying| flying.is_released) {
            self.end(id);
        }
    }

    /// The client is back: all is to be sent again.
    pub(crate) fn resumed(&mut self) {
        self.flying.iter_mut().for_each(|flying| flying.is_sent = false);
    }

    /// The session ends. Returns what other members of a group get: what this one cannot have received. [MQTT-4.8.2-5]
    pub(crate) fn ended(&mut self) -> Vec<Delivery> {
        self.promised.clear();
        let flying = std::mem::take(&mut self.flying).into_iter().map(|flying| flying.delivery);
        let sent = flying.filter(|delivery| delivery.qos == QoS::AtLeastOnce);
        let all = sent.chain(std::mem::take(&mut self.waiting));
        all.filter(|delivery| delivery.group.is_some()).collect()
    }
}
