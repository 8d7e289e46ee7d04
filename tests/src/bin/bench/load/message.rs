//! The messages of one publisher: a PUBLISH with a JSON object of 64 bytes, in which a number counts.

use super::packet::{whole, write_text};

const NUMBER: &[u8; 10] = b"1000000000";
const BEFORE: &str = r#"{"temperature":20.0,"number":"#;
const AFTER: &str = r#","unit":"degree celsius"}"#;

/// The next PUBLISH. Only its digits and its packet id are written again.
pub(crate) struct Message {
    packet: Vec<u8>,
    /// Where the packet id is, but at QoS 0.
    id: Option<usize>,
    /// Where the payload begins.
    payload: usize,
}

impl Message {
    pub(crate) fn new(topic: &str, qos: u8) -> Self {
        let mut body = Vec::new();
        write_text(&mut body, topic);
        body.extend_from_slice(if qos > 0 { &[0, 0] } else { &[] });
        let before = body.len();
        body.extend_from_slice(BEFORE.as_bytes());
        body.extend_from_slice(NUMBER);
        body.extend_from_slice(AFTER.as_bytes());
        let packet = whole(0x30 | qos << 1, &body);
        let payload = packet.len() - body.len() + before;
        Self { packet, id: (qos > 0).then_some(payload - 2), payload }
    }

    /// Appends the message, and makes the next of it.
    pub(crate) fn write(&mut self, id: u16, packets: &mut Vec<u8>) {
        if let Some(at) = self.id {
            self.packet[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        packets.extend_from_slice(&self.packet);
        let number = self.payload + BEFORE.len();
        let last = count(&mut self.packet[number..number + NUMBER.len()]);
        // Both digits of the temperature, such as 27.7.
        let temperature = self.payload + r#"{"temperature":2"#.len();
        self.packet[temperature] = last;
        self.packet[temperature + 2] = last;
    }
}

/// Adds one to a decimal number. Returns its last digit.
fn count(digits: &mut [u8]) -> u8 {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            break;
        }
        *digit = b'0';
    }
    digits.last().copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_has_its_parts_in_order() {
        let mut packets = Vec::new();
        Message::new("a/b", 1).write(0x0102, &mut packets);
        assert_eq!(packets[..9], *b"\x32\x47\0\x03a/b\x01\x02");
        packets.clear();
        Message::new("a", 0).write(7, &mut packets);
        assert_eq!(packets[..5], *b"\x30\x43\0\x01a");
    }

    #[test]
    fn payloads_are_json_of_one_size_that_counts() {
        let mut message = Message::new("a", 0);
        for number in 0..1_200 {
            let mut packets = Vec::new();
            message.write(0, &mut packets);
            let payload = &packets[5..];
            assert_eq!(payload.len(), 64);
            let json: serde_json::Value = serde_json::from_slice(payload).expect("it is JSON");
            assert_eq!(json["number"], 1_000_000_000 + number);
            assert_eq!(json["temperature"].to_string(), format!("2{0}.{0}", number % 10));
            assert_eq!(json["unit"], "degree celsius");
        }
    }
}
