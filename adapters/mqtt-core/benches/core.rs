//! What routing and a session cost, without sockets: `just bench-micro`.
#![allow(clippy::unwrap_used, reason = "a measurement fails at once")]

use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, black_box};
use pocket_domain::{DeviceId, Principal, TenantId, Timestamp, TopicName};
use pocket_mqtt_core::{
    Ack, Action, Connect, Connection, Delivery, Handshake, Limits, Message, Outcome, OutgoingPacket, Packet, PacketId,
    ProtocolVersion, Publish, QoS, Reply, Subscription, SubscriptionIndex, SubscriptionOptions, TenantAuthorizer,
    TopicCache,
};

fn main() {
    divan::main();
}

/// Looks a topic up among filters of devices: exact ones, and one in three with a wildcard.
#[divan::bench(args = [10, 10_000])]
fn topic_among_filters(bencher: Bencher<'_, '_>, filters: u32) {
    let index = SubscriptionIndex::<u32>::default().tenant(tenant());
    for number in 0..filters {
        let filter = match number % 9 {
            0 => format!("plant/{number}/#"),
            3 => format!("plant/+/{number}"),
            6 => format!("+/{number}/state"),
            _ => format!("plant/{number}/state"),
        };
        index.subscribe(
            number,
            &Subscription::parse(&filter, SubscriptionOptions::default(), &Limits::default()).unwrap(),
        );
    }
    let topics: Vec<TopicName> =
        (0..filters).map(|number| TopicName::parse(&format!("plant/{number}/state")).unwrap()).collect();
    assert!(!index.matches(&topics[0]).1.direct.is_empty());
    let mut next = topics.iter().cycle();
    bencher.bench_local(|| index.matches(black_box(next.next().unwrap())));
}

/// A client publishes at QoS 1, it is stored, and PUBACK is made.
#[divan::bench]
fn a_message_in_and_its_acknowledgement(bencher: Bencher<'_, '_>) {
    let mut connection = open();
    let mut known = TopicCache::<()>::default();
    known.put(TopicName::parse("plant/7/state").unwrap(), 0, ());
    bencher.bench_local(|| {
        let publish = Publish {
            dup: false,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic: black_box("plant/7/state"),
            packet_id: PacketId::new(1),
            payload: b"{\"temperature\":21.5}",
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: None,
        };
        let Action::Publish(inbound) = connection.on_packet(Packet::Publish(publish), &known, &TenantAuthorizer) else {
            panic!("a message is published");
        };
        let acknowledgement = inbound.acknowledgement(Some(0..1)).unwrap();
        let batch = connection.session().await_storage(vec![Reply::from(acknowledgement)]);
        let mut sent = 0;
        connection.session().settle(batch, Outcome::Stored, |_| sent += 1).unwrap();
        assert_eq!(sent, 1);
    });
}

/// A client is sent a message of QoS 1 and acknowledges it.
#[divan::bench]
fn a_message_out_and_its_acknowledgement(bencher: Bencher<'_, '_>) {
    let mut connection = open();
    let message = Arc::new(Message {
        topic: TopicName::parse("plant/7/state").unwrap(),
        payload: Bytes::from_static(b"{\"temperature\":21.5}"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
    });
    bencher.bench_local(|| {
        connection.session().offer(Delivery {
            message: Arc::clone(&message),
            qos: QoS::AtLeastOnce,
            retain: false,
            identifiers: Vec::new(),
            group: None,
            stored: None,
        });
        let Some(OutgoingPacket::Publish { packet_id, .. }) = connection.session().next(Timestamp::MIN) else {
            panic!("the message is sent");
        };
        let ack = Packet::PublishAck(Ack::success(packet_id));
        connection.on_packet(ack, &TopicCache::<()>::default(), &TenantAuthorizer)
    });
}

fn tenant() -> TenantId {
    TenantId::new(Timestamp::MIN, [1; 10])
}

fn open() -> Connection {
    let connect = Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive: 0,
        client_id: "x".to_owned(),
        username: None,
        password: None,
        will: None,
        session_expiry: 0,
        receive_maximum: 100,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        authentication_method: None,
    };
    let handshake = Handshake::begin(connect, [0; 16]).unwrap();
    let client = handshake.client(tenant(), Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10])));
    handshake.open(client, None, &Arc::new(Limits::default())).connection
}
