//! Frames of a WebSocket client, RFC 6455, section 5.
//!
//! Data is passed on as it comes, so that no frame is ever held in memory whole and one may be larger than what a client
//! may make the broker keep. Control frames, of 125 bytes at most, are read whole. Only binary messages are accepted.

use ntex::util::{Bytes, BytesMut};
use ntex::ws::CloseCode;

/// The largest payload of a control frame.
const MAX_CONTROL: usize = 125;

/// A frame that is not data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// The client asks for the same bytes in a pong.
    Ping(Bytes),
    /// It is alive.
    Pong,
    /// It closes, with a code or without.
    Close(Option<u16>),
}

/// Why a frame is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// It is not what RFC 6455 allows.
    Protocol,
    /// It is text.
    NotBinary,
    /// It is larger than the limit.
    TooLarge,
}

impl Violation {
    /// What the client is told.
    pub(crate) fn code(self) -> CloseCode {
        match self {
            Self::Protocol => CloseCode::Protocol,
            Self::NotBinary => CloseCode::Unsupported,
            Self::TooLarge => CloseCode::Size,
        }
    }
}

/// Reads frames, from whatever of them is there.
#[derive(Debug)]
pub(crate) struct FrameReader {
    limit: u64,
    /// Bytes of the present data frame that have not come.
    left: u64,
    /// The key of the present data frame, turned to the next byte.
    mask: [u8; 4],
    /// The last data frame was not the last of its message.
    is_continued: bool,
}

struct Header {
    len: usize,
    is_final: bool,
    opcode: u8,
    payload: u64,
    mask: [u8; 4],
}

impl FrameReader {
    /// For frames of up to `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, left: 0, mask: [0; 4], is_continued: false }
    }

    /// Moves data from `src` to `data` up to the next control frame, which it returns; `None` when more bytes are needed.
    pub(crate) fn read(&mut self, src: &mut BytesMut, data: &mut BytesMut) -> Result<Option<Control>, Violation> {
        loop {
            self.move_data(src, data);
            if self.left > 0 {
                return Ok(None);
            }
            let Some(header) = Header::read(src)? else { return Ok(None) };
            if header.opcode & 8 == 0 {
                self.begin_data(&header)?;
                src.advance_to(header.len);
                continue;
            }
            let Some(payload) = header.control(src)? else { return Ok(None) };
            return control(header.opcode, payload).map(Some);
        }
    }

    fn move_data(&mut self, src: &mut BytesMut, data: &mut BytesMut) {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(src.len());
        if here > 0 {
            unmask(&mut src[..here], self.mask);
            data.extend_from_slice(&src[..here]);
            src.advance_to(here);
            self.mask.rotate_left(here % 4);
            self.left -= here as u64;
        }
    }

    fn begin_data(&mut self, header: &Header) -> Result<(), Violation> {
        match header.opcode {
            // A message goes on only where one has begun, and another begins only where none has.
            0 if self.is_continued => {}
            2 if !self.is_continued => {}
            // [MQTT-6.0.0-1] packets are sent in binary frames only
            1 => return Err(Violation::NotBinary),
            _ => return Err(Violation::Protocol),
        }
        if header.payload > self.limit {
            return Err(Violation::TooLarge);
        }
        self.is_continued = !header.is_final;
        (self.left, self.mask) = (header.payload, header.mask);
        Ok(())
    }
}

impl Header {
    fn read(src: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((&[first, second], rest)) = src.split_first_chunk() else { return Ok(None) };
        // Without an extension the reserved bits are 0; a client masks every frame.
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(Violation::Protocol);
        }
        let (payload, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            len => (u64::from(len), rest),
        };
        let Some((&mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let len = src.len() - rest.len();
        Ok(Some(Self { len, is_final: first & 0x80 != 0, opcode: first & 0x0f, payload, mask }))
    }

    /// Takes a whole control frame; `None` when more bytes are needed.
    fn control(&self, src: &mut BytesMut) -> Result<Option<Bytes>, Violation> {
        let payload = usize::try_from(self.payload).unwrap_or(usize::MAX);
        if !self.is_final || payload > MAX_CONTROL {
            return Err(Violation::Protocol);
        }
        if src.len() < self.len + payload {
            return Ok(None);
        }
        src.advance_to(self.len);
        unmask(&mut src[..payload], self.mask);
        Ok(Some(src.split_to(payload)))
    }
}

fn control(opcode: u8, payload: Bytes) -> Result<Control, Violation> {
    match (opcode, &payload[..]) {
        (8, []) => Ok(Control::Close(None)),
        (8, [high, low, ..]) => Ok(Control::Close(Some(u16::from_be_bytes([*high, *low])))),
        (9, _) => Ok(Control::Ping(payload)),
        (10, _) => Ok(Control::Pong),
        _ => Err(Violation::Protocol),
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1_000;
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..126 => bytes.push(0x80 | len as u8),
            len @ 126..0x1_0000 => bytes.extend([&[0xfe], (len as u16).to_be_bytes().as_slice()].concat()),
            len => bytes.extend([&[0xff], (len as u64).to_be_bytes().as_slice()].concat()),
        }
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// What becomes of bytes that come in pieces: the data, and the control frames.
    fn read(bytes: &[u8], piece: usize, limit: u64) -> Result<(Vec<u8>, Vec<Control>), Violation> {
        let mut reader = FrameReader::new(limit);
        let (mut src, mut data, mut controls) = (BytesMut::new(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            src.extend_from_slice(piece);
            while let Some(control) = reader.read(&mut src, &mut data)? {
                controls.push(control);
            }
            assert!(src.len() < MAX_CONTROL + 14, "data is not held back");
        }
        Ok((data.to_vec(), controls))
    }

    fn violation(bytes: &[u8]) -> Violation {
        read(bytes, bytes.len(), LIMIT).unwrap_err()
    }

    proptest! {
        #[test]
        fn messages_come_whole_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4), 1..6),
            ping in prop::collection::vec(any::<u8>(), 0..=MAX_CONTROL),
            piece in 1usize..400,
        ) {
            let mut bytes = Vec::new();
            for fragments in &messages {
                for (place, fragment) in fragments.iter().enumerate() {
                    let opcode = if place == 0 { 2 } else { 0 };
                    let last = if place + 1 == fragments.len() { 0x80 } else { 0 };
                    bytes.extend(frame(last | opcode, fragment));
                    // Between the fragments of a message there may be control frames.
                    bytes.extend(frame(0x89, &ping));
                }
            }
            let (data, controls) = read(&bytes, piece, LIMIT).unwrap();
            prop_assert_eq!(data, messages.concat().concat());
            prop_assert_eq!(controls.len(), messages.iter().map(Vec::len).sum::<usize>());
            prop_assert!(controls.iter().all(|control| *control == Control::Ping(ping.clone().into())));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..40) {
            let _ = read(&bytes, piece, LIMIT);
        }
    }

    #[test]
    fn frames_beyond_the_limit_are_refused_before_they_come() {
        assert!(read(&frame(0x82, &[1; 1_000]), 1_014, LIMIT).is_ok());
        assert_eq!(violation(&frame(0x82, &[1; 1_001])[..8]), Violation::TooLarge);
        assert_eq!(violation(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), Violation::TooLarge);
        let long = vec![7; 70_000];
        assert_eq!(read(&frame(0x82, &long), 70_014, 70_000).unwrap().0, long);
    }

    #[test]
    fn text_is_refused() {
        assert_eq!(violation(&frame(0x81, b"{}")), Violation::NotBinary);
        assert_eq!(violation(&frame(0x01, b"{}")), Violation::NotBinary);
    }

    #[test]
    fn what_rfc_6455_does_not_allow_is_refused() {
        for bytes in [
            // Not masked, reserved bits, opcodes that do not exist.
            b"\x82\x01x".to_vec(),
            frame(0xc2, b"x"),
            frame(0x83, b"x"),
            frame(0x8b, b"x"),
            // A message that goes on without a beginning, one that begins within another.
            frame(0x80, b"x"),
            [frame(0x02, b"x"), frame(0x82, b"y")].concat(),
            // Control frames in fragments, too long, a close code of one byte.
            frame(0x09, b"x"),
            frame(0x89, &[0; 126]),
            frame(0x88, b"x"),
        ] {
            assert_eq!(violation(&bytes), Violation::Protocol, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_close_may_have_a_code_and_a_reason() {
        let closes = [(b"".as_slice(), None), (b"\x03\xe8", Some(1_000)), (b"\x03\xe9going", Some(1_001))];
        for (payload, code) in closes {
            let bytes = frame(0x88, payload);
            assert_eq!(read(&bytes, bytes.len(), LIMIT).unwrap().1, [Control::Close(code)]);
        }
    }
}
