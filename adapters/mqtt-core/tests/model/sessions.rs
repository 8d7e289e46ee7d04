//! A session and its client through lost connections, failing storage and time, against lists of what should happen.
//!
//! What must hold: an id is used once at a time; messages come in order; QoS 1 arrives, QoS 2 arrives once, in both
//! directions; DUP only on what was sent before; no more is under way than the client accepts; the queue has its
//! bounds; what was acknowledged is stored, unless 3.1.1 could not be told that it was not allowed.

mod connections;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pocket_domain::Timestamp;
use pocket_mqtt_core::{
    Ack, Action, Closing, Connection, Delivery, Limits, OutgoingPacket, Packet, ProtocolVersion, Publish, QoS,
    ReasonCode, Session, TopicCache,
};

use crate::client::{Client, Sent, ToBroker, ToClient};
use crate::deliveries::{self, Deliveries};
use crate::opening::{FORBIDDEN, Lenient, open};
use crate::publications::Publications;
use crate::seed::{self, Random, Trace};
use crate::subscriptions::Subscriptions;

const STEPS: usize = 500;

struct World<'a> {
    random: &'a mut Random,
    trace: &'a mut Trace,
    limits: Arc<Limits>,
    version: ProtocolVersion,
    window: u16,
    now: Timestamp,
    /// The connection, or the session that waits for one.
    connection: Result<Connection, Session>,
    client: Client,
    down: VecDeque<ToClient>,
    up: VecDeque<ToBroker>,
    deliveries: Deliveries,
    publications: Publications,
    subscriptions: Subscriptions,
    next: usize,
    /// Storage fails and clients refuse messages now and then.
    has_trouble: bool,
}

impl<'a> World<'a> {
    fn new(random: &'a mut Random, trace: &'a mut Trace) -> Self {
        let limits = Arc::new(Limits {
            inflight: 1 + u16::try_from(random.below(8)).unwrap(),
            receive_maximum: 1 + u16::try_from(random.below(8)).unwrap(),
            queued_messages: 1 + random.below(12),
            queued_bytes: 300 + random.below(4_000),
            subscriptions: 1 + random.below(5),
            filter_levels: 4,
            ..Limits::default()
        });
        trace.step(|| format!("{limits:?}"));
        let (connection, _) = open(ProtocolVersion::V5, 1, None, &limits);
        let mut world = Self {
            random,
            trace,
            limits,
            version: ProtocolVersion::V5,
            window: 1,
            now: Timestamp::MIN,
            connection: Ok(connection),
            client: Client::default(),
            down: VecDeque::new(),
            up: VecDeque::new(),
            deliveries: Deliveries::default(),
            publications: Publications::default(),
            subscriptions: Subscriptions::default(),
            next: 0,
            has_trouble: true,
        };
        if world.random.one_in(32) {
            world.use_many_ids();
        }
        world
    }

    /// So many messages that the packet ids begin again from 1 soon.
    fn use_many_ids(&mut self) {
        let Ok(connection) = &mut self.connection else { return };
        let delivery = Delivery { qos: QoS::AtLeastOnce, ..deliveries::delivery(0, None, self.random) };
        for _ in 0..65_500 + self.random.below(30) {
            connection.session().offer(delivery.clone());
            let Some(OutgoingPacket::Publish { packet_id, .. }) = connection.session().next(self.now) else {
                panic!("nothing was sent")
            };
            let ack = Packet::PublishAck(Ack::success(packet_id));
            connection.on_packet(ack, &TopicCache::<()>::default(), &Lenient);
        }
    }

    fn session(&mut self) -> &mut Session {
        match &mut self.connection {
            Ok(connection) => connection.session(),
            Err(session) => session,
        }
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..8 => self.offer(),
            8..14 => self.client_takes(),
            14..20 => self.client_answers(),
            20..28 => self.broker_takes(),
            28..32 => self.client_publishes(),
            32 => self.client_says_nonsense(),
            33 | 34 => self.submit(),
            35 | 36 => self.settle(),
            37 => self.change_subscriptions(),
            38 => self.pass_time(),
            _ => self.change_connection(),
        }
        let limits = Arc::clone(&self.limits);
        match &mut self.connection {
            Ok(connection) => {
                self.deliveries.check_bounds(connection.session(), &limits);
                self.subscriptions.check(connection.session());
            }
            Err(session) => {
                self.deliveries.check_bounds(session, &limits);
                self.subscriptions.check(session);
            }
        }
    }

    /// Sends what the session wants to send, as the adapter does whenever something may have changed.
    fn send(&mut self) {
        let refusing = if self.has_trouble { 20 } else { usize::MAX };
        let Ok(connection) = &mut self.connection else { return };
        let sent = self.deliveries.send(connection.session(), self.window, self.now, refusing, self.random);
        for packet in &sent {
            self.trace.step(|| format!("    -> {packet:?}"));
        }
        self.down.extend(sent);
    }

    fn offer(&mut self) {
        let expires_at =
            self.random.one_in(5).then(|| self.now.plus(Duration::from_secs(1 + self.random.below(5) as u64)));
        let delivery = deliveries::delivery(self.next, expires_at, self.random);
        self.next += 1;
        let offer = self.session().offer(delivery.clone());
        self.trace.step(|| format!("for the client: {:?} {delivery:?} {offer:?}", delivery.qos));
        self.deliveries.offered(delivery, offer, &self.limits);
        self.send();
    }

    fn client_takes(&mut self) {
        if let Some(packet) = self.down.pop_front() {
            self.trace.step(|| format!("the client takes {packet:?}"));
            self.client.take(&packet, self.version, self.window, self.random);
        }
    }

    fn client_answers(&mut self) {
        if self.connection.is_ok()
            && let Some(packet) = self.client.answer(self.random)
        {
            self.trace.step(|| format!("the client answers {packet:?}"));
            self.up.push_back(ToBroker::Other(packet));
        }
    }

    fn client_publishes(&mut self) {
        if self.connection.is_err() {
            return;
        }
        let is_forbidden = self.random.one_in(8);
        let maximum = if self.version == ProtocolVersion::V5 { self.limits.receive_maximum.into() } else { 12 };
        if let Some(sent) = self.client.publish(self.next, maximum, is_forbidden, self.random) {
            self.next += 1;
            self.trace.step(|| format!("the client publishes {sent:?}"));
            self.up.push_back(ToBroker::Publish(sent));
        }
    }

    /// Acknowledges what nobody waits for. Where the id is not in use this changes nothing; where its message waits for
    /// something else the connection ends.
    fn client_says_nonsense(&mut self) {
        let packet = self.deliveries.nonsense(self.random);
        if self.deliveries.contradict(&packet) {
            let Ok(connection) = &mut self.connection else { return };
            let action = connection.on_packet(packet.clone(), &TopicCache::<()>::default(), &Lenient);
            self.trace.step(|| format!("the broker takes {packet:?}: {action:?}"));
            assert_eq!(action, Action::Close(Closing::ByServer(ReasonCode::ProtocolError)));
            return self.lose_connection();
        }
        // A PUBREL of an id that the client uses would be an error of the client's, not nonsense.
        let is_its_own = matches!(&packet, Packet::PublishRelease(ack) if self.client.uses(ack.packet_id));
        if self.connection.is_ok() && !is_its_own {
            // It overtakes all others: later it might be what is waited for.
            self.broker_takes_packet(packet);
        }
    }

    fn broker_takes(&mut self) {
        let Ok(connection) = &mut self.connection else { return };
        let is_at_maximum = self.publications.is_at_maximum(self.version, self.limits.receive_maximum);
        assert_eq!(connection.is_at_receive_maximum(), is_at_maximum);
        if is_at_maximum {
            self.submit();
            return;
        }
        match self.up.pop_front() {
            Some(ToBroker::Publish(sent)) => self.broker_takes_message(&sent),
            Some(ToBroker::Other(packet)) => self.broker_takes_packet(packet),
            None => self.submit(),
        }
    }

    fn broker_takes_message(&mut self, sent: &Sent) {
        let Ok(connection) = &mut self.connection else { return };
        let payload = sent.number.to_string();
        let publish = Publish {
            dup: sent.dup,
            qos: sent.qos,
            retain: false,
            topic: if sent.is_forbidden { FORBIDDEN } else { "t" },
            packet_id: sent.id,
            payload: payload.as_bytes(),
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: None,
        };
        let action = connection.on_packet(Packet::Publish(publish), &TopicCache::<()>::default(), &Lenient);
        self.trace.step(|| format!("the broker takes {sent:?}: {action:?}"));
        if let Some(answer) = self.publications.arrived(sent, action) {
            self.down.push_back(ToClient::Other(answer));
        }
    }

    fn broker_takes_packet(&mut self, packet: Packet<'static>) {
        let Ok(connection) = &mut self.connection else { return };
        let action = connection.on_packet(packet.clone(), &TopicCache::<()>::default(), &Lenient);
        self.trace.step(|| format!("the broker takes {packet:?}: {action:?}"));
        let expected = match packet {
            Packet::PublishAck(ack) => {
                self.deliveries.acknowledged(ack.packet_id);
                Action::Resume(None)
            }
            Packet::PublishReceived(ack) if ack.reason.is_error() => {
                self.deliveries.received(ack.packet_id, true);
                Action::Resume(None)
            }
            Packet::PublishReceived(ack) => {
                let is_known = self.deliveries.received(ack.packet_id, false);
                Action::Send(Packet::PublishRelease(answer(&ack, is_known)))
            }
            Packet::PublishComplete(ack) => {
                self.deliveries.completed(ack.packet_id);
                Action::Resume(None)
            }
            Packet::PublishRelease(ack) => {
                let is_known = self.publications.released(ack.packet_id);
                Action::Send(Packet::PublishComplete(answer(&ack, is_known)))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(action, expected);
        if let Action::Send(answer) = action {
            self.down.push_back(ToClient::Other(answer));
        }
        self.send();
    }

    /// A read ends: what came is handed over to be stored.
    fn submit(&mut self) {
        if let Ok(connection) = &mut self.connection {
            self.publications.submit(connection.session());
        }
    }

    fn settle(&mut self) {
        let session = match &mut self.connection {
            Ok(connection) => connection.session(),
            Err(session) => session,
        };
        let settled = self.publications.settle(session, self.version, self.has_trouble, self.random);
        let Some((sent, closes)) = settled else { return };
        self.trace.step(|| format!("stored: {sent:?}, closing: {closes}"));
        if self.connection.is_ok() {
            self.down.extend(sent.into_iter().map(|packet| ToClient::Other(as_sent(packet, self.version))));
            if closes {
                self.lose_connection();
            }
        }
    }

    fn change_subscriptions(&mut self) {
        if let Ok(connection) = &mut self.connection {
            let change = self.subscriptions.change(connection, &self.limits, self.random);
            self.trace.step(|| change);
        }
    }

    fn pass_time(&mut self) {
        self.now = self.now.plus(Duration::from_secs(1 + self.random.below(3) as u64));
        self.trace.step(|| format!("it is {}", self.now));
    }

    /// Nothing goes wrong any more: all that was promised is kept.
    fn check_promises(&mut self) {
        self.has_trouble = false;
        self.trace.step(|| "nothing goes wrong any more".to_owned());
        for round in 0.. {
            assert!(round < 10_000, "something waits forever");
            // What failed before may close the connection only now.
            if self.connection.is_err() {
                self.connect();
            }
            self.client_takes();
            self.client_answers();
            self.broker_takes();
            self.settle();
            self.send();
            let is_quiet = self.down.is_empty() && self.up.is_empty();
            if is_quiet && self.client.is_done() && self.publications.is_settled() && self.session().is_idle() {
                break;
            }
        }
        assert_eq!(self.session().queued(), 0);
        self.check_arrival();
        self.check_storage();
    }

    fn check_arrival(&self) {
        let given = &self.client.given;
        for number in self.deliveries.promised.iter().filter(|number| !self.client.refused.contains(number)) {
            assert!(given.iter().any(|(_, other)| other == number), "{number} did not arrive");
        }
        let mut once: Vec<usize> =
            given.iter().filter(|(qos, _)| *qos == QoS::ExactlyOnce).map(|(_, number)| *number).collect();
        once.sort_unstable();
        assert!(once.is_sorted_by(|a, b| a < b), "a message of QoS 2 arrived twice: {once:?}");
    }

    fn check_storage(&self) {
        let Publications { stored, refused, .. } = &self.publications;
        for number in &self.client.acknowledged {
            let is_stored = stored.iter().any(|((other, _), times)| other == number && *times > 0);
            assert!(is_stored != refused.contains(number), "{number} was acknowledged; stored: {is_stored}");
        }
        for ((number, qos), times) in stored {
            assert!(*times <= 1 || *qos == QoS::AtLeastOnce, "{number} was stored {times} times");
        }
    }
}

fn answer(ack: &Ack, is_known: bool) -> Ack {
    let reason = if is_known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
    Ack::with(ack.packet_id, reason)
}

/// An acknowledgement as it arrives: 3.1.1 has no reasons.
fn as_sent(packet: Packet<'static>, version: ProtocolVersion) -> Packet<'static> {
    match packet {
        Packet::PublishAck(ack) if version == ProtocolVersion::V311 => Packet::PublishAck(Ack::success(ack.packet_id)),
        Packet::PublishReceived(ack) if version == ProtocolVersion::V311 => {
            Packet::PublishReceived(Ack::success(ack.packet_id))
        }
        packet => packet,
    }
}

fn run(random: &mut Random, trace: &mut Trace) {
    let mut world = World::new(random, trace);
    for _ in 0..STEPS {
        world.step();
    }
    world.check_promises();
}

#[test]
fn what_a_session_promises_it_keeps() {
    seed::run("sessions::what_a_session_promises_it_keeps", 300, run);
}

#[test]
fn the_same_seed_takes_the_same_steps() {
    seed::run_twice(run);
}
