//! A platform with one device in a tenant that accepts any payload, and what the tests of conformance do again and again.

use pocket_domain::PayloadPolicy;
use pocket_mqtt_ntex::MqttConfig;

use crate::packets::{field, packet, publish3, subscribe3, subscribe5};
use crate::platform::{Device, Platform, Socket};

/// Where a test plays.
pub(crate) struct Stage {
    pub(crate) platform: Platform,
    pub(crate) device: Device,
}

impl Stage {
    /// With the defaults.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings of the broker.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut MqttConfig)) -> Self {
        let platform = Platform::start_with(adjust).await;
        let tenant = platform.tenant("anything", PayloadPolicy::Any).await;
        let device = platform.device_in(Some(tenant), "a").await;
        Self { platform, device }
    }

    /// CONNECT of 3.1.1 with a clean session.
    pub(crate) fn connect3(&self, client_id: &str) -> Connect {
        Connect::new(4, client_id, &self.device)
    }

    /// CONNECT of 5.0 with a clean start.
    pub(crate) fn connect5(&self, client_id: &str) -> Connect {
        Connect::new(5, client_id, &self.device)
    }

    /// A new connection that said this.
    pub(crate) async fn said(&self, bytes: &[u8]) -> Socket {
        let mut socket = self.platform.socket().await;
        socket.send(bytes).await;
        socket
    }

    /// A connection that was accepted, and its CONNACK.
    pub(crate) async fn accepted(&self, connect: &Connect) -> (Socket, Vec<u8>) {
        let mut socket = self.said(&connect.bytes()).await;
        let ack = socket.packet().await;
        assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:02x?}");
        (socket, ack)
    }

    /// A client of 3.1.1.
    pub(crate) async fn v3(&self, client_id: &str) -> Socket {
        self.accepted(&self.connect3(client_id)).await.0
    }

    /// A client of 5.0.
    pub(crate) async fn v5(&self, client_id: &str) -> Socket {
        self.accepted(&self.connect5(client_id)).await.0
    }

    /// A client of 3.1.1 whose session is kept.
    pub(crate) async fn kept3(&self, client_id: &str) -> Socket {
        self.accepted(&self.connect3(client_id).kept()).await.0
    }

    /// A client of 5.0 whose session is kept for a minute.
    pub(crate) async fn kept5(&self, client_id: &str) -> Socket {
        self.accepted(&self.connect5(client_id).kept().property(b"\x11\0\0\0\x3c")).await.0
    }

    /// A client of 3.1.1 with these subscriptions.
    pub(crate) async fn subscriber3(&self, client_id: &str, filters: &[(&str, u8)]) -> Socket {
        let mut socket = self.v3(client_id).await;
        subscribe_3(&mut socket, filters).await;
        socket
    }

    /// A client of 5.0 with these subscriptions.
    pub(crate) async fn subscriber5(&self, client_id: &str, filters: &[(&str, u8)]) -> Socket {
        let mut socket = self.v5(client_id).await;
        subscribe_5(&mut socket, b"", filters).await;
        socket
    }

    /// A client of its own publishes and leaves when the exchange is complete.
    pub(crate) async fn publish(&self, qos: u8, topic: &str, payload: &[u8]) {
        self.publish_as(publish3(qos, topic, 1, payload)).await;
    }

    /// The same, to be kept.
    pub(crate) async fn retain(&self, qos: u8, topic: &str, payload: &[u8]) {
        self.publish_as(retained(publish3(qos, topic, 1, payload))).await;
    }

    async fn publish_as(&self, packet: Vec<u8>) {
        let mut socket = self.v3("the publisher").await;
        socket.send(&packet).await;
        match packet[0] >> 1 & 3 {
            0 => {}
            1 => socket.expect(b"\x40\x02\0\x01").await,
            _ => {
                socket.expect(b"\x50\x02\0\x01").await;
                socket.send(b"\x62\x02\0\x01").await;
                socket.expect(b"\x70\x02\0\x01").await;
            }
        }
        socket.send(b"\xe0\0").await;
        socket.expect_closed().await;
    }

    /// Breaks a connection, and waits until the broker knows.
    pub(crate) async fn lose(&self, socket: Socket) {
        let before = self.platform.broker.stats().connections;
        socket.break_off();
        self.platform.eventually(|platform| platform.broker.stats().connections < before).await;
    }

    /// Sends this as a client of 3.1.1: the connection is closed without a word.
    pub(crate) async fn closes3(&self, bytes: &[u8]) {
        let mut socket = self.v3("closing").await;
        socket.send(bytes).await;
        socket.expect_closed().await;
    }

    /// Sends this as a client of 5.0: the connection is closed for this reason.
    pub(crate) async fn closes5(&self, bytes: &[u8], reason: u8) {
        let mut socket = self.v5("closing").await;
        socket.send(bytes).await;
        let answer = socket.packet().await;
        assert_eq!((answer[0], answer[2]), (0xe0, reason), "{bytes:02x?} was answered by {answer:02x?}");
        socket.expect_closed().await;
    }

    /// CONNECT is refused with this reason of 5.0, and the connection closed.
    pub(crate) async fn refuses5(&self, bytes: &[u8], reason: u8) {
        let mut socket = self.said(bytes).await;
        let ack = socket.packet().await;
        assert_eq!((ack[0], ack[2], ack[3]), (0x20, 0, reason), "{bytes:02x?} was answered by {ack:02x?}");
        socket.expect_closed().await;
    }
}

/// Subscribes, and all is granted as asked for.
pub(crate) async fn subscribe_3(socket: &mut Socket, filters: &[(&str, u8)]) {
    socket.send(&subscribe3(9, filters)).await;
    let granted: Vec<u8> = filters.iter().map(|(_, qos)| *qos).collect();
    socket.expect(&packet(0x90, &[b"\0\x09", &granted[..]].concat())).await;
}

/// Subscribes with properties, and all is granted as asked for.
pub(crate) async fn subscribe_5(socket: &mut Socket, properties: &[u8], filters: &[(&str, u8)]) {
    socket.send(&subscribe5(9, properties, filters)).await;
    let granted: Vec<u8> = filters.iter().map(|(_, options)| options & 3).collect();
    socket.expect(&packet(0x90, &[b"\0\x09\0", &granted[..]].concat())).await;
}

/// The packet with its RETAIN flag set.
pub(crate) fn retained(mut packet: Vec<u8>) -> Vec<u8> {
    packet[0] |= 1;
    packet
}

/// The packet with its DUP flag set.
pub(crate) fn again(mut packet: Vec<u8>) -> Vec<u8> {
    packet[0] |= 8;
    packet
}

/// Text of one character or more as a property.
pub(crate) fn text(property: u8, text: &[u8]) -> Vec<u8> {
    [&[property], &field(text)[..]].concat()
}

/// A name and a value as a user property.
pub(crate) fn user_property(name: &[u8], value: &[u8]) -> Vec<u8> {
    [b"\x26".as_slice(), &field(name), &field(value)].concat()
}

/// The properties that stand here, their length before them: identifiers and values.
pub(crate) fn properties(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (len, rest) = bytes.split_first().unwrap();
    let mut rest = &rest[..usize::from(*len)];
    let mut found = Vec::new();
    while let Some((id, value)) = rest.split_first() {
        let field = |value: &[u8]| 2 + usize::from(u16::from_be_bytes([value[0], value[1]]));
        let len = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => 1,
            0x13 | 0x21..=0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0b => value.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1,
            0x26 => field(value) + field(&value[field(value)..]),
            _ => field(value),
        };
        found.push((*id, value[..len].to_vec()));
        rest = &value[len..];
    }
    found
}

/// The value of a property of a CONNACK.
pub(crate) fn told(ack: &[u8], property: u8) -> Option<Vec<u8>> {
    properties(&ack[4..]).into_iter().find(|(id, _)| *id == property).map(|(_, value)| value)
}

/// A CONNECT that is put together. Flags follow from what is in it.
#[derive(Clone)]
pub(crate) struct Connect {
    level: u8,
    flags: u8,
    keep_alive: u16,
    properties: Vec<u8>,
    client_id: Vec<u8>,
    will: Vec<u8>,
    credentials: Vec<u8>,
}

impl Connect {
    fn new(level: u8, client_id: &str, device: &Device) -> Self {
        let credentials = [field(device.id.to_string().as_bytes()), field(device.token.as_bytes())].concat();
        Self {
            level,
            flags: 0xc2,
            keep_alive: 0,
            properties: Vec::new(),
            client_id: field(client_id.as_bytes()),
            will: Vec::new(),
            credentials,
        }
    }

    /// Not with a clean session or start.
    pub(crate) fn kept(mut self) -> Self {
        self.flags &= !0x02;
        self
    }

    /// With some of its flags the other way round, whatever is in it.
    pub(crate) fn flip(mut self, flags: u8) -> Self {
        self.flags ^= flags;
        self
    }

    /// With this keep-alive in seconds.
    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// With one more property.
    pub(crate) fn property(mut self, property: &[u8]) -> Self {
        self.properties.extend_from_slice(property);
        self
    }

    /// With these bytes where the client id stands, its length included.
    pub(crate) fn raw_client_id(mut self, bytes: &[u8]) -> Self {
        self.client_id = bytes.to_vec();
        self
    }

    /// With these bytes where user name and password stand, their lengths included.
    pub(crate) fn raw_credentials(mut self, bytes: &[u8]) -> Self {
        self.credentials = bytes.to_vec();
        self
    }

    /// With a will.
    pub(crate) fn will(self, qos: u8, topic: &[u8], payload: &[u8]) -> Self {
        self.will_with(qos, b"", topic, payload)
    }

    /// With a will that is kept.
    pub(crate) fn retained_will(self, qos: u8, topic: &[u8], payload: &[u8]) -> Self {
        self.will(qos, topic, payload).flip(0x20)
    }

    /// With a will that has properties.
    pub(crate) fn will_with(mut self, qos: u8, properties: &[u8], topic: &[u8], payload: &[u8]) -> Self {
        self.flags |= 0x04 | qos << 3;
        let properties = if self.level == 5 { with_len(properties) } else { Vec::new() };
        self.will = [properties, field(topic), field(payload)].concat();
        self
    }

    /// The packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let properties = if self.level == 5 { with_len(&self.properties) } else { Vec::new() };
        let head = [b"\0\x04MQTT".as_slice(), &[self.level, self.flags], &self.keep_alive.to_be_bytes()].concat();
        packet(0x10, &[head, properties, self.client_id.clone(), self.will.clone(), self.credentials.clone()].concat())
    }
}

/// Properties with their length before them; at most 127 bytes.
fn with_len(properties: &[u8]) -> Vec<u8> {
    [&[u8::try_from(properties.len()).unwrap()], properties].concat()
}
