//! One filter and some topics, in any bytes: parsing, matching, the index, retained messages and rules agree with the
//! letter of the specification.
//!
//! Used by the model on a corpus and, through its path, by the fuzz target `topics`.

use std::sync::Arc;

use bytes::Bytes;
use pocket_domain::{
    AccessRule, AccessRuleId, AccessRules, DeviceId, Effect, Principal, TenantId, Timestamp, TopicAction, TopicFilter,
    TopicName, TopicPattern,
};
use pocket_mqtt_core::{
    Action, Closing, Limits, Message, ProtocolVersion, QoS, ReasonCode, RetainedStore, StoreKeys, Subscription,
    SubscriptionOptions, TenantIndex, TopicCache,
};

use crate::literal;
use crate::opening::{Lenient, open, subscribe};

/// The first line is a filter, the others are topics.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let filter = lines.next().unwrap_or_default();
    let topics: Vec<&str> = lines.take(16).collect();
    check_parsing(filter);
    for topic in &topics {
        check_parsing(topic);
    }
    let names: Vec<TopicName> = topics.iter().filter_map(|topic| TopicName::parse(topic).ok()).collect();
    if let Ok(filter) = TopicFilter::parse(filter) {
        check_matching(&filter, &names);
        check_retained(&filter, &names);
        for pattern in topics.iter().filter_map(|topic| TopicPattern::parse(topic).ok()) {
            check_rule(&filter, &pattern, &names);
        }
    }
    if let Some(subscription) = check_subscribing(filter) {
        check_index(filter, &subscription, &names);
    }
}

fn check_parsing(text: &str) {
    assert_eq!(TopicName::parse(text).is_ok(), literal::is_topic_name(text), "{text:?}");
    assert_eq!(TopicFilter::parse(text).is_ok(), literal::is_topic_filter(text), "{text:?}");
}

fn check_matching(filter: &TopicFilter, names: &[TopicName]) {
    for name in names {
        let matches = literal::matches(filter.as_str(), name.as_str());
        assert_eq!(filter.matches(name.as_str()), matches, "{filter:?} {name:?}");
        assert!(!matches || name.as_str().starts_with(filter.literal_prefix()), "{filter:?} {name:?}");
        assert!(!matches || filter.has_wildcards() || filter.as_str() == name.as_str(), "{filter:?} {name:?}");
    }
}

fn check_retained(filter: &TopicFilter, names: &[TopicName]) {
    let (store, keys) = (RetainedStore::default(), StoreKeys::default());
    for name in names {
        let message = Message {
            topic: name.clone(),
            payload: Bytes::from_static(b"1"),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: None,
            expires_at: None,
        };
        store.keep(&Arc::new(message), None, &Limits::default(), &keys, Timestamp::MIN);
    }
    let mut expected: Vec<&str> = names.iter().map(TopicName::as_str).collect();
    expected.retain(|name| literal::matches(filter.as_str(), name));
    expected.sort_unstable();
    expected.dedup();
    let found = store.matches(filter, Timestamp::MIN);
    let mut found: Vec<&str> = found.iter().map(|message| message.topic.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, expected, "{filter:?}");
    for name in names {
        store.clear(name, &keys);
    }
    assert_eq!(store.count(), 0);
}

/// What a rule says of a filter as a whole, it says of every topic of the filter.
fn check_rule(filter: &TopicFilter, pattern: &TopicPattern, names: &[TopicName]) {
    let device = Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10]));
    for effect in [Effect::Allow, Effect::Deny] {
        let rule = AccessRule {
            id: AccessRuleId::new(Timestamp::MIN, [3; 10]),
            tenant_id: TenantId::new(Timestamp::MIN, [1; 10]),
            device_id: None,
            effect,
            action: TopicAction::Subscribe,
            topic: pattern.clone(),
            created_at: Timestamp::MIN,
        };
        let rules = AccessRules::new(device, Arc::default(), vec![rule]);
        let says = |topic: &str| rules.on_topic(TopicAction::Subscribe, topic, Some("x")).is_allowed();
        let is_covered = rules.on_filter(filter, Some("x")).is_allowed() == (effect == Effect::Allow);
        for name in names.iter().map(TopicName::as_str) {
            let is_meant = says(name) == (effect == Effect::Allow);
            if !pattern.as_str().contains('%') {
                assert_eq!(is_meant, literal::matches(pattern.as_str(), name), "{pattern:?} {name:?}");
            }
            let is_wrong = is_covered && !is_meant && literal::matches(filter.as_str(), name);
            assert!(!is_wrong, "{pattern:?} covers {filter:?} and does not match {name:?}");
        }
    }
}

/// What SUBSCRIBE makes of the filter.
fn check_subscribing(filter: &str) -> Option<Subscription> {
    let (mut connection, _) = open(ProtocolVersion::V5, 1, None, &Arc::default());
    let packet = subscribe(filter, SubscriptionOptions::default(), None);
    let action = connection.on_packet(packet, &TopicCache::<()>::default(), &Lenient);
    let is_plain = literal::is_well_formed(filter) && !filter.starts_with("$share/");
    let Some(plain) = literal::shared(filter).map(|(_, plain)| plain).or(is_plain.then_some(filter)) else {
        assert_eq!(action, Action::Close(Closing::ByServer(ReasonCode::MalformedPacket)), "{filter:?}");
        return None;
    };
    let Action::Subscribe(mut granted, ack) = action else { panic!("{filter:?} was not answered") };
    let is_granted = literal::is_topic_filter(plain) && plain.split('/').count() <= Limits::default().filter_levels;
    let reason = if is_granted { ReasonCode::Success } else { ReasonCode::TopicFilterInvalid };
    assert_eq!(ack.reasons, [reason], "{filter:?}");
    granted.pop().map(|granted| granted.subscription)
}

fn check_index(filter: &str, subscription: &Subscription, names: &[TopicName]) {
    let index = TenantIndex::default();
    assert!(index.subscribe(1_u32, subscription));
    let plain = literal::shared(filter).map_or(filter, |(_, plain)| plain);
    for name in names {
        let found = index.matches(name).1;
        let count = usize::from(literal::matches(plain, name.as_str()));
        let expected = if subscription.group.is_some() { (0, count) } else { (count, 0) };
        assert_eq!((found.direct.len(), found.groups.len()), expected, "{filter:?} {name:?}");
    }
    assert!(index.unsubscribe(1, subscription));
    assert_eq!(index.count(), 0);
}
