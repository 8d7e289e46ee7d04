//! rumqttc with 5.0 through all that it can do.

use std::time::Duration;

use pocket_tests::{Launch, Platform};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Filter, LastWill, LastWillProperties, Packet, Publish, PublishProperties, RetainForwardRule,
    SubscribeProperties,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};

use crate::mqtt::Device;

const PATIENCE: Duration = Duration::from_secs(30);
const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    async fn connect(options: MqttOptions) -> (Self, ConnAck) {
        let (client, events) = AsyncClient::new(options, 100);
        let mut client = Self { client, events };
        match client.until(|packet| matches!(packet, Packet::ConnAck(_))).await {
            Packet::ConnAck(ack) => (client, ack),
            other => panic!("not a CONNACK: {other:?}"),
        }
    }

    /// The next packet from the broker for which something holds.
    async fn until(&mut self, is_meant: impl Fn(&Packet) -> bool) -> Packet {
        let next = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.expect("the connection holds")
                    && is_meant(&packet)
                {
                    return packet;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the packet comes")
    }

    async fn subscribe(&mut self, filter: Filter, id: Option<usize>) {
        let properties = SubscribeProperties { id, user_properties: Vec::new() };
        self.client.subscribe_many_with_properties([filter], properties).await.expect("the request is queued");
        self.until(|packet| matches!(packet, Packet::SubAck(_))).await;
    }

    async fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: &'static str) {
        self.publish_with(topic, qos, retain, payload, PublishProperties::default()).await;
    }

    /// Publishes and waits until the exchange is over.
    async fn publish_with(
        &mut self,
        topic: &str,
        qos: QoS,
        retain: bool,
        payload: &'static str,
        properties: PublishProperties,
    ) {
        let request = self.client.publish_with_properties(topic, qos, retain, payload, properties);
        request.await.expect("the request is queued");
        match qos {
            // The answer to another request comes after the message went out.
            QoS::AtMostOnce => self.subscribe(Filter::new("nothing", QoS::AtMostOnce), None).await,
            QoS::AtLeastOnce => drop(self.until(|packet| matches!(packet, Packet::PubAck(_))).await),
            QoS::ExactlyOnce => drop(self.until(|packet| matches!(packet, Packet::PubComp(_))).await),
        }
    }

    async fn receive(&mut self) -> Publish {
        match self.until(|packet| matches!(packet, Packet::Publish(_))).await {
            Packet::Publish(publish) => publish,
            other => panic!("not a message: {other:?}"),
        }
    }
}

fn options(platform: &Platform, device: &Device, client_id: &str) -> MqttOptions {
    let address = platform.mqtt();
    let mut options = MqttOptions::new(client_id, address.ip().to_string(), address.port());
    options.set_credentials(&device.id, &device.token);
    options
}

async fn start() -> (Platform, Device) {
    let platform = Launch::default().start().await;
    let device = Device::register(&platform.admin().await, "boiler").await;
    (platform, device)
}

async fn connect(platform: &Platform, device: &Device, client_id: &str) -> Client {
    Client::connect(options(platform, device, client_id)).await.0
}

#[tokio::test]
async fn every_qos_arrives_at_the_lower_of_both_levels() {
    let (platform, device) = start().await;
    let mut publisher = connect(&platform, &device, "p").await;
    for wanted in ALL {
        let mut subscriber = connect(&platform, &device, "s").await;
        subscriber.subscribe(Filter::new("t", wanted), None).await;
        for qos in ALL {
            publisher.publish("t", qos, false, "21.5").await;
            let message = subscriber.receive().await;
            assert_eq!((message.qos as u8, &message.payload[..]), ((qos as u8).min(wanted as u8), &b"21.5"[..]));
            if message.qos == QoS::ExactlyOnce {
                subscriber.until(|packet| matches!(packet, Packet::PubRel(_))).await;
            }
        }
    }
}

#[tokio::test]
async fn properties_pass_from_publisher_to_subscriber() {
    let (platform, device) = start().await;
    let mut subscriber = connect(&platform, &device, "s").await;
    subscriber.subscribe(Filter::new("a/#", QoS::AtLeastOnce), Some(7)).await;
    subscriber.subscribe(Filter::new("a/+", QoS::AtLeastOnce), Some(300)).await;
    let mut publisher = connect(&platform, &device, "p").await;
    let sent = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(3_600),
        response_topic: Some("answers".to_owned()),
        correlation_data: Some(vec![0, 1, 255].into()),
        user_properties: vec![("b".to_owned(), "1".to_owned()), ("a".to_owned(), String::new())],
        content_type: Some("application/json".to_owned()),
        ..Default::default()
    };
    publisher.publish_with("a/b", QoS::AtLeastOnce, false, "{}", sent.clone()).await;
    let mut received = subscriber.receive().await.properties.expect("it has properties");
    received.subscription_identifiers.sort_unstable();
    assert!(received.message_expiry_interval.is_some_and(|seconds| (3_590..=3_600).contains(&seconds)));
    received.message_expiry_interval = sent.message_expiry_interval;
    assert_eq!(received, PublishProperties { subscription_identifiers: vec![7, 300], ..sent });
}

#[tokio::test]
async fn retained_messages_follow_the_options_of_the_subscription() {
    let (platform, device) = start().await;
    let mut client = connect(&platform, &device, "x").await;
    let mut other = connect(&platform, &device, "y").await;
    other.publish("state", QoS::AtLeastOnce, true, "1").await;
    let with = |rule: RetainForwardRule| Filter { retain_forward_rule: rule, ..Filter::new("state", QoS::AtLeastOnce) };
    client.subscribe(with(RetainForwardRule::OnNewSubscribe), None).await;
    assert!(client.receive().await.retain);
    // Not new any more, and then not wanted: the next message is the live one.
    client.subscribe(with(RetainForwardRule::OnNewSubscribe), None).await;
    client.subscribe(Filter { preserve_retain: true, ..with(RetainForwardRule::Never) }, None).await;
    other.publish("state", QoS::AtLeastOnce, true, "2").await;
    let message = client.receive().await;
    assert_eq!((message.retain, &message.payload[..]), (true, &b"2"[..]));
    client.subscribe(Filter { nolocal: true, ..with(RetainForwardRule::Never) }, None).await;
    client.publish("state", QoS::AtLeastOnce, true, "3").await;
    other.publish("state", QoS::AtLeastOnce, false, "4").await;
    assert_eq!(&client.receive().await.payload[..], b"4");
}

#[tokio::test]
async fn a_will_with_properties_is_published_after_its_delay() {
    let (platform, device) = start().await;
    let mut subscriber = connect(&platform, &device, "s").await;
    subscriber.subscribe(Filter::new("gone", QoS::ExactlyOnce), None).await;
    let mut with_will = options(&platform, &device, "w");
    with_will.set_session_expiry_interval(Some(60));
    let properties = LastWillProperties {
        delay_interval: Some(1),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some("text/plain".to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: vec![("why".to_owned(), "unknown".to_owned())],
    };
    with_will.set_last_will(LastWill::new("gone", "true", QoS::ExactlyOnce, false, Some(properties)));
    drop(Client::connect(with_will).await);
    let message = subscriber.receive().await;
    let properties = message.properties.expect("it has properties");
    assert_eq!((message.qos, properties.content_type.as_deref()), (QoS::ExactlyOnce, Some("text/plain")));
    assert_eq!(properties.user_properties, [("why".to_owned(), "unknown".to_owned())]);
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_was_asked_to() {
    let (platform, device) = start().await;
    let mut kept = options(&platform, &device, "kept");
    kept.set_clean_start(false).set_session_expiry_interval(Some(60));
    let (mut first, ack) = Client::connect(kept.clone()).await;
    assert!(!ack.session_present);
    first.subscribe(Filter::new("t", QoS::ExactlyOnce), None).await;
    drop(first);
    let mut publisher = connect(&platform, &device, "p").await;
    for qos in ALL {
        publisher.publish("t", qos, false, "1").await;
    }
    kept.set_session_expiry_interval(Some(0));
    let (mut second, ack) = Client::connect(kept.clone()).await;
    assert!(ack.session_present);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(second.receive().await.qos, qos);
    }
    second.client.disconnect().await.expect("the request is queued");
    while second.events.poll().await.is_ok() {}
    assert!(!Client::connect(kept).await.1.session_present);
}

#[tokio::test]
async fn members_of_a_group_share_messages() {
    let (platform, device) = start().await;
    let mut members = [connect(&platform, &device, "a").await, connect(&platform, &device, "b").await];
    for member in &mut members {
        member.subscribe(Filter::new("$share/group/t/#", QoS::AtLeastOnce), None).await;
    }
    let mut publisher = connect(&platform, &device, "p").await;
    for payload in ["0", "1", "2", "3"] {
        publisher.publish("t/x", QoS::AtLeastOnce, false, payload).await;
    }
    let mut all = Vec::new();
    for member in &mut members {
        for _ in 0..2 {
            all.push(member.receive().await.payload);
        }
    }
    all.sort_unstable();
    assert_eq!(all, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn limits_are_told_at_connect_and_aliases_are_used() {
    let (platform, device) = start().await;
    let mut options = options(&platform, &device, "x");
    options.set_topic_alias_max(Some(4)).set_receive_maximum(Some(1));
    let (mut client, ack) = Client::connect(options).await;
    let told = ack.properties.expect("it has properties");
    assert_eq!((told.receive_max, told.topic_alias_max), (Some(1_024), Some(64)));
    client.subscribe(Filter::new("a/long/topic", QoS::AtLeastOnce), None).await;
    let mut publisher = connect(&platform, &device, "p").await;
    let aliased = PublishProperties { topic_alias: Some(1), ..Default::default() };
    for topic in ["a/long/topic", "", ""] {
        publisher.publish_with(topic, QoS::AtLeastOnce, false, "1", aliased.clone()).await;
    }
    // rumqttc shows aliases as they come.
    for topic in ["a/long/topic", "", ""] {
        let message = client.receive().await;
        let alias = message.properties.and_then(|properties| properties.topic_alias);
        assert_eq!((&message.topic[..], alias), (topic.as_bytes(), Some(1)));
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_its_code() {
    let (platform, device) = start().await;
    let mut options = options(&platform, &device, "x");
    options.set_credentials(&device.id, "wrong");
    let (_client, mut events) = AsyncClient::new(options, 10);
    match events.poll().await {
        Err(ConnectionError::ConnectionRefused(code)) => assert_eq!(format!("{code:?}"), "BadUserNamePassword"),
        other => panic!("not refused: {other:?}"),
    }
}
