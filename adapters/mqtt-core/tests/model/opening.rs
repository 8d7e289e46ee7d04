//! Connections as a client of these few properties opens them.

use std::num::NonZeroU32;
use std::sync::Arc;

use pocket_domain::{DeviceId, Principal, TenantId, Timestamp, TopicFilter, TopicName};
use pocket_mqtt_core::{
    Action, Authorizer, Client, Connect, Connection, Handshake, Limits, Packet, PacketId, ProtocolVersion, Session,
    Subscribe, SubscribeRequest, Subscription, SubscriptionOptions, TopicCache,
};

/// The topic that nobody may publish on.
pub(crate) const FORBIDDEN: &str = "forbidden";

/// Allows all topics but one, those that begin with `$` too.
pub(crate) struct Lenient;

impl Authorizer for Lenient {
    fn may_publish(&self, _: &Client, topic: &TopicName) -> bool {
        topic.as_str() != FORBIDDEN
    }

    fn may_subscribe(&self, _: &Client, _: &TopicFilter) -> bool {
        true
    }

    fn may_receive(&self, _: &Client, _: &TopicName) -> bool {
        true
    }
}

/// A connection, with the session it goes on with.
pub(crate) fn open(
    version: ProtocolVersion,
    window: u16,
    left: Option<Session>,
    limits: &Arc<Limits>,
) -> (Connection, bool) {
    let connect = Connect {
        version,
        clean_start: left.is_none(),
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
    let client = handshake
        .client(TenantId::new(Timestamp::MIN, [1; 10]), Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10])));
    let opened = handshake.open(client, left, limits);
    (opened.connection, opened.ack.session_present)
}

/// A packet id.
pub(crate) fn id(number: usize) -> PacketId {
    PacketId::new(u16::try_from(number).unwrap()).unwrap()
}

/// A SUBSCRIBE with one filter.
pub(crate) fn subscribe(filter: &str, options: SubscriptionOptions, identifier: Option<NonZeroU32>) -> Packet<'static> {
    let requests = vec![SubscribeRequest { filter: filter.to_owned(), options }];
    Packet::Subscribe(Subscribe { packet_id: id(1), identifier, requests })
}

/// A subscription, the way a client gets one.
pub(crate) fn subscription(filter: &str, options: SubscriptionOptions, identifier: Option<NonZeroU32>) -> Subscription {
    let (mut connection, _) = open(ProtocolVersion::V5, 1, None, &Arc::default());
    let request = subscribe(filter, options, identifier);
    match connection.on_packet(request, &TopicCache::<()>::default(), &Lenient) {
        Action::Subscribe(mut granted, _) if granted.len() == 1 => granted.remove(0).subscription,
        other => panic!("{filter} was not granted: {other:?}"),
    }
}
