//! Packets of MQTT 3.1.1, as bytes.

/// The CONNACK of a new session.
pub(crate) const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
/// PINGREQ.
pub(crate) const PING: [u8; 2] = [0xc0, 0];
/// The first byte of PINGRESP.
pub(crate) const PONG: u8 = 0xd0;
/// DISCONNECT.
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// A clean session, 300 s of keep-alive, and user name and password where there are any.
pub(crate) fn connect(client_id: &str, credentials: Option<&(String, String)>) -> Vec<u8> {
    let mut body = Vec::new();
    write_text(&mut body, "MQTT");
    body.extend_from_slice(&[4, if credentials.is_some() { 0xc2 } else { 2 }, 1, 44]);
    write_text(&mut body, client_id);
    if let Some((username, password)) = credentials {
        write_text(&mut body, username);
        write_text(&mut body, password);
    }
    whole(0x10, &body)
}

/// A SUBSCRIBE to one filter at QoS 0.
pub(crate) fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    write_text(&mut body, filter);
    body.push(0);
    whole(0x82, &body)
}

/// A packet of its first byte and what follows the length.
pub(crate) fn whole(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    write_length(&mut packet, body.len());
    packet.extend_from_slice(body);
    packet
}

pub(crate) fn write_text(packet: &mut Vec<u8>, text: &str) {
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
    fn a_connect_has_its_parts_in_order() {
        assert_eq!(connect("c", None), b"\x10\x0d\0\x04MQTT\x04\x02\x01\x2c\0\x01c");
        let credentials = ("u".to_owned(), "p".to_owned());
        assert_eq!(connect("c", Some(&credentials)), b"\x10\x13\0\x04MQTT\x04\xc2\x01\x2c\0\x01c\0\x01u\0\x01p");
    }

    #[test]
    fn a_subscribe_has_its_parts_in_order() {
        assert_eq!(subscribe("a/#"), b"\x82\x08\0\x01\0\x03a/#\0");
    }
}
