//! Counts the messages in a stream of packets, by their lengths.

/// Where a reader is in a stream that comes in pieces.
#[derive(Default)]
pub(crate) struct Counter {
    /// The first byte of a packet whose length is not whole yet.
    first: Option<u8>,
    /// What is read of that length, and its next place.
    length: usize,
    shift: u32,
    /// Bytes of the present packet that are still to come.
    rest: usize,
}

impl Counter {
    /// How many PUBLISH packets begin in these bytes, which follow those of the last call.
    pub(crate) fn publishes(&mut self, mut bytes: &[u8]) -> usize {
        let mut found = 0;
        loop {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let Some((&byte, others)) = bytes.split_first() else { return found };
            bytes = others;
            let Some(first) = self.first else {
                self.first = Some(byte);
                continue;
            };
            self.length |= usize::from(byte & 127) << self.shift;
            self.shift += 7;
            if byte < 128 {
                found += usize::from(first >> 4 == 3);
                *self = Self { rest: self.length, ..Self::default() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::message::Message;
    use crate::load::packet;

    #[test]
    fn messages_are_counted_however_the_stream_is_cut() {
        let mut stream = packet::ACCEPTED.to_vec();
        let mut message = Message::new(&"long/".repeat(30), 0);
        for _ in 0..5 {
            message.write(0, &mut stream);
            stream.extend_from_slice(&packet::PING);
        }
        for size in 1..stream.len() {
            let mut counter = Counter::default();
            let counted: usize = stream.chunks(size).map(|piece| counter.publishes(piece)).sum();
            assert_eq!(counted, 5, "pieces of {size}");
        }
    }
}
