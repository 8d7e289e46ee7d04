//! A registered device and its stock MQTT client.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use crate::{Api, Platform};

/// How long an answer may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A registered device.
pub struct Device {
    /// Its id, which is its user name over MQTT.
    pub id: String,
    /// Its token, which is its password.
    pub token: String,
}

impl Device {
    /// Registers a device with somebody's log-in.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn register(api: &Api, name: &str) -> Self {
        let (id, token) = api.register_device(name).await;
        Self { id, token }
    }

    /// What its client connects with.
    pub fn options(&self, platform: &Platform, client_id: &str) -> MqttOptions {
        let address = platform.mqtt();
        let mut options = MqttOptions::new(client_id, address.ip().to_string(), address.port());
        options.set_credentials(&self.id, &self.token);
        options
    }

    /// A connected client of 3.1.1.
    ///
    /// # Panics
    /// When the connection is refused.
    pub async fn connect(&self, platform: &Platform, client_id: &str) -> Client {
        let (client, events) = AsyncClient::new(self.options(platform, client_id), 10_000);
        let mut client = Client { client, events };
        client.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
        client
    }
}

/// A connected client of 3.1.1.
pub struct Client {
    /// Takes requests.
    pub client: AsyncClient,
    /// Does what was requested, and gives what comes.
    pub events: EventLoop,
}

impl Client {
    /// The next packet from the broker for which something holds.
    ///
    /// # Panics
    /// When the connection ends or the packet does not come.
    pub async fn until(&mut self, is_meant: impl Fn(&Packet) -> bool) -> Packet {
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

    /// Subscribes and waits for the answer.
    ///
    /// # Panics
    /// When the connection ends or the answer does not come.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).await.expect("the request is queued");
        self.until(|packet| matches!(packet, Packet::SubAck(_))).await;
    }

    /// Publishes at QoS 1 and waits until everything is acknowledged.
    ///
    /// # Panics
    /// When the connection ends or an acknowledgement does not come.
    pub async fn publish(&mut self, messages: impl IntoIterator<Item = (String, String)>) {
        let mut waiting = 0;
        for (topic, payload) in messages {
            self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("the request is queued");
            waiting += 1;
        }
        for _ in 0..waiting {
            self.until(|packet| matches!(packet, Packet::PubAck(_))).await;
        }
    }

    /// Waits until the broker ends the connection.
    ///
    /// # Panics
    /// When it does not within 5 s.
    pub async fn closed(&mut self) {
        let end = async { while self.events.poll().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(5), end).await.expect("the broker closes within 5 s");
    }
}
