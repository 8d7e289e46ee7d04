//! The packet path without sockets, for fuzzers and for the tests that stand in for them: bytes, codec, connection and
//! session, and the way back.
//!
//! Whatever the bytes are, nothing panics; how they were cut into reads makes no difference; the buffer holds no more than
//! came; and every packet that is written can be read and says what was meant, in both versions.

mod codec;

use std::sync::Arc;

pub use codec::Codec;
use ntex::codec::Decoder;
use ntex::util::BytesMut;
use pocket_domain::{DeviceId, Principal, TenantId, Timestamp};
use pocket_mqtt_core::{
    Ack, Acknowledgement, Action, Closing, Connection, Delivery, Handshake, Inbound, Limits, Match, Opened, Outcome,
    OutgoingPacket, Packet, ProtocolVersion, Publish, QoS, ReasonCode, Reply, Session, TenantAuthorizer, TopicCache,
};

use crate::fanout::{self, Fanout};
use crate::subscriber::SubscriberId;
use crate::wire::Wire;

/// A buffer may be as large as this whatever came.
const BUFFER: usize = 16 * 1024;
/// Once a connection has ended, the rest of the bytes is a new one of the same client. So often.
const CONNECTIONS: usize = 4;

/// Small bounds, so that short inputs reach them.
fn limits() -> Limits {
    Limits {
        packet_bytes: 512,
        usual_packet_bytes: 512,
        receive_maximum: 4,
        topic_alias_maximum: 4,
        outgoing_topic_aliases: 4,
        subscriptions: 4,
        filter_levels: 8,
        inflight: 4,
        queued_messages: 4,
        queued_bytes: 256,
        ..Limits::default()
    }
}

/// Serves what a client sends, once in one read and once in many.
///
/// # Panics
/// When the broker does something wrong; that is what it is for.
pub fn packets(stream: &[u8]) {
    let whole = Served::new().all(stream, stream.len().max(1));
    for chunk in [1, 7] {
        assert_eq!(Served::new().all(stream, chunk), whole, "reads of {chunk} bytes make a difference");
    }
}

/// What was sent to the client, and how each connection ended.
#[derive(Debug, Default, PartialEq)]
struct Transcript {
    sent: Vec<u8>,
    ends: Vec<Option<Closing>>,
}

/// The broker's side of one client, and what the client reads.
struct Served {
    limits: Arc<Limits>,
    session: Option<Session>,
    transcript: Transcript,
}

impl Served {
    fn new() -> Self {
        Self { limits: Arc::new(limits()), session: None, transcript: Transcript::default() }
    }

    fn all(mut self, stream: &[u8], chunk: usize) -> Transcript {
        let (mut chunks, mut buffer, mut fed) = (stream.chunks(chunk), BytesMut::new(), 0);
        for _ in 0..CONNECTIONS {
            let mut served = Conversation { wire: Wire::new(&self.limits), ends: None, connection: None };
            while served.ends.is_none() {
                match served.wire.decode(&mut buffer) {
                    Ok(Some(frame)) => {
                        let packet = frame.packet().expect("only whole packets pass");
                        served.take(packet, &mut self);
                    }
                    Ok(None) => {
                        let Some(bytes) = chunks.next() else {
                            self.transcript.ends.push(None);
                            return self.transcript;
                        };
                        buffer.extend_from_slice(bytes);
                        fed += bytes.len();
                        assert!(buffer.capacity() <= 2 * fed + BUFFER, "{} for {fed} bytes", buffer.capacity());
                    }
                    Err(reason) => {
                        // What follows on a connection like this is not read.
                        self.transcript.ends.push(Some(Closing::ByServer(reason)));
                        return self.transcript;
                    }
                }
            }
            self.session = served.connection.map(|mut connection| connection.take_session());
            self.transcript.ends.push(served.ends);
        }
        self.transcript
    }
}

/// One connection.
struct Conversation {
    wire: Wire,
    ends: Option<Closing>,
    connection: Option<Connection>,
}

impl Conversation {
    fn take(&mut self, packet: Packet<'_>, served: &mut Served) {
        let Some(connection) = &mut self.connection else { return self.open(packet, served) };
        let action = connection.on_packet(packet, &TopicCache::<()>::default(), &TenantAuthorizer);
        match action {
            Action::None => {}
            Action::Hold(reply) => panic!("{reply:?} of a session that is not stored"),
            Action::Send(packet) => self.send(&packet, served),
            Action::Publish(inbound) => self.publish(&inbound, served),
            Action::Refuse(inbound) => {
                let refusal = inbound.refusal(ReasonCode::NotAuthorized, None);
                self.settle(refusal, Outcome::Stored, served);
            }
            Action::Drop(acknowledgement) => self.settle(acknowledgement, Outcome::Stored, served),
            Action::Subscribe(_, ack) => self.send(&Packet::SubscribeAck(ack), served),
            Action::Unsubscribe(_, ack) => self.send(&Packet::UnsubscribeAck(ack), served),
            Action::Resume(packet) => {
                if let Some(packet) = packet {
                    self.send(&packet, served);
                }
                self.send_queued(served);
            }
            Action::Close(closing) => self.ends = Some(closing),
        }
    }

    fn open(&mut self, packet: Packet<'_>, served: &mut Served) {
        let Packet::Connect(connect) = packet else {
            // [MQTT-3.1.0-1]
            panic!("the first packet is a CONNECT: {packet:?}");
        };
        let handshake = Handshake::begin(*connect, [0; 16]).and_then(|handshake| {
            let tenant = tenant();
            let client = handshake.client(tenant, Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10])));
            handshake.authorize(&client, &TenantAuthorizer).map(|()| (handshake, client))
        });
        match handshake {
            Ok((handshake, client)) => {
                let left = served.session.take().filter(|_| !handshake.clean_start());
                let Opened { mut connection, ack } = handshake.open(client, left, &served.limits);
                let will = connection.take_will();
                self.connection = Some(connection);
                self.send(&Packet::ConnectAck(Box::new(ack)), served);
                if let Some(will) = will {
                    let fanout_of_will = Arc::new(will.message);
                    self.deliver(&Fanout::of_message(tenant(), &fanout_of_will, Timestamp::MIN), served);
                }
                self.send_queued(served);
            }
            Err(refusal) => {
                let version = self.wire.version().expect("a CONNECT tells the version");
                if let Some(ack) = refusal.packet(version) {
                    self.send(&Packet::ConnectAck(Box::new(ack)), served);
                }
                self.ends = Some(Closing::ByServer(refusal.reason));
            }
        }
    }

    /// A message: the client gets it back, and its fate is told by how its payload begins.
    fn publish(&mut self, inbound: &Inbound<'_>, served: &mut Served) {
        let outcome = match inbound.payload.first() {
            Some(b'F') => Outcome::Failed(ReasonCode::UnspecifiedError),
            Some(b'L') => Outcome::Lost(vec![0]),
            _ => Outcome::Stored,
        };
        let acknowledgement = match inbound.payload.first() {
            Some(b'R') => inbound.refusal(ReasonCode::PayloadFormatInvalid, Some("no".into())),
            _ => inbound.acknowledgement(Some(0..1)),
        };
        self.settle(acknowledgement, outcome, served);
        self.deliver(&Fanout::of_inbound(tenant(), inbound, Timestamp::MIN), served);
    }

    fn settle(&mut self, acknowledgement: Option<Acknowledgement>, outcome: Outcome, served: &mut Served) {
        let (Some(connection), Some(acknowledgement)) = (&mut self.connection, acknowledgement) else { return };
        let mut answers = Vec::new();
        let batch = connection.session().await_storage(vec![Reply::from(acknowledgement)]);
        let settled = connection.session().settle(batch, outcome, |packet| answers.push(packet));
        self.ends = settled.err();
        for answer in answers {
            self.send(&answer, served);
        }
    }

    fn deliver(&mut self, message: &Fanout<'_>, served: &mut Served) {
        let Some(connection) = &mut self.connection else { return };
        let matching =
            connection.session().subscriptions().filter(|held| held.filter.matches(message.topic().as_str()));
        let mut identifiers: Vec<_> = matching.filter_map(|held| held.identifier).collect();
        identifiers.sort_unstable();
        let found = Match {
            subscriber: SubscriberId { serial: 0, slot: 0, worker: 0, session: None },
            qos: QoS::ExactlyOnce,
            own: pocket_mqtt_core::Own::Same,
            retain_as_published: true,
            identifiers,
        };
        if message.qos_for(&found) == QoS::AtMostOnce {
            let aliased = connection.outgoing_aliases().apply(message.plain_for(&found));
            connection.outgoing_aliases().was_sent(aliased.topic, aliased.topic_alias);
            return self.send(&Packet::Publish(aliased), served);
        }
        connection.session().offer(message.delivery(&found, None, None));
        self.send_queued(served);
    }

    fn send_queued(&mut self, served: &mut Served) {
        while let Some(next) = self.connection.as_mut().and_then(|connection| connection.session().next(Timestamp::MIN))
        {
            match next {
                OutgoingPacket::Record(id) => panic!("{id} of a session that is not stored"),
                OutgoingPacket::Release(id) => self.send(&Packet::PublishRelease(Ack::success(id)), served),
                OutgoingPacket::Publish { packet_id, delivery, dup } => {
                    let Delivery { message, qos, retain, identifiers, .. } = &delivery;
                    let packet_id = Some(packet_id);
                    let publish = fanout::publish(message, Timestamp::MIN);
                    let publish = Publish {
                        dup,
                        qos: *qos,
                        retain: *retain,
                        packet_id,
                        subscription_ids: identifiers,
                        ..publish
                    };
                    self.send(&Packet::Publish(publish), served);
                }
            }
        }
    }

    /// Writes a packet, and reads it as the client does.
    fn send(&self, packet: &Packet<'_>, served: &mut Served) {
        let version = self.wire.version().expect("nothing is sent before CONNECT");
        let bytes = read_back(&self.wire, version, packet);
        served.transcript.sent.extend_from_slice(&bytes);
        if let Packet::Publish(publish) = packet {
            // A subscriber of the other version, which knows nothing of this client's aliases.
            let other = if version == ProtocolVersion::V5 { ProtocolVersion::V311 } else { ProtocolVersion::V5 };
            if !publish.topic.is_empty() {
                read_back(&wire_of(other), other, packet);
            }
        }
    }
}

/// The bytes of a packet, which say what was meant to whoever reads them.
fn read_back(wire: &Wire, version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    let bytes = wire.bytes(packet.clone()).expect("what the broker sends can be written");
    let mut buffer = BytesMut::from(&bytes[..]);
    let client = wire_of(version);
    if bytes.is_empty() {
        // 3.1.1 has no such packet.
        return Vec::new();
    }
    let frame = client.decode(&mut buffer).expect("what the broker sends can be read").expect("it is whole");
    let read = frame.packet().expect("it is whole");
    assert!(buffer.is_empty(), "{packet:?} leaves {} bytes", buffer.len());
    match (packet, read) {
        (Packet::Publish(meant), Packet::Publish(read)) => assert_eq!(read, as_read(meant, version)),
        (meant, read) => assert_eq!(std::mem::discriminant(meant), std::mem::discriminant(&read)),
    }
    bytes.to_vec()
}

/// What is left of a message in a version.
fn as_read<'a>(publish: &Publish<'a>, version: ProtocolVersion) -> Publish<'a> {
    match version {
        ProtocolVersion::V5 => publish.clone(),
        ProtocolVersion::V311 => Publish {
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: None,
            ..publish.clone()
        },
    }
}

/// A codec that speaks a version, as after CONNECT.
fn wire_of(version: ProtocolVersion) -> Wire {
    let connect: &[u8] = match version {
        ProtocolVersion::V311 => b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x",
        ProtocolVersion::V5 => b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01x",
    };
    // What the broker sends may be larger than what it accepts.
    let wire = Wire::new(&Limits { packet_bytes: u32::MAX, usual_packet_bytes: u32::MAX, ..Limits::default() });
    assert!(matches!(wire.decode(&mut BytesMut::from(connect)), Ok(Some(_))));
    wire
}

/// The only tenant there is.
fn tenant() -> TenantId {
    TenantId::new(Timestamp::MIN, [1; 10])
}

#[cfg(test)]
mod tests;
