//! A session against a naive client, over connections that break at any moment: QoS 1 arrives, QoS 2 arrives once, both
//! in order, and never more is under way than the client allows.
//!
//! A step is drawn at random; a failing sequence is shrunk to the shortest that fails.

#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pocket_domain::{DeviceId, Principal, TenantId, Timestamp, TopicName};
use pocket_mqtt_core::{
    Ack, Action, Connect, Connection, Delivery, Handshake, Limits, Message, Offer, OutgoingPacket, Packet, PacketId,
    ProtocolVersion, QoS, Session, TenantAuthorizer, TopicCache,
};
use proptest::prelude::*;

/// What is on its way to the client.
#[derive(Clone, Debug)]
enum ToClient {
    Publish(PacketId, QoS, u32),
    Release(PacketId),
}

/// A client as simple as one can be.
#[derive(Default)]
struct NaiveClient {
    /// Everything that was given to the application.
    given: Vec<(QoS, u32)>,
    /// Ids of QoS 2 that were received and not yet released.
    received: BTreeMap<PacketId, u32>,
}

impl NaiveClient {
    /// What the client answers.
    fn take(&mut self, packet: &ToClient) -> Packet<'static> {
        match *packet {
            ToClient::Publish(id, QoS::ExactlyOnce, number) => {
                if self.received.insert(id, number).is_none() {
                    self.given.push((QoS::ExactlyOnce, number));
                }
                Packet::PublishReceived(Ack::success(id))
            }
            ToClient::Publish(id, qos, number) => {
                self.given.push((qos, number));
                Packet::PublishAck(Ack::success(id))
            }
            ToClient::Release(id) => {
                self.received.remove(&id);
                Packet::PublishComplete(Ack::success(id))
            }
        }
    }
}

fn open(left: Option<Session>, window: u16) -> Connection {
    let connect = Connect {
        version: ProtocolVersion::V5,
        clean_start: false,
        keep_alive: 0,
        client_id: "x".to_owned(),
        username: None,
        password: None,
        will: None,
        session_expiry: 60,
        receive_maximum: window,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        authentication_method: None,
    };
    let handshake = Handshake::begin(connect, [0; 16]).unwrap();
    let device = Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10]));
    let client = handshake.client(TenantId::new(Timestamp::MIN, [1; 10]), device);
    handshake.open(client, left, &Arc::new(Limits::default())).connection
}

fn delivery(qos: QoS, number: u32) -> Delivery {
    let message = Message {
        topic: TopicName::parse("t").unwrap(),
        payload: Bytes::copy_from_slice(&number.to_be_bytes()),
        qos,
        retain: false,
        properties: None,
        expires_at: None,
    };
    Delivery { message: Arc::new(message), qos, retain: false, identifiers: Vec::new(), group: None, stored: None }
}

/// The broker, the client, and the two directions between them.
struct World {
    connection: Connection,
    client: NaiveClient,
    down: VecDeque<ToClient>,
    up: VecDeque<Packet<'static>>,
    window: u16,
    next: u32,
}

impl World {
    fn send_all(&mut self) {
        while let Some(packet) = self.connection.session().next(Timestamp::MIN) {
            self.down.push_back(match packet {
                OutgoingPacket::Publish { packet_id, delivery, .. } => {
                    let number = u32::from_be_bytes(delivery.message.payload[..].try_into().unwrap());
                    ToClient::Publish(packet_id, delivery.qos, number)
                }
                OutgoingPacket::Release(packet_id) => ToClient::Release(packet_id),
                OutgoingPacket::Record(_) => panic!("the session is not stored"),
            });
        }
    }

    fn step(&mut self, step: u8, detail: u8) {
        match step {
            0 => {
                let qos = if detail.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
                assert_eq!(self.connection.session().offer(delivery(qos, self.next)), Offer::Queued);
                self.next += 1;
                self.send_all();
            }
            1 => {
                if let Some(packet) = self.down.pop_front() {
                    let answer = self.client.take(&packet);
                    self.up.push_back(answer);
                }
            }
            2 => {
                if let Some(packet) = self.up.pop_front() {
                    self.broker_takes(packet);
                }
            }
            _ => {
                // The connection breaks: what is under way is lost. The client may come back with another window.
                self.down.clear();
                self.up.clear();
                self.window = 1 + u16::from(detail % 4);
                let left = self.connection.take_session();
                self.connection = open(Some(left), self.window);
                self.send_all();
            }
        }
    }

    fn broker_takes(&mut self, packet: Packet<'static>) {
        match self.connection.on_packet(packet, &TopicCache::<()>::default(), &TenantAuthorizer) {
            Action::Send(Packet::PublishRelease(ack)) => self.down.push_back(ToClient::Release(ack.packet_id)),
            Action::Resume(None) => self.send_all(),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self) {
        while !(self.down.is_empty() && self.up.is_empty()) {
            self.step(1, 0);
            self.step(2, 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_message_arrives_as_its_qos_promises(steps in prop::collection::vec((0u8..16, any::<u8>()), 0..400)) {
        let mut world = World {
            connection: open(None, 3),
            client: NaiveClient::default(),
            down: VecDeque::new(),
            up: VecDeque::new(),
            window: 3,
            next: 0,
        };
        for (step, detail) in steps {
            // A break is rarer than the rest.
            world.step(match step { 0..5 => 0, 5..10 => 1, 10..15 => 2, _ => 3 }, detail);
            let under_way = world.down.iter().filter(|packet| matches!(packet, ToClient::Publish(..))).count();
            prop_assert!(under_way <= usize::from(world.window));
        }
        world.step(3, 2);
        world.settle();
        let numbers = |level: QoS| -> Vec<u32> {
            world.client.given.iter().filter(|(qos, _)| *qos == level).map(|(_, number)| *number).collect()
        };
        let exactly_once = numbers(QoS::ExactlyOnce);
        prop_assert!(exactly_once.is_sorted_by(|a, b| a < b), "{exactly_once:?}");
        let mut at_least_once = numbers(QoS::AtLeastOnce);
        at_least_once.sort_unstable();
        at_least_once.dedup();
        prop_assert_eq!(exactly_once.len() + at_least_once.len(), world.next as usize);
        prop_assert!(world.connection.session().is_idle());
        prop_assert_eq!(world.connection.session().queued(), 0);
    }
}
