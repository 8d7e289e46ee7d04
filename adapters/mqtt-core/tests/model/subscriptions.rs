//! The subscriptions of a session against a map of them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use pocket_mqtt_core::{
    Action, Closing, Connection, Limits, Packet, QoS, ReasonCode, Session, SubscriptionOptions, TopicCache, Unsubscribe,
};

use crate::literal;
use crate::opening::{Lenient, id, subscribe};
use crate::seed::Random;

const FILTERS: [&str; 10] =
    ["a", "a/#", "+/a", "$share/g/a", "$share/h/a", "a/b/c/d/e", "a#", "$share/g", "$share/+/a", ""];

/// What the client holds.
#[derive(Default)]
pub(crate) struct Subscriptions(BTreeMap<String, (SubscriptionOptions, Option<NonZeroU32>)>);

impl Subscriptions {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Subscribes or unsubscribes; returns a description. A filter that is ill-formed would close the connection, and
    /// changes nothing.
    pub(crate) fn change(&mut self, connection: &mut Connection, limits: &Limits, random: &mut Random) -> String {
        let filter = *random.one_of(&FILTERS);
        let is_valid = literal::is_topic_filter(filter) && !filter.starts_with("$share/");
        let plain = literal::shared(filter).map(|(_, plain)| plain).or(is_valid.then_some(filter));
        if random.one_in(3) {
            let expected = match plain {
                None => ReasonCode::MalformedPacket,
                Some(_) if self.0.remove(filter).is_some() => ReasonCode::Success,
                Some(_) => ReasonCode::NoSubscriptionExisted,
            };
            let packet = Packet::Unsubscribe(Unsubscribe { packet_id: id(1), filters: vec![filter.to_owned()] });
            match connection.on_packet(packet, &TopicCache::<()>::default(), &Lenient) {
                Action::Close(Closing::ByServer(reason)) => {
                    assert_eq!([reason, expected], [ReasonCode::MalformedPacket; 2]);
                }
                Action::Unsubscribe(removed, ack) => {
                    assert_eq!(ack.reasons, [expected]);
                    assert_eq!(removed.len(), usize::from(expected == ReasonCode::Success));
                }
                other => panic!("{other:?}"),
            }
            return format!("unsubscribes from {filter}: {expected:?}");
        }
        let qos = *random.one_of(&QoS::ALL);
        let options = SubscriptionOptions { qos, ..Default::default() };
        let identifier = NonZeroU32::new(u32::try_from(random.below(3)).unwrap());
        let expected = match plain {
            None => ReasonCode::MalformedPacket,
            Some(plain) if plain.split('/').count() > limits.filter_levels => ReasonCode::TopicFilterInvalid,
            Some(_) if self.0.len() >= limits.subscriptions && !self.0.contains_key(filter) => {
                ReasonCode::QuotaExceeded
            }
            Some(_) => [ReasonCode::Success, ReasonCode::GrantedQoS1, ReasonCode::GrantedQoS2][qos.index()],
        };
        let packet = subscribe(filter, options, identifier);
        match connection.on_packet(packet, &TopicCache::<()>::default(), &Lenient) {
            Action::Close(Closing::ByServer(reason)) => {
                assert_eq!([reason, expected], [ReasonCode::MalformedPacket; 2]);
            }
            Action::Subscribe(granted, ack) => {
                assert_eq!(ack.reasons, [expected]);
                assert_eq!(granted.len(), usize::from(!expected.is_error()));
                let is_new = !self.0.contains_key(filter);
                assert!(granted.iter().all(|granted| granted.is_new == is_new));
            }
            other => panic!("{other:?}"),
        }
        if !expected.is_error() {
            self.0.insert(filter.to_owned(), (options, identifier));
        }
        format!("subscribes to {filter}: {expected:?}")
    }

    /// The session holds just these.
    pub(crate) fn check(&self, session: &Session) {
        let held = session.subscriptions().map(|held| {
            let group = held.group.as_ref().map(|group| format!("$share/{}/", group.as_str()));
            (format!("{}{}", group.unwrap_or_default(), held.filter), (held.options, held.identifier))
        });
        assert_eq!(held.collect::<BTreeMap<_, _>>(), self.0);
    }
}
