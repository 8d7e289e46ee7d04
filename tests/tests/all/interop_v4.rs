//! rumqttc with 3.1.1 through all that it can do.

use pocket_tests::{Launch, Platform};
use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, Packet, Publish, QoS};

use crate::mqtt::{Client, Device};

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

async fn start() -> (Platform, Device) {
    let platform = Launch::default().start().await;
    let device = Device::register(&platform.admin().await, "boiler").await;
    (platform, device)
}

/// A connected client with these options, and whether the broker had a session of it.
async fn connect(options: MqttOptions) -> (Client, bool) {
    let (client, events) = AsyncClient::new(options, 100);
    let mut client = Client { client, events };
    match client.until(|packet| matches!(packet, Packet::ConnAck(_))).await {
        Packet::ConnAck(ack) => (client, ack.session_present),
        other => panic!("not a CONNACK: {other:?}"),
    }
}

/// Publishes and waits until the exchange is over.
async fn publish(client: &mut Client, topic: &str, qos: QoS, retain: bool, payload: &str) {
    client.client.publish(topic, qos, retain, payload).await.expect("the request is queued");
    match qos {
        // The answer to another request comes after the message went out.
        QoS::AtMostOnce => client.subscribe("nothing", QoS::AtMostOnce).await,
        QoS::AtLeastOnce => drop(client.until(|packet| matches!(packet, Packet::PubAck(_))).await),
        QoS::ExactlyOnce => drop(client.until(|packet| matches!(packet, Packet::PubComp(_))).await),
    }
}

async fn receive(client: &mut Client) -> Publish {
    match client.until(|packet| matches!(packet, Packet::Publish(_))).await {
        Packet::Publish(publish) => publish,
        other => panic!("not a message: {other:?}"),
    }
}

#[tokio::test]
async fn every_qos_arrives_at_the_lower_of_both_levels() {
    let (platform, device) = start().await;
    let mut publisher = device.connect(&platform, "p").await;
    for wanted in ALL {
        let mut subscriber = device.connect(&platform, "s").await;
        subscriber.subscribe("t", wanted).await;
        for qos in ALL {
            publish(&mut publisher, "t", qos, false, "21.5").await;
            let message = receive(&mut subscriber).await;
            assert_eq!((message.qos as u8, &message.payload[..]), ((qos as u8).min(wanted as u8), &b"21.5"[..]));
            if message.qos == QoS::ExactlyOnce {
                subscriber.until(|packet| matches!(packet, Packet::PubRel(_))).await;
            }
        }
    }
    let rows = platform.admin().await.telemetry("topic=t").await;
    assert_eq!(rows.len(), 9);
}

#[tokio::test]
async fn a_retained_message_comes_to_new_subscribers_until_it_is_cleared() {
    let (platform, device) = start().await;
    let mut publisher = device.connect(&platform, "p").await;
    publish(&mut publisher, "state", QoS::AtLeastOnce, true, "1").await;
    let mut subscriber = device.connect(&platform, "s").await;
    subscriber.subscribe("#", QoS::AtLeastOnce).await;
    assert!(receive(&mut subscriber).await.retain);
    publish(&mut publisher, "state", QoS::AtLeastOnce, true, "").await;
    publish(&mut publisher, "other", QoS::AtLeastOnce, false, "2").await;
    let mut late = device.connect(&platform, "l").await;
    late.subscribe("#", QoS::AtLeastOnce).await;
    publish(&mut publisher, "end", QoS::AtLeastOnce, false, "3").await;
    assert_eq!(receive(&mut late).await.topic, "end");
}

#[tokio::test]
async fn a_will_is_published_when_the_connection_breaks_and_not_after_disconnect() {
    let (platform, device) = start().await;
    let mut subscriber = device.connect(&platform, "s").await;
    subscriber.subscribe("gone/#", QoS::AtLeastOnce).await;
    for (name, says_goodbye) in [("first", true), ("second", false)] {
        let mut options = device.options(&platform, name);
        options.set_last_will(LastWill::new(format!("gone/{name}"), "true", QoS::AtLeastOnce, false));
        let (mut client, _) = connect(options).await;
        if says_goodbye {
            client.client.disconnect().await.expect("the request is queued");
            client.closed().await;
        }
    }
    assert_eq!(receive(&mut subscriber).await.topic, "gone/second");
}

#[tokio::test]
async fn a_session_that_is_kept_gets_what_came_meanwhile() {
    let (platform, device) = start().await;
    let mut options = device.options(&platform, "kept");
    options.set_clean_session(false);
    let (mut first, was_present) = connect(options.clone()).await;
    assert!(!was_present);
    first.subscribe("t", QoS::ExactlyOnce).await;
    drop(first);
    let mut publisher = device.connect(&platform, "p").await;
    for qos in ALL {
        publish(&mut publisher, "t", qos, false, &(qos as u8).to_string()).await;
    }
    let (mut second, was_present) = connect(options).await;
    assert!(was_present);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let message = receive(&mut second).await;
        assert_eq!((message.qos, &message.payload[..]), (qos, (qos as u8).to_string().as_bytes()));
    }
}

#[tokio::test]
async fn members_of_a_group_share_messages() {
    let (platform, device) = start().await;
    let mut members = [device.connect(&platform, "a").await, device.connect(&platform, "b").await];
    for member in &mut members {
        member.subscribe("$share/group/t/#", QoS::AtLeastOnce).await;
    }
    let mut publisher = device.connect(&platform, "p").await;
    for number in 0..4 {
        publish(&mut publisher, "t/x", QoS::AtLeastOnce, false, &number.to_string()).await;
    }
    let mut all = Vec::new();
    for member in &mut members {
        for _ in 0..2 {
            all.push(receive(member).await.payload);
        }
    }
    all.sort_unstable();
    assert_eq!(all, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn more_messages_of_qos_2_than_the_window_pass_both_ways() {
    let (platform, device) = start().await;
    let mut subscriber = device.connect(&platform, "s").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = device.connect(&platform, "p").await;
    for number in 0..500 {
        publisher
            .client
            .publish("t", QoS::ExactlyOnce, false, number.to_string())
            .await
            .expect("the request is queued");
    }
    let publishing = async {
        for _ in 0..500 {
            publisher.until(|packet| matches!(packet, Packet::PubComp(_))).await;
        }
    };
    let receiving = async {
        let mut numbers = Vec::new();
        while numbers.len() < 500 {
            if let Event::Incoming(Packet::Publish(publish)) =
                subscriber.events.poll().await.expect("the connection holds")
            {
                numbers.push(String::from_utf8(publish.payload.to_vec()).unwrap());
            }
        }
        numbers
    };
    let ((), numbers) = tokio::join!(publishing, receiving);
    assert_eq!(numbers, (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
}
