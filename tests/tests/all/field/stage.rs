//! A platform with one device, and MQTT as bytes.

use std::time::Duration;

use pocket_tests::{Api, Device, Launch, Platform};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A platform, its administrator and a device.
pub(super) struct Stage {
    pub(super) platform: Platform,
    pub(super) admin: Api,
    pub(super) device: Device,
}

impl Stage {
    pub(super) async fn start() -> Self {
        Self::of(Launch::default()).await
    }

    pub(super) async fn of(launch: Launch) -> Self {
        let platform = launch.start().await;
        let admin = platform.admin().await;
        let device = Device::register(&admin, "boiler-1").await;
        Self { platform, admin, device }
    }

    /// The device's connection with 3.1.1.
    pub(super) async fn connected(&self) -> Wire {
        self.accepted(&Connect::of(&self.device.id, &self.device.token)).await
    }

    /// A connection that must be accepted.
    pub(super) async fn accepted(&self, connect: &Connect) -> Wire {
        let (wire, code) = self.answer(connect).await;
        assert_eq!(code, Some(0), "{connect:?}");
        wire
    }

    /// A connection and the code of its CONNACK; `None` when it was closed without one.
    pub(super) async fn answer(&self, connect: &Connect) -> (Wire, Option<u8>) {
        let mut wire = self.opened(connect).await;
        let code = wire.packet().await.map(|ack| ack[if ack[0] == 0x20 { 3 } else { panic!("{ack:02x?}") }]);
        (wire, code)
    }

    /// A connection that has sent its CONNECT.
    pub(super) async fn opened(&self, connect: &Connect) -> Wire {
        let socket = TcpStream::connect(self.platform.mqtt()).await.expect("the broker listens");
        let mut wire = Wire(socket);
        wire.send(&connect.bytes()).await;
        wire
    }

    /// The rows of the device's tenant, oldest first.
    pub(super) async fn rows(&self) -> Vec<Value> {
        self.admin.telemetry("order=asc").await
    }

    /// The device's last refusal, as soon as its reason has some words.
    pub(super) async fn rejection(&self, words: &str) -> Value {
        let path = format!("/api/v1/devices/{}", self.device.id);
        for _ in 0..300 {
            let device = self.admin.get(&path).await.expect(200);
            let reason = device["lastRejection"]["reason"].as_str().unwrap_or_default();
            if reason.contains(words) {
                return device["lastRejection"].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no refusal says {words:?}: {}", self.admin.get(&path).await.body);
    }

    /// Waits until the log has some words.
    pub(super) async fn log_has(&self, words: &str) {
        for _ in 0..300 {
            if self.platform.log().contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the log does not say {words:?}:\n{}", self.platform.log());
    }
}

/// A CONNECT, field by field.
#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub(super) name: &'static str,
    pub(super) level: u8,
    pub(super) client_id: String,
    pub(super) username: Option<Vec<u8>>,
    pub(super) password: Option<Vec<u8>>,
    /// Topic and payload of a retained will.
    pub(super) will: Option<(&'static str, &'static [u8])>,
    pub(super) is_clean: bool,
}

impl Connect {
    /// User name and password with 3.1.1.
    pub(super) fn of(username: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Self {
        Self {
            name: "MQTT",
            level: 4,
            client_id: "one".to_owned(),
            username: Some(username.as_ref().to_vec()),
            password: Some(password.as_ref().to_vec()),
            will: None,
            is_clean: true,
        }
    }

    /// The same with 5.0.
    pub(super) fn v5(self) -> Self {
        Self { level: 5, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut flags = if self.is_clean { 0x02 } else { 0 };
        let mut body = field(self.name.as_bytes());
        body.push(self.level);
        let mut rest = vec![0, 60];
        if self.level == 5 {
            rest.push(0);
        }
        rest.extend(field(self.client_id.as_bytes()));
        if let Some((topic, payload)) = self.will {
            flags |= 0x24;
            if self.level == 5 {
                rest.push(0);
            }
            rest.extend(field(topic.as_bytes()));
            rest.extend(field(payload));
        }
        if let Some(username) = &self.username {
            flags |= 0x80;
            rest.extend(field(username));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            rest.extend(field(password));
        }
        body.push(flags);
        body.extend(rest);
        packet(0x10, &body)
    }
}

fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = u16::try_from(bytes.len()).expect("a field is short").to_be_bytes().to_vec();
    field.extend(bytes);
    field
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut remaining = body.len();
    while remaining > 0x7f {
        bytes.push((remaining & 0x7f) as u8 | 0x80);
        remaining >>= 7;
    }
    bytes.push(remaining as u8);
    bytes.extend(body);
    bytes
}

/// A connection.
pub(super) struct Wire(TcpStream);

impl Wire {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // A broker that closes meanwhile is found out by who reads.
        let _ = self.0.write_all(bytes).await;
    }

    /// The next packet; `None` when the broker closed.
    pub(super) async fn packet(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let mut bytes = vec![self.0.read_u8().await.ok()?];
            let (mut remaining, mut shift) = (0_usize, 0);
            loop {
                let byte = self.0.read_u8().await.ok()?;
                bytes.push(byte);
                remaining |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let begin = bytes.len();
            bytes.resize(begin + remaining, 0);
            self.0.read_exact(&mut bytes[begin..]).await.ok()?;
            Some(bytes)
        };
        timeout(PATIENCE, read).await.expect("the broker answers or closes")
    }

    /// Publishes with 3.1.1 at QoS 1 and waits for the acknowledgement; `false` when the broker closed instead.
    pub(super) async fn publish(&mut self, topic: &str, payload: &[u8]) -> bool {
        self.publish_with(0x32, topic, payload).await
    }

    /// Publishes with these flags.
    pub(super) async fn publish_with(&mut self, first: u8, topic: &str, payload: &[u8]) -> bool {
        let mut body = field(topic.as_bytes());
        if first & 0x06 != 0 {
            body.extend([0, 1]);
        }
        body.extend(payload);
        self.send(&packet(first, &body)).await;
        match first & 0x06 {
            0 => true,
            2 => self.packet().await.is_some_and(|ack| ack == [0x40, 2, 0, 1]),
            _ => {
                let received = self.packet().await.is_some_and(|ack| ack == [0x50, 2, 0, 1]);
                self.send(&[0x62, 2, 0, 1]).await;
                received && self.packet().await.is_some_and(|ack| ack == [0x70, 2, 0, 1])
            }
        }
    }

    /// Publishes with 5.0 at QoS 1 and gives the code of PUBACK.
    pub(super) async fn publish5(&mut self, topic: &str, payload: &[u8]) -> u8 {
        self.publish5_with(0x32, topic, payload).await
    }

    /// The same with these flags.
    pub(super) async fn publish5_with(&mut self, first: u8, topic: &str, payload: &[u8]) -> u8 {
        let mut body = field(topic.as_bytes());
        body.extend([0, 1, 0]);
        body.extend(payload);
        self.send(&packet(first, &body)).await;
        let ack = self.packet().await.expect("PUBACK comes");
        assert_eq!(ack[0], 0x40, "{ack:02x?}");
        ack.get(4).copied().unwrap_or(0)
    }

    /// Publishes with 5.0 at QoS 0, to be retained.
    pub(super) async fn retain5(&mut self, topic: &str, payload: &[u8]) {
        let mut body = field(topic.as_bytes());
        body.push(0);
        body.extend(payload);
        self.send(&packet(0x31, &body)).await;
    }

    /// Subscribes with 3.1.1 at QoS 0.
    pub(super) async fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 9];
        body.extend(field(filter.as_bytes()));
        body.push(0);
        self.send(&packet(0x82, &body)).await;
        assert_eq!(self.packet().await, Some(vec![0x90, 3, 0, 9, 0]), "{filter}");
    }

    /// The next message of QoS 0: whether it is retained, its topic and payload.
    pub(super) async fn message(&mut self) -> (bool, String, Vec<u8>) {
        let bytes = self.packet().await.expect("a message comes");
        assert_eq!(bytes[0] & 0xf6, 0x30, "{bytes:02x?}");
        let begin = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).expect("a length ends") + 1;
        let length = usize::from(u16::from_be_bytes([bytes[begin], bytes[begin + 1]]));
        let topic = &bytes[begin + 2..begin + 2 + length];
        (
            bytes[0] & 1 == 1,
            String::from_utf8(topic.to_vec()).expect("a topic is text"),
            bytes[begin + 2 + length..].to_vec(),
        )
    }
}
