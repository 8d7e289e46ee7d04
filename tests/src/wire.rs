//! MQTT as bytes, for clients that say what no client library says.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Device;

/// How long an answer may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// The fixed header of a packet with so many bytes to come.
pub fn header(first: u8, mut remaining: u32) -> Vec<u8> {
    let mut header = vec![first];
    loop {
        let byte = (remaining & 0x7f) as u8;
        remaining >>= 7;
        header.push(if remaining > 0 { byte | 0x80 } else { byte });
        if remaining == 0 {
            return header;
        }
    }
}

/// A packet of this first byte and body.
///
/// # Panics
/// When the body is larger than a packet may be.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let remaining = u32::try_from(body.len()).expect("a packet has less than 256 MB");
    [header(first, remaining).as_slice(), body].concat()
}

/// A string with its length before it.
///
/// # Panics
/// When it is longer than 65,535 bytes.
pub fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a string of MQTT has at most 65,535 bytes");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// CONNECT of version 4 or 5 with a clean session, no keep-alive and no properties.
pub fn connect(version: u8, client_id: &str, username: &str, password: &str) -> Vec<u8> {
    connect_with(version, 0xc2, &[], client_id, username, password)
}

/// CONNECT of version 4 or 5 with these flags, no keep-alive, and these properties in version 5.
pub fn connect_with(
    version: u8,
    flags: u8,
    properties: &[u8],
    client_id: &str,
    username: &str,
    password: &str,
) -> Vec<u8> {
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([version, flags, 0, 0]);
    body.extend(prefixed(version, properties));
    for value in [client_id, username, password] {
        body.extend(text(value));
    }
    packet(0x10, &body)
}

/// PUBLISH of version 4 or 5: `first` is 0x30 and its flags; no packet id at QoS 0.
pub fn publish(version: u8, first: u8, topic: &str, id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if first & 0x06 != 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(prefixed(version, properties));
    body.extend_from_slice(payload);
    packet(first, &body)
}

/// SUBSCRIBE of version 4 or 5 to these filters at this QoS.
pub fn subscribe(version: u8, id: u16, filters: &[&str], qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(prefixed(version, &[]));
    for filter in filters {
        body.extend(text(filter));
        body.push(qos);
    }
    packet(0x82, &body)
}

/// Properties with their length before them; nothing before version 5.
fn prefixed(version: u8, properties: &[u8]) -> Vec<u8> {
    if version < 5 {
        return Vec::new();
    }
    let length = u32::try_from(properties.len()).expect("properties are shorter than a packet");
    // A packet's length is written in the same way, behind its first byte.
    [&header(0, length)[1..], properties].concat()
}

/// A connection that says what it is told to.
pub struct RawClient {
    /// The socket.
    pub stream: TcpStream,
}

impl RawClient {
    /// Connects the socket and says nothing.
    ///
    /// # Panics
    /// When the port is not open.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the port is open");
        stream.set_nodelay(true).expect("a socket has this option");
        Self { stream }
    }

    /// Connects as a device with a clean session.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn connect(address: SocketAddr, version: u8, client_id: &str, device: &Device) -> Self {
        let mut client = Self::open(address).await;
        client.send(&connect(version, client_id, &device.id, &device.token)).await;
        let (first, body) = client.next().await.expect("CONNACK comes");
        assert_eq!((first, body[1]), (0x20, 0), "the device is not accepted");
        client
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the other side closed.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection holds");
    }

    /// The first byte and the body of the next packet; `None` when the other side closed.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("a packet comes")
    }

    /// The next packet whose first four bits are these, such as 0x40 for PUBACK; others are left out.
    ///
    /// # Panics
    /// When the other side closes before.
    pub async fn until(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let (first, body) = self.next().await.expect("the connection holds");
            if first & 0xf0 == kind {
                return body;
            }
        }
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }
}
