//! The packets that a bridge sends and receives, in both versions: a client's part of MQTT, at QoS 0 and 1.
//!
//! The properties of a message are passed on as the bytes they came as, but for those that belong to one connection.

use std::io;

use bytes::Bytes;
use pocket_ports::BRIDGE_MARK as MARK;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::Version;

/// CONNECT.
pub(crate) struct Connect<'a> {
    pub(crate) version: Version,
    /// Whether it says, in 3.1.1, that it is a bridge.
    pub(crate) says_bridge: bool,
    pub(crate) client_id: &'a str,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    pub(crate) keep_alive: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet: u32,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    /// Of QoS 1.
    pub(crate) id: u16,
    /// Those of 5.0 that go with the message.
    pub(crate) properties: Vec<u8>,
    /// Bridges that it went through.
    pub(crate) marks: Vec<String>,
    pub(crate) payload: Bytes,
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectAck {
    pub(crate) session_present: bool,
    pub(crate) code: u8,
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet: Option<u32>,
    pub(crate) max_qos: u8,
    pub(crate) retain_available: bool,
    pub(crate) keep_alive: Option<u16>,
    pub(crate) words: Option<String>,
}

/// What comes from a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    ConnectAck(ConnectAck),
    Publish(Publish),
    PublishAck {
        id: u16,
        reason: u8,
    },
    SubscribeAck {
        reasons: Vec<u8>,
    },
    Pong,
    Disconnect {
        reason: u8,
        words: Option<String>,
    },
    /// Something that changes nothing.
    Other,
}

impl Connect<'_> {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = field(b"MQTT");
        body.push(match self.version {
            Version::V311 if self.says_bridge => 0x84,
            Version::V311 => 4,
            Version::V5 => 5,
        });
        let mut flags = if self.clean_start { 0x02 } else { 0 };
        flags |= if self.username.is_some() { 0x80 } else { 0 };
        flags |= if self.password.is_some() { 0x40 } else { 0 };
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            let mut properties = vec![0x11];
            properties.extend(self.session_expiry.to_be_bytes());
            properties.push(0x21);
            properties.extend(self.receive_maximum.to_be_bytes());
            properties.push(0x27);
            properties.extend(self.max_packet.to_be_bytes());
            put_varint(properties.len(), &mut body);
            body.extend(properties);
        }
        body.extend(field(self.client_id.as_bytes()));
        if let Some(username) = self.username {
            body.extend(field(username.as_bytes()));
        }
        if let Some(password) = self.password {
            body.extend(field(password));
        }
        packet(0x10, &body)
    }
}

/// SUBSCRIBE: filters with their QoS. Messages of the subscriber itself do not come back, and retained ones stay so.
/// `sends_retained`: what is retained comes although the subscription is not new.
pub(crate) fn subscribe(version: Version, id: u16, filters: &[(String, u8)], sends_retained: bool) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for (filter, qos) in filters {
        body.extend(field(filter.as_bytes()));
        // No Local, Retain As Published, and what is retained only with a subscription that is new.
        let handling = if sends_retained { 0 } else { 0x10 };
        body.push(if version == Version::V5 { qos | 0x04 | 0x08 | handling } else { *qos });
    }
    packet(0x82, &body)
}

/// PUBACK.
pub(crate) fn publish_ack(id: u16) -> Vec<u8> {
    let mut bytes = vec![0x40, 2];
    bytes.extend(id.to_be_bytes());
    bytes
}

/// PINGREQ.
pub(crate) const PING: [u8; 2] = [0xc0, 0];
/// DISCONNECT, after which the session stays as long as it was said to.
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

impl Publish {
    /// Its bytes for a broker of a version, with the mark of the bridge that sends it.
    pub(crate) fn bytes(&self, version: Version, mark: &str) -> Vec<u8> {
        let mut body = field(self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version == Version::V5 {
            let mut properties = self.properties.clone();
            properties.push(0x26);
            properties.extend(field(MARK.as_bytes()));
            properties.extend(field(mark.as_bytes()));
            put_varint(properties.len(), &mut body);
            body.extend(properties);
        }
        body.extend_from_slice(&self.payload);
        packet(0x30 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// Reads the next packet.
///
/// # Errors
/// When the connection ends, or what comes is no packet or larger than `most` bytes.
pub(crate) async fn read(reader: &mut (impl AsyncRead + Unpin), version: Version, most: usize) -> io::Result<Incoming> {
    let first = reader.read_u8().await?;
    let (mut remaining, mut shift) = (0_usize, 0);
    loop {
        let byte = reader.read_u8().await?;
        remaining |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        if shift > 21 {
            return Err(malformed());
        }
    }
    if remaining > most {
        return Err(io::Error::other(format!(
            "a packet of {remaining} bytes is larger than the {most} that are taken"
        )));
    }
    let mut body = vec![0; remaining];
    reader.read_exact(&mut body).await?;
    parse(first, &Bytes::from(body), version).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came is no packet of MQTT")
}

fn parse(first: u8, body: &Bytes, version: Version) -> Option<Incoming> {
    let mut rest = &body[..];
    let is_5 = version == Version::V5;
    Some(match first >> 4 {
        2 => Incoming::ConnectAck(connect_ack(rest, is_5)?),
        3 => Incoming::Publish(publish(first, body, is_5)?),
        4 => {
            let id = take_u16(&mut rest)?;
            Incoming::PublishAck { id, reason: rest.first().copied().unwrap_or(0) }
        }
        9 => {
            take_u16(&mut rest)?;
            if is_5 {
                take_properties(&mut rest)?;
            }
            Incoming::SubscribeAck { reasons: rest.to_vec() }
        }
        13 => Incoming::Pong,
        14 => {
            let reason = take(&mut rest, 1).map_or(0, |byte| byte[0]);
            let properties = if is_5 && !rest.is_empty() { take_properties(&mut rest)? } else { &[] };
            Incoming::Disconnect { reason, words: words(properties) }
        }
        _ => Incoming::Other,
    })
}

fn connect_ack(mut rest: &[u8], is_5: bool) -> Option<ConnectAck> {
    let [flags, code] = *take(&mut rest, 2)? else { return None };
    let mut ack = ConnectAck {
        session_present: flags & 1 != 0,
        code,
        receive_maximum: u16::MAX,
        max_packet: None,
        max_qos: 2,
        retain_available: true,
        keep_alive: None,
        words: None,
    };
    if is_5 && !rest.is_empty() {
        let mut properties = take_properties(&mut rest)?;
        ack.words = words(properties);
        while !properties.is_empty() {
            let (id, value, _) = take_property(&mut properties)?;
            match (id, value) {
                (0x21, [a, b]) => ack.receive_maximum = u16::from_be_bytes([*a, *b]),
                (0x27, [a, b, c, d]) => ack.max_packet = Some(u32::from_be_bytes([*a, *b, *c, *d])),
                (0x13, [a, b]) => ack.keep_alive = Some(u16::from_be_bytes([*a, *b])),
                (0x24, [qos]) => ack.max_qos = *qos,
                (0x25, [available]) => ack.retain_available = *available != 0,
                _ => {}
            }
        }
    }
    Some(ack)
}

fn publish(first: u8, body: &Bytes, is_5: bool) -> Option<Publish> {
    let mut rest = &body[..];
    let topic = std::str::from_utf8(take_field(&mut rest)?).ok()?.to_owned();
    let qos = first >> 1 & 3;
    let id = if qos > 0 { take_u16(&mut rest)? } else { 0 };
    let (mut properties, mut marks) = (Vec::new(), Vec::new());
    if is_5 {
        let mut all = take_properties(&mut rest)?;
        while !all.is_empty() {
            let (id, value, bytes) = take_property(&mut all)?;
            match id {
                // The identifier of a subscription belongs to this connection. Aliases are not taken, so there are none.
                0x0b => continue,
                0x23 => return None,
                0x26 => {
                    let mut pair = value;
                    if take_field(&mut pair)? == MARK.as_bytes() {
                        marks.push(String::from_utf8_lossy(take_field(&mut pair)?).into_owned());
                    }
                }
                _ => {}
            }
            properties.extend_from_slice(bytes);
        }
    }
    let payload = body.slice(body.len() - rest.len()..);
    Some(Publish { qos, retain: first & 1 != 0, topic, id, properties, marks, payload })
}

/// The reason string among properties.
fn words(mut properties: &[u8]) -> Option<String> {
    while !properties.is_empty() {
        let (id, mut value, _) = take_property(&mut properties)?;
        if id == 0x1f {
            return Some(String::from_utf8_lossy(take_field(&mut value)?).into_owned());
        }
    }
    None
}

/// A property: its id, its value, and both as they came.
fn take_property<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let all = *rest;
    let id = take(rest, 1)?[0];
    let begin = *rest;
    match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => drop(take(rest, 1)?),
        0x13 | 0x21 | 0x22 | 0x23 => drop(take(rest, 2)?),
        0x02 | 0x11 | 0x18 | 0x27 => drop(take(rest, 4)?),
        0x0b => drop(take_varint(rest)?),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => drop(take_field(rest)?),
        0x26 => {
            take_field(rest)?;
            take_field(rest)?;
        }
        _ => return None,
    }
    let len = begin.len() - rest.len();
    Some((id, &begin[..len], &all[..=len]))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u16(rest)?;
    take(rest, length.into())
}

fn take_varint(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take(rest, 1)?[0];
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_properties<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_varint(rest)?;
    take(rest, length)
}

fn field(bytes: &[u8]) -> Vec<u8> {
    // What is longer was refused with the configuration, or came in such a field.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut field = length.to_be_bytes().to_vec();
    field.extend_from_slice(&bytes[..length.into()]);
    field
}

fn put_varint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(first);
    put_varint(body.len(), &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests;
