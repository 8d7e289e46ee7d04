//! A WebSocket client that can also do what it must not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::packets;
use crate::platform::{Device, PATIENCE, Platform, Stream, tcp};
use pocket_mqtt_ntex::Transport;

/// First bytes of frames that are whole messages.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The request that is right.
pub(crate) const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nhost: broker.test\r\nupgrade: websocket\r\n\
    connection: keep-alive, Upgrade\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: mqtt\r\n\r\n";

const MASK: [u8; 4] = [0xa1, 0xb2, 0xc3, 0xd4];

pub(crate) struct WebSocket {
    stream: Box<dyn Stream>,
    /// Bytes that came and are no whole frame yet.
    raw: Vec<u8>,
    /// Bytes of binary frames that are no whole packet yet.
    pending: Vec<u8>,
}

/// A frame as a client sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

impl WebSocket {
    /// A WebSocket to the platform that nothing was said on.
    pub(crate) async fn open(platform: &Platform) -> Self {
        Self::over(tcp(platform.address(Transport::WebSocket)).await).await
    }

    /// The same over a stream.
    pub(crate) async fn over(stream: impl Stream + 'static) -> Self {
        let mut socket = Self::request(stream, REQUEST).await;
        let response = socket.response().await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        socket
    }

    /// A stream on which this was sent.
    pub(crate) async fn request(stream: impl Stream + 'static, request: &str) -> Self {
        let mut socket = Self { stream: Box::new(stream), raw: Vec::new(), pending: Vec::new() };
        socket.send_bytes(request.as_bytes()).await;
        socket
    }

    /// A connected client of 3.1.1.
    pub(crate) async fn v3(platform: &Platform, device: &Device, client_id: &str) -> Self {
        let mut socket = Self::open(platform).await;
        socket.send(&packets::connect3(device, client_id)).await;
        socket.expect(b"\x20\x02\0\0").await;
        socket
    }

    /// A connected client of 5.0.
    pub(crate) async fn v5(platform: &Platform, device: &Device, client_id: &str) -> Self {
        let mut socket = Self::open(platform).await;
        socket.send(&packets::connect5(device, client_id, b"")).await;
        let ack = socket.packet().await;
        assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:02x?}");
        socket
    }

    /// The head of the response, in lower case but for the first line.
    pub(crate) async fn response(&mut self) -> String {
        loop {
            if let Some(end) = self.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = self.raw.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.raw, rest)).unwrap();
            }
            assert!(self.more().await, "the connection was closed");
        }
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a frame.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&frame(first, payload)).await;
    }

    /// Sends packets in one binary frame.
    pub(crate) async fn send(&mut self, packets: &[u8]) {
        self.send_frame(BINARY, packets).await;
    }

    /// The next frame of the server; `None` when it closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((header, len)) = header(&self.raw)
                && self.raw.len() >= header + len
            {
                let rest = self.raw.split_off(header + len);
                let whole = std::mem::replace(&mut self.raw, rest);
                return Some((whole[0], whole[header..].to_vec()));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Receives one whole packet, however the server put it into frames.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        loop {
            if let Some(len) = packets::len(&self.pending).filter(|len| *len <= self.pending.len()) {
                let rest = self.pending.split_off(len);
                return std::mem::replace(&mut self.pending, rest);
            }
            let (first, payload) = self.frame().await.expect("the connection is open");
            assert_eq!(first, BINARY, "a frame with {payload:02x?}");
            self.pending.extend(payload);
        }
    }

    /// Receives exactly this packet.
    pub(crate) async fn expect(&mut self, packet: &[u8]) {
        let received = self.packet().await;
        assert_eq!(received, packet, "received {received:02x?}, expected {packet:02x?}");
    }

    /// The server closes with this code.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        assert_eq!(self.frame().await, Some((CLOSE, code.to_be_bytes().to_vec())));
        assert_eq!(self.frame().await, None);
    }

    /// Nothing was sent before the answer to an MQTT ping.
    pub(crate) async fn expect_nothing(&mut self) {
        self.send(b"\xc0\0").await;
        self.expect(b"\xd0\0").await;
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("something comes") {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.raw.extend_from_slice(&buffer[..read]);
                true
            }
        }
    }
}

/// The length of the header and of the payload of a frame that the server sent.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    assert!(second & 0x80 == 0, "a server does not mask");
    match second {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())))),
        127 => Some((10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap())),
        len => Some((2, usize::from(len))),
    }
}
