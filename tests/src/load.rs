//! A load generator: many MQTT 3.1.1 connections in one thread, each with a window of unacknowledged messages.
//!
//! Packets are written byte by byte here rather than by a client library, so that the generator costs less than the broker it
//! measures. Every payload is a JSON object of about 64 bytes with a number of its own.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

/// Bytes that are gathered before they are written to a socket.
const WRITE_AT: usize = 60_000;

/// What is published, by whom, and where.
#[derive(Clone, Debug)]
pub struct Load {
    /// The broker.
    pub address: SocketAddr,
    /// User names and passwords; connection `n` takes the `n`th, from the beginning again after the last. None: anonymous.
    pub credentials: Vec<(String, String)>,
    /// Connections that publish.
    pub connections: usize,
    /// Messages of all connections together.
    pub messages: usize,
    /// 0 or 1.
    pub qos: u8,
    /// Unacknowledged messages of a connection, at QoS 1.
    pub window: usize,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Messages a second: acknowledged ones at QoS 1; at QoS 0 those that the broker had read when it answered a PING.
    pub per_second: f64,
    /// The time from a message to its acknowledgement that half of all messages did not exceed.
    pub ack_p50: Duration,
    /// The same for 99 of 100 messages.
    pub ack_p99: Duration,
}

impl Load {
    /// Publishes and measures. Must be called in a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When a connection is refused or breaks.
    pub async fn run(&self) -> io::Result<Measured> {
        let start = Rc::new(Barrier::new(self.connections + 1));
        let publisher = |number: usize| spawn_local(publish(self.clone(), number, Rc::clone(&start)));
        let publishers: Vec<JoinHandle<io::Result<Vec<Duration>>>> = (0..self.connections).map(publisher).collect();
        start.wait().await;
        let began = Instant::now();
        let mut latencies = Vec::with_capacity(self.messages);
        for publisher in publishers {
            latencies.extend(publisher.await.map_err(io::Error::other)??);
        }
        let seconds = began.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default();
        let per_second = (self.each() * self.connections) as f64 / seconds;
        Ok(Measured { per_second, ack_p50: at(50), ack_p99: at(99) })
    }

    fn each(&self) -> usize {
        self.messages / self.connections
    }

    fn credentials_of(&self, number: usize) -> Option<&(String, String)> {
        self.credentials.get(number % self.credentials.len().max(1))
    }
}

/// One publisher. Returns how long each acknowledgement took.
async fn publish(load: Load, number: usize, start: Rc<Barrier>) -> io::Result<Vec<Duration>> {
    let connected = connect(&load, number).await;
    // Also a connection that failed lets the others begin.
    start.wait().await;
    let (mut reader, mut writer) = connected?;
    let topic = format!("load/{number}");
    let (mut sent, mut acknowledged) = (0, 0);
    let mut sent_at = vec![Instant::now(); if load.qos > 0 { 65_536 } else { 0 }];
    let mut latencies = Vec::new();
    let mut packets = Vec::with_capacity(WRITE_AT + 256);
    while if load.qos == 0 { sent < load.each() } else { acknowledged < load.each() } {
        packets.clear();
        while sent < load.each() && (load.qos == 0 || sent - acknowledged < load.window) && packets.len() < WRITE_AT {
            let id = packet_id(sent);
            if let Some(at) = sent_at.get_mut(usize::from(id)) {
                *at = Instant::now();
            }
            write_publish(&mut packets, &topic, load.qos, id, &payload(sent));
            sent += 1;
        }
        writer.write_all(&packets).await?;
        if load.qos > 0 {
            for id in acknowledgements(&mut reader).await? {
                latencies.push(sent_at[usize::from(id)].elapsed());
                acknowledged += 1;
            }
        }
    }
    // PINGREQ: its answer comes after everything before it was read. Then DISCONNECT.
    writer.write_all(&[0xc0, 0]).await?;
    while reader.read_u8().await? != 0xd0 {}
    writer.write_all(&[0xe0, 0]).await?;
    Ok(latencies)
}

type Reader = BufReader<tokio::net::tcp::OwnedReadHalf>;
type Writer = tokio::net::tcp::OwnedWriteHalf;

async fn connect(load: &Load, number: usize) -> io::Result<(Reader, Writer)> {
    let mut stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&connect_packet(&format!("load-{number}"), load.credentials_of(number))).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer != [0x20, 2, 0, 0] {
        return Err(io::Error::other(format!("the broker refused a connection: CONNACK {answer:?}")));
    }
    let (reader, writer) = stream.into_split();
    Ok((BufReader::with_capacity(64 * 1024, reader), writer))
}

/// The packet ids of all PUBACKs that are there, at least one.
async fn acknowledgements(reader: &mut Reader) -> io::Result<Vec<u16>> {
    let mut ids = Vec::new();
    loop {
        let mut packet = [0; 4];
        reader.read_exact(&mut packet).await?;
        let [0x40, 2, high, low] = packet else {
            return Err(io::Error::other(format!("not a PUBACK: {packet:?}")));
        };
        ids.push(u16::from_be_bytes([high, low]));
        if reader.buffer().len() < packet.len() {
            return Ok(ids);
        }
    }
}

fn packet_id(sent: usize) -> u16 {
    u16::try_from(sent % 65_535 + 1).expect("a number below 65,536")
}

fn payload(number: usize) -> Vec<u8> {
    let (temperature, number) = (20 + number % 10, 1_000_000_000 + number);
    format!(r#"{{"temperature":{temperature}.{},"number":{number},"unit":"degree celsius"}}"#, number % 10).into_bytes()
}

fn connect_packet(client_id: &str, credentials: Option<&(String, String)>) -> Vec<u8> {
    let mut body = Vec::new();
    write_text(&mut body, "MQTT");
    // Version 4, clean session, and user name and password where there are any; 300 s of keep-alive.
    body.extend_from_slice(&[4, if credentials.is_some() { 0xc2 } else { 2 }, 1, 44]);
    write_text(&mut body, client_id);
    if let Some((username, password)) = credentials {
        write_text(&mut body, username);
        write_text(&mut body, password);
    }
    let mut packet = vec![0x10];
    write_length(&mut packet, body.len());
    packet.extend_from_slice(&body);
    packet
}

fn write_publish(packets: &mut Vec<u8>, topic: &str, qos: u8, id: u16, payload: &[u8]) {
    packets.push(0x30 | qos << 1);
    write_length(packets, 2 + topic.len() + if qos > 0 { 2 } else { 0 } + payload.len());
    write_text(packets, topic);
    if qos > 0 {
        packets.extend_from_slice(&id.to_be_bytes());
    }
    packets.extend_from_slice(payload);
}

fn write_text(packet: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("texts here are short");
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(text.as_bytes());
}

/// The variable-length integer of MQTT.
fn write_length(packet: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        packet.push(if length > 0 { byte | 128 } else { byte });
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_the_specification_says() {
        for (length, bytes) in
            [(0, &[0][..]), (127, &[127]), (128, &[128, 1]), (16_383, &[255, 127]), (16_384, &[128, 128, 1])]
        {
            let mut packet = Vec::new();
            write_length(&mut packet, length);
            assert_eq!(packet, bytes);
        }
    }

    #[test]
    fn a_publish_has_its_parts_in_order() {
        let mut packets = Vec::new();
        write_publish(&mut packets, "a/b", 1, 0x0102, b"{}");
        assert_eq!(packets, [0x32, 9, 0, 3, b'a', b'/', b'b', 1, 2, b'{', b'}']);
        packets.clear();
        write_publish(&mut packets, "a", 0, 7, b"1");
        assert_eq!(packets, [0x30, 4, 0, 1, b'a', b'1']);
    }

    #[test]
    fn payloads_are_json_of_one_size() {
        for number in [0, 999_999] {
            let payload = payload(number);
            assert!(
                serde_json::from_slice::<serde_json::Value>(&payload)
                    .is_ok_and(|json| json["unit"] == "degree celsius")
            );
            assert_eq!(payload.len(), 64);
        }
    }

    #[test]
    fn packet_ids_are_never_zero() {
        assert_eq!([0, 65_534, 65_535].map(packet_id), [1, 65_535, 1]);
    }
}
