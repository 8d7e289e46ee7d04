//! Reads along with what a client sends, for what the parser lets pass: lines of a head that end in a bare LF or have a bare CR
//! (RFC 9112, 2.2). Other servers read such requests otherwise, which is how requests are smuggled.
//!
//! It follows heads and bodies only as far as is needed to know where the next head begins.

/// The longest line of a head that is remembered; no longer one matters here.
const LINE: usize = 256;

/// Something that HTTP does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BareLineEnd;

/// Where in the stream of requests one is.
#[derive(Debug)]
pub(crate) struct HeadWatch {
    state: State,
    /// The beginning of the present line.
    line: Vec<u8>,
    line_bytes: usize,
    after_cr: bool,
    is_first_line: bool,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of a body, or of a chunk with its CRLF.
    Skip {
        left: u64,
        then_chunk: bool,
    },
    ChunkSize,
    Trailer,
    /// Not HTTP any more, as far as this can tell.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    None,
    Length(u64),
    Chunked,
}

impl Default for HeadWatch {
    fn default() -> Self {
        Self {
            state: State::Head,
            line: Vec::new(),
            line_bytes: 0,
            after_cr: false,
            is_first_line: true,
            body: Body::None,
        }
    }
}

impl HeadWatch {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When a line of a head ends otherwise than in CRLF.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<(), BareLineEnd> {
        while let Some(first) = bytes.first() {
            match self.state {
                State::Lost => return Ok(()),
                State::Skip { left, then_chunk } => {
                    let skipped = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = &bytes[skipped..];
                    let left = left - skipped as u64;
                    self.state = match (left, then_chunk) {
                        (0, true) => State::ChunkSize,
                        (0, false) => State::Head,
                        _ => State::Skip { left, then_chunk },
                    };
                }
                State::Head | State::ChunkSize | State::Trailer => {
                    self.byte(*first)?;
                    bytes = &bytes[1..];
                }
            }
        }
        Ok(())
    }

    /// Whether all that began has come to its end.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Head && self.is_first_line && self.line_bytes == 0
    }

    fn byte(&mut self, byte: u8) -> Result<(), BareLineEnd> {
        match (std::mem::replace(&mut self.after_cr, byte == b'\r'), byte) {
            (true, b'\n') => self.end_of_line(),
            (true, _) | (false, b'\n') => return Err(BareLineEnd),
            (false, b'\r') => {}
            (false, _) => {
                self.line_bytes += 1;
                if self.line.len() < LINE {
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let is_empty = std::mem::take(&mut self.line_bytes) == 0;
        self.state = match self.state {
            // RFC 9112, 2.2: an empty line before a request is passed over.
            State::Head if is_empty && self.is_first_line => State::Head,
            State::Head | State::Trailer if is_empty => self.end_of_head(),
            State::Head => {
                if !std::mem::replace(&mut self.is_first_line, false) {
                    self.field(&line);
                }
                State::Head
            }
            State::ChunkSize => match chunk_size(&line) {
                Some(0) => State::Trailer,
                Some(size) => size.checked_add(2).map_or(State::Lost, |left| State::Skip { left, then_chunk: true }),
                None => State::Lost,
            },
            other => other,
        };
        self.line = line;
        self.line.clear();
    }

    /// The state after the empty line that ends a head, or the trailer of a body.
    fn end_of_head(&mut self) -> State {
        let was_trailer = self.state == State::Trailer;
        let body = std::mem::replace(&mut self.body, Body::None);
        self.is_first_line = true;
        match body {
            _ if was_trailer => State::Head,
            Body::None | Body::Length(0) => State::Head,
            Body::Length(left) => State::Skip { left, then_chunk: false },
            Body::Chunked => State::ChunkSize,
        }
    }

    fn field(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.body = Body::Chunked;
        } else if name.eq_ignore_ascii_case(b"content-length") && self.body != Body::Chunked {
            let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            self.body = length.map_or(Body::None, Body::Length);
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read as a whole and byte by byte.
    fn read(text: &str) -> Result<(), BareLineEnd> {
        let mut watch = HeadWatch::default();
        let single = text.as_bytes().iter().try_for_each(|byte| watch.read(&[*byte]));
        assert_eq!(HeadWatch::default().read(text.as_bytes()), single, "{text:?}");
        single
    }

    #[test]
    fn lines_of_heads_end_in_crlf() {
        assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(()));
        for wrong in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(read(wrong), Err(BareLineEnd), "{wrong:?}");
        }
    }

    #[test]
    fn bodies_may_have_any_line_ends_and_the_next_head_may_not() {
        for body in [
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\nb\n",
            "POST / HTTP/1.1\r\ncontent-length:4\r\nHost: a\r\n\r\n\r\r\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n1\r\n\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "\r\nGET / HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(read(&format!("{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n")), Ok(()), "{body:?}");
            assert_eq!(read(&format!("{body}GET / HTTP/1.1\nHost: a\r\n\r\n")), Err(BareLineEnd), "{body:?}");
        }
    }

    #[test]
    fn it_is_known_whether_something_is_missing() {
        let mut watch = HeadWatch::default();
        for (part, is_between) in [
            ("", true),
            ("GET / HT", false),
            ("TP/1.1\r\nHost: a\r\n", false),
            ("\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", false),
            ("c", true),
        ] {
            watch.read(part.as_bytes()).unwrap();
            assert_eq!(watch.is_between(), is_between, "{part:?}");
        }
    }

    #[test]
    fn a_long_head_takes_little_memory() {
        let mut watch = HeadWatch::default();
        watch.read(b"GET / HTTP/1.1\r\nX: ").unwrap();
        for _ in 0..1_000 {
            watch.read(&[b'x'; 1_000]).unwrap();
        }
        assert!(watch.line.capacity() <= 2 * LINE);
    }
}
