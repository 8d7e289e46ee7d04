//! Access rules from REST to the connections of a stock MQTT client, across a restart.

use std::time::Duration;

use pocket_tests::{Launch, Platform};
use rumqttc::v5;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{PubAckReason, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, EventLoop, Incoming, MqttOptions};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);
const RULES: &str = "/api/v1/access-rules";

struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    fn new(platform: &Platform, id: &str, token: &str) -> Self {
        let address = platform.mqtt();
        let mut options = MqttOptions::new("x", address.ip().to_string(), address.port());
        options.set_credentials(id, token);
        let (client, events) = AsyncClient::new(options, 10);
        Self { client, events }
    }

    /// The next packet of which something can be read.
    async fn until<T>(&mut self, read: impl Fn(Incoming) -> Option<T>) -> T {
        let next = async {
            loop {
                let event = self.events.poll().await.expect("the connection holds");
                if let v5::Event::Incoming(packet) = event
                    && let Some(found) = read(packet)
                {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the packet comes")
    }

    async fn publish(&mut self, topic: &str) -> PubAckReason {
        self.client.publish(topic, QoS::AtLeastOnce, false, "1").await.expect("the request is queued");
        self.until(|packet| if let Incoming::PubAck(ack) = packet { Some(ack.reason) } else { None }).await
    }

    async fn subscribe(&mut self, filter: &str) -> Vec<SubscribeReasonCode> {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.expect("the request is queued");
        self.until(|packet| if let Incoming::SubAck(ack) = packet { Some(ack.return_codes) } else { None }).await
    }

    async fn message(&mut self) -> String {
        let read = |packet| if let Incoming::Publish(publish) = packet { Some(publish.topic) } else { None };
        let topic = self.until(read).await;
        String::from_utf8(topic.to_vec()).expect("a topic is text")
    }
}

#[tokio::test]
async fn rules_written_over_rest_decide_over_mqtt_and_survive_a_restart() {
    let mut platform = Launch::default().start().await;
    let api = platform.admin().await;
    let (id, token) = api.register_device("boiler").await;
    let (other, other_token) = api.register_device("display").await;
    let mut boiler = Client::new(&platform, &id, &token);
    assert_eq!(boiler.publish("anything").await, PubAckReason::Success);

    let own = json!({ "effect": "allow", "action": "publish", "topic": "devices/%d/#" });
    let rule = api.post(RULES, own).await.expect(201);
    let blind =
        json!({ "deviceId": other, "effect": "deny", "action": "subscribe", "topic": format!("devices/{id}/secret") });
    api.post(RULES, blind).await.expect(201);
    let began = tokio::time::Instant::now();
    while boiler.publish("anything").await != PubAckReason::NotAuthorized {
        assert!(began.elapsed() < Duration::from_secs(5), "a rule holds for connected devices within 5 s");
    }
    platform.stop().await;
    platform.start_again().await;

    let mut display = Client::new(&platform, &other, &other_token);
    assert_eq!(display.subscribe(&format!("devices/{id}/secret")).await, [SubscribeReasonCode::NotAuthorized]);
    let granted = display.subscribe("devices/#").await;
    assert!(matches!(granted[..], [SubscribeReasonCode::Success(QoS::AtLeastOnce)]), "{granted:?}");
    let mut boiler = Client::new(&platform, &id, &token);
    assert_eq!(boiler.publish(&format!("devices/{other}/up")).await, PubAckReason::NotAuthorized);
    for topic in ["secret", "up"] {
        assert_eq!(boiler.publish(&format!("devices/{id}/{topic}")).await, PubAckReason::Success);
    }
    assert_eq!(display.message().await, format!("devices/{id}/up"));

    let api = platform.admin().await;
    let path = format!("/api/v1/devices/{id}/access?action=publish&topic=devices/{id}/up");
    let verdict = api.get(&path).await.expect(200);
    assert_eq!((&verdict["allowed"], &verdict["rule"]), (&json!(true), &rule));
}
