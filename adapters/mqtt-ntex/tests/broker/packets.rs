//! Packets as bytes.

use crate::platform::Device;

/// Text or bytes with their length before.
pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A packet of a first byte and a body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap();
        rest >>= 7;
        packet.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// The length of the packet that begins here, if enough of it is there to tell.
pub(crate) fn len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    for place in 1..=4 {
        let byte = *bytes.get(place)?;
        len |= usize::from(byte & 0x7f) << (7 * (place - 1));
        if byte & 0x80 == 0 {
            return Some(len + place + 1);
        }
    }
    panic!("not a packet: {bytes:02x?}");
}

/// CONNECT of 3.1.1 with a clean session, no keep-alive, device id and token.
pub(crate) fn connect3(device: &Device, client_id: &str) -> Vec<u8> {
    connect3_with(0xc2, 0, client_id, &[device.id.to_string().as_bytes(), device.token.as_bytes()])
}

/// CONNECT of 3.1.1 with these flags, keep-alive, and fields after the client id.
pub(crate) fn connect3_with(flags: u8, keep_alive: u16, client_id: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = [b"\0\x04MQTT\x04".as_slice(), &[flags], &keep_alive.to_be_bytes()].concat();
    body.extend(field(client_id.as_bytes()));
    for bytes in fields {
        body.extend(field(bytes));
    }
    packet(0x10, &body)
}

/// CONNECT of 5.0 with clean start, no keep-alive, device id and token, and these properties.
pub(crate) fn connect5(device: &Device, client_id: &str, properties: &[u8]) -> Vec<u8> {
    connect5_with(
        0xc2,
        0,
        properties,
        client_id,
        &field(device.id.to_string().as_bytes()),
        &field(device.token.as_bytes()),
    )
}

/// CONNECT of 5.0 with these flags, keep-alive and properties, and what follows the client id in two parts.
pub(crate) fn connect5_with(
    flags: u8,
    keep_alive: u16,
    properties: &[u8],
    client_id: &str,
    first: &[u8],
    second: &[u8],
) -> Vec<u8> {
    let mut body = [b"\0\x04MQTT\x05".as_slice(), &[flags], &keep_alive.to_be_bytes()].concat();
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    body.extend(field(client_id.as_bytes()));
    body.extend_from_slice(first);
    body.extend_from_slice(second);
    packet(0x10, &body)
}

/// PUBLISH of 3.1.1; the packet id is left out at QoS 0.
pub(crate) fn publish3(qos: u8, topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = field(topic.as_bytes());
    if qos > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    packet(0x30 | qos << 1, &body)
}

/// PUBLISH of 5.0 with properties.
pub(crate) fn publish5(qos: u8, topic: &str, packet_id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = field(topic.as_bytes());
    if qos > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    packet(0x30 | qos << 1, &body)
}

/// SUBSCRIBE of 3.1.1.
pub(crate) fn subscribe3(packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    for (filter, options) in filters {
        body.extend(field(filter.as_bytes()));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// SUBSCRIBE of 5.0 with properties.
pub(crate) fn subscribe5(packet_id: u16, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    for (filter, options) in filters {
        body.extend(field(filter.as_bytes()));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE of 3.1.1.
pub(crate) fn unsubscribe3(packet_id: u16, filter: &str) -> Vec<u8> {
    packet(0xa2, &[&packet_id.to_be_bytes(), field(filter.as_bytes()).as_slice()].concat())
}

/// UNSUBSCRIBE of 5.0 without properties.
pub(crate) fn unsubscribe5(packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|filter| field(filter.as_bytes())).collect();
    packet(0xa2, &[&packet_id.to_be_bytes()[..], b"\0", &filters].concat())
}

/// The reason code of an acknowledgement of 5.0, which leaves success out.
pub(crate) fn reason(ack: &[u8]) -> u8 {
    ack.get(4).copied().unwrap_or(0)
}
