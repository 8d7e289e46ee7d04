//! A stored session through crashes of the broker: whatever was committed is all that is left, and still every message
//! arrives as its QoS promises.
//!
//! The store is naive: changes wait in a list, a commit applies them in order, a crash forgets those that wait. The client
//! does what the specification asks and keeps its state through everything.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pocket_domain::{DeviceId, Principal, TenantId, Timestamp, TopicName};
use pocket_mqtt_core::{
    Ack, Action, BatchId, Connect, Connection, Delivery, Handshake, LeftDelivery, LeftSession, Limits, Message, Offer,
    Outcome, OutgoingPacket, Packet, PacketId, ProtocolVersion, QoS, Reply, Session, SessionChange, StoreKey, StoredAs,
    TenantAuthorizer, TopicCache,
};
use proptest::prelude::*;

/// What is committed: deliveries with how far they came.
#[derive(Clone, Default)]
struct Store {
    deliveries: BTreeMap<StoreKey, (Delivery, Option<(PacketId, bool)>)>,
}

/// One hand-over to the store, with what waits for it.
enum HandOver {
    Queued(Delivery),
    Noted(Vec<SessionChange>, Option<BatchId>),
}

#[derive(Default)]
struct Client {
    taken: BTreeSet<PacketId>,
    given: Vec<(QoS, u32)>,
}

struct World {
    connection: Connection,
    store: Store,
    waiting: VecDeque<HandOver>,
    client: Client,
    down: VecDeque<Packet<'static>>,
    published: VecDeque<(PacketId, QoS, u32)>,
    up: VecDeque<Packet<'static>>,
    /// Messages whose publisher was answered.
    acknowledged: Vec<(QoS, u32)>,
    next: u32,
}

fn open(left: Option<Session>) -> Connection {
    let connect = Connect {
        version: ProtocolVersion::V5,
        clean_start: false,
        keep_alive: 0,
        client_id: "x".to_owned(),
        username: None,
        password: None,
        will: None,
        session_expiry: 60,
        receive_maximum: 3,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        authentication_method: None,
    };
    let handshake = Handshake::begin(connect, [0; 16]).unwrap();
    let device = Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10]));
    let client = handshake.client(TenantId::new(Timestamp::MIN, [1; 10]), device);
    handshake.open(client, left, &Arc::new(Limits::default())).connection
}

fn restored(store: &Store) -> Session {
    let deliveries = store.deliveries.values();
    let deliveries =
        deliveries.map(|(delivery, progress)| LeftDelivery { delivery: delivery.clone(), progress: *progress });
    let left =
        LeftSession { key: StoreKey::MIN, subscriptions: vec![], received: vec![], deliveries: deliveries.collect() };
    Session::restore(left, &Arc::default())
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
    let key = StoreKey::new(u64::from(number) + 1).unwrap();
    let stored = Some(StoredAs { delivery: key, message: key });
    Delivery { message: Arc::new(message), qos, retain: false, identifiers: Vec::new(), group: None, stored }
}

fn number_of(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().unwrap())
}

impl World {
    fn new() -> Self {
        Self {
            connection: open(Some(restored(&Store::default()))),
            store: Store::default(),
            waiting: VecDeque::new(),
            client: Client::default(),
            down: VecDeque::new(),
            published: VecDeque::new(),
            up: VecDeque::new(),
            acknowledged: Vec::new(),
            next: 0,
        }
    }

    fn step(&mut self, step: u8) {
        match step {
            0..30 => self.publish(if step.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce }),
            30..55 => self.client_takes(),
            55..80 => self.broker_takes(),
            80..110 => self.commit(),
            110..115 => self.reconnect(),
            _ => self.crash(),
        }
    }

    /// A message is handed to the store, then to the session, as the adapter does.
    fn publish(&mut self, qos: QoS) {
        let delivery = delivery(qos, self.next);
        self.next += 1;
        self.waiting.push_back(HandOver::Queued(delivery.clone()));
        assert_eq!(self.connection.session().offer(delivery), Offer::Queued);
        self.send_all();
    }

    fn send_all(&mut self) {
        let mut recorded = Vec::new();
        while let Some(packet) = self.connection.session().next(Timestamp::MIN) {
            match packet {
                OutgoingPacket::Publish { packet_id, delivery, .. } => {
                    self.published.push_back((packet_id, delivery.qos, number_of(&delivery.message.payload)));
                }
                OutgoingPacket::Release(packet_id) => {
                    self.down.push_back(Packet::PublishRelease(Ack::success(packet_id)));
                }
                OutgoingPacket::Record(packet_id) => recorded.push(Reply::Recorded(packet_id)),
            }
        }
        self.note(recorded);
    }

    fn note(&mut self, replies: Vec<Reply>) {
        let session = self.connection.session();
        let changes = session.take_changes();
        let batch = (!replies.is_empty()).then(|| session.await_storage(replies));
        if batch.is_some() || !changes.is_empty() {
            self.waiting.push_back(HandOver::Noted(changes, batch));
        }
    }

    fn client_takes(&mut self) {
        if let Some((id, qos, number)) = self.published.pop_front() {
            if qos == QoS::AtLeastOnce {
                self.client.given.push((qos, number));
                self.up.push_back(Packet::PublishAck(Ack::success(id)));
            } else {
                if self.client.taken.insert(id) {
                    self.client.given.push((qos, number));
                }
                self.up.push_back(Packet::PublishReceived(Ack::success(id)));
            }
        } else if let Some(Packet::PublishRelease(ack)) = self.down.pop_front() {
            self.client.taken.remove(&ack.packet_id);
            self.up.push_back(Packet::PublishComplete(Ack::success(ack.packet_id)));
        }
    }

    fn broker_takes(&mut self) {
        let Some(packet) = self.up.pop_front() else { return };
        match self.connection.on_packet(packet, &TopicCache::<()>::default(), &TenantAuthorizer) {
            Action::Send(packet) => self.down.push_back(packet),
            Action::Hold(reply) => self.note(vec![reply]),
            Action::Resume(None) => {}
            other => panic!("{other:?}"),
        }
        self.note(Vec::new());
        self.send_all();
    }

    /// The oldest hand-over is committed.
    fn commit(&mut self) {
        match self.waiting.pop_front() {
            Some(HandOver::Queued(delivery)) => {
                self.acknowledged.push((delivery.qos, number_of(&delivery.message.payload)));
                self.store.deliveries.insert(delivery.stored.unwrap().delivery, (delivery, None));
            }
            Some(HandOver::Noted(changes, batch)) => {
                for change in changes {
                    self.apply(&change);
                }
                if let Some(batch) = batch {
                    let mut sent = Vec::new();
                    let settled = self.connection.session().settle(batch, Outcome::Stored, |packet| sent.push(packet));
                    self.down.extend(sent);
                    assert!(settled.is_ok());
                    self.send_all();
                }
            }
            None => {}
        }
    }

    fn apply(&mut self, change: &SessionChange) {
        match change {
            SessionChange::Progressed { delivery, packet_id, released } => {
                if let Some((_, progress)) = self.store.deliveries.get_mut(delivery) {
                    *progress = Some((*packet_id, *released));
                }
            }
            SessionChange::Delivered(stored) => drop(self.store.deliveries.remove(&stored.delivery)),
            other => panic!("{other:?}"),
        }
    }

    fn lose_connection(&mut self) {
        self.published.clear();
        self.down.clear();
        self.up.clear();
    }

    fn reconnect(&mut self) {
        self.lose_connection();
        let mut left = self.connection.take_session();
        left.note_progress();
        self.waiting.push_back(HandOver::Noted(left.take_changes(), None));
        self.connection = open(Some(left));
        self.send_all();
    }

    /// The process is gone, with all that was not committed. Publishers that were not answered send their messages again.
    fn crash(&mut self) {
        self.lose_connection();
        let mut again = Vec::new();
        for hand_over in self.waiting.drain(..) {
            if let HandOver::Queued(delivery) = hand_over {
                again.push(delivery);
            }
        }
        self.connection = open(Some(restored(&self.store)));
        self.send_all();
        for delivery in again {
            self.waiting.push_back(HandOver::Queued(delivery.clone()));
            assert_eq!(self.connection.session().offer(delivery), Offer::Queued);
        }
        self.send_all();
    }

    fn settle(&mut self) {
        while !(self.waiting.is_empty() && self.published.is_empty() && self.down.is_empty() && self.up.is_empty()) {
            self.commit();
            self.client_takes();
            self.broker_takes();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_message_arrives_as_its_qos_promises_through_crashes(steps in prop::collection::vec(0u8..120, 0..300)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.crash();
        world.settle();
        prop_assert!(world.store.deliveries.is_empty(), "{:?}", world.store.deliveries.keys().collect::<Vec<_>>());
        prop_assert_eq!(world.acknowledged.len(), world.next as usize);
        for (qos, number) in &world.acknowledged {
            let count = world.client.given.iter().filter(|given| given.1 == *number).count();
            let is_right = if *qos == QoS::ExactlyOnce { count == 1 } else { count >= 1 };
            prop_assert!(is_right, "{} came {} times at {:?}", number, count, qos);
        }
    }
}
