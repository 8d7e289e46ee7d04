//! Access rules at SUBSCRIBE, PUBLISH, wills and delivery.

use pocket_application::NewAccessRule;
use pocket_domain::{AccessRuleId, Effect, TopicAction, TopicPattern};

use crate::packets::{self, connect3_with, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Device, Platform, Socket};

impl Platform {
    /// Adds a rule for a device, or for all of the tenant `default`.
    async fn rule(&self, device: Option<&Device>, effect: Effect, action: TopicAction, topic: &str) -> AccessRuleId {
        let device_id = device.map(|device| device.id);
        let new = NewAccessRule { device_id, effect, action, topic: TopicPattern::parse(topic).unwrap() };
        self.application.access_rules.create(&self.admin, None, new).await.unwrap().id
    }
}

async fn deny_publish(platform: &Platform, device: &Device, topic: &str) -> AccessRuleId {
    platform.rule(Some(device), Effect::Deny, TopicAction::Publish, topic).await
}

async fn deny_subscribe(platform: &Platform, device: &Device, topic: &str) -> AccessRuleId {
    platform.rule(Some(device), Effect::Deny, TopicAction::Subscribe, topic).await
}

/// Publishes on `topic` until the answer is `reason`: a new rule reaches connected devices soon, not at once.
async fn until_answered(socket: &mut Socket, topic: &str, reason: u8) {
    for _ in 0..1_000 {
        socket.send(&publish5(1, topic, 1, b"", b"1")).await;
        let ack = socket.packet().await;
        assert_eq!(ack[0], 0x40, "{ack:02x?}");
        if packets::reason(&ack) == reason {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the answer never became {reason:#04x}");
}

#[tokio::test]
async fn a_denied_message_is_neither_routed_nor_stored() {
    let platform = Platform::start().await;
    let (a, b) = (platform.device("a").await, platform.device("b").await);
    deny_publish(&platform, &a, "secret/#").await;
    let mut watcher = platform.v3(&b, "s").await;
    watcher.send(&subscribe3(1, &[("#", 0)])).await;
    watcher.packet().await;
    let mut modern = platform.v5(&a, "5").await;
    modern.send(&publish5(1, "secret/x", 1, b"", b"1")).await;
    modern.expect(b"\x40\x03\0\x01\x87").await;
    let mut old = platform.v3(&a, "3").await;
    old.send(&publish3(1, "secret/x", 1, b"1")).await;
    old.expect(b"\x40\x02\0\x01").await;
    old.send(&publish3(1, "open", 2, b"2")).await;
    old.expect(b"\x40\x02\0\x02").await;
    watcher.expect(&publish3(0, "open", 0, b"2")).await;
    assert_eq!(platform.stored(&a, 1).await[0].topic.as_str(), "open");
}

#[tokio::test]
async fn each_filter_is_judged_and_what_is_denied_is_not_delivered() {
    let platform = Platform::start().await;
    let (a, b) = (platform.device("a").await, platform.device("b").await);
    deny_subscribe(&platform, &a, "secret/#").await;
    let mut modern = platform.v5(&a, "5").await;
    modern.send(&subscribe5(1, b"", &[("secret/+", 0), ("#", 1)])).await;
    modern.expect(b"\x90\x05\0\x01\0\x87\x01").await;
    let mut old = platform.v3(&a, "3").await;
    old.send(&subscribe3(1, &[("secret/#", 0), ("+/x", 0)])).await;
    old.expect(b"\x90\x04\0\x01\x80\0").await;
    let mut publisher = platform.v3(&b, "p").await;
    for topic in ["secret/x", "open/x"] {
        publisher.send(&publish3(1, topic, 1, b"1")).await;
        publisher.expect(b"\x40\x02\0\x01").await;
    }
    old.expect(&publish3(0, "open/x", 0, b"1")).await;
    modern.expect(&publish5(1, "open/x", 1, b"", b"1")).await;
}

#[tokio::test]
async fn a_list_of_what_is_allowed_holds_a_device_to_its_own_topics() {
    let platform = Platform::start().await;
    let (a, b) = (platform.device("a").await, platform.device("b").await);
    platform.rule(None, Effect::Allow, TopicAction::Publish, "devices/%d/%c").await;
    let mut socket = platform.v5(&a, "x").await;
    for (topic, reason) in [
        (format!("devices/{}/x", a.id), 0x00),
        (format!("devices/{}/y", a.id), 0x87),
        (format!("devices/{}/x", b.id), 0x87),
    ] {
        until_answered(&mut socket, &topic, reason).await;
    }
    // Nothing is ruled about subscriptions.
    socket.send(&subscribe5(1, b"", &[("#", 0)])).await;
    socket.expect(b"\x90\x04\0\x01\0\0").await;
}

#[tokio::test]
async fn rules_hold_for_connected_devices_and_end_with_their_removal() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    until_answered(&mut socket, "t", 0x00).await;
    let rule = platform.rule(None, Effect::Deny, TopicAction::Publish, "t").await;
    until_answered(&mut socket, "t", 0x87).await;
    platform.application.access_rules.delete(&platform.admin, None, rule).await.unwrap();
    until_answered(&mut socket, "t", 0x00).await;
}

#[tokio::test]
async fn what_was_queued_before_a_rule_came_is_not_delivered() {
    let platform = Platform::start().await;
    let (a, b) = (platform.device("a").await, platform.device("b").await);
    let (mut kept, _) = platform.v3_kept(&a, "k").await;
    kept.send(&subscribe3(1, &[("#", 1)])).await;
    kept.packet().await;
    kept.break_off();
    platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 1).await;
    let mut publisher = platform.v3(&b, "p").await;
    for topic in ["secret", "open"] {
        publisher.send(&publish3(1, topic, 1, b"1")).await;
        publisher.expect(b"\x40\x02\0\x01").await;
    }
    deny_subscribe(&platform, &a, "secret").await;
    let (mut kept, was_there) = platform.v3_kept(&a, "k").await;
    assert!(was_there);
    kept.expect(&publish3(1, "open", 2, b"1")).await;
}

#[tokio::test]
async fn a_will_is_judged_when_it_is_accepted_and_when_it_is_sent() {
    let platform = Platform::start().await;
    let (a, b) = (platform.device("a").await, platform.device("b").await);
    let mut watcher = platform.v3(&b, "s").await;
    watcher.send(&subscribe3(1, &[("state", 0)])).await;
    watcher.packet().await;
    let id = a.id.to_string();
    let connect = connect3_with(0xc6, 0, "w", &[b"state", b"gone", id.as_bytes(), a.token.as_bytes()]);
    let mut socket = platform.socket().await;
    socket.send(&connect).await;
    socket.expect(b"\x20\x02\0\0").await;
    // The rule is there for both connections of the device when it is there for one.
    let mut probe = platform.v5(&a, "probe").await;
    deny_publish(&platform, &a, "state").await;
    until_answered(&mut probe, "state", 0x87).await;
    let denied = platform.broker.stats().denied;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    socket.break_off();
    platform.eventually(|platform| platform.broker.stats().denied > denied).await;
    let mut refused = platform.socket().await;
    refused.send(&connect).await;
    refused.expect(b"\x20\x02\0\x05").await;
}
