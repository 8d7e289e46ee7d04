//! The WebSocket layer of a connection: frames of RFC 6455 below, a stream of bytes above. [MQTT-6.0.0-2] frames and packets
//! need not be aligned, in either direction.
//!
//! Answers to pings are bounded: while the client does not take what is sent to it, none are added. After the close frame
//! nothing is sent and nothing is read.

use std::cell::{Cell, RefCell};
use std::io;
use std::task::Poll;

use ntex::codec::Encoder;
use ntex::io::{FilterBuf, FilterLayer, IoBoxed};
use ntex::util::Bytes;
use ntex::ws::{CloseCode, CloseReason, Codec, Message};

use super::frame::{Control, FrameReader};

/// The largest frame that is read, unless packets may be larger. A client library may put all that it has to send into one.
const MAX_FRAME: u64 = 16 * 1024 * 1024;
/// Unsent bytes from which on pings are not answered.
const UNSENT_PONGS: usize = 16 * 1024;

/// What goes through the layer.
#[derive(Debug)]
pub(crate) struct WebSocket {
    reader: RefCell<FrameReader>,
    codec: Codec,
    is_closed: Cell<bool>,
}

impl WebSocket {
    /// Lays it over a connection whose client was told that it goes on with frames. Packets have up to `packet_bytes`.
    pub(crate) fn over(io: IoBoxed, packet_bytes: u32) -> IoBoxed {
        let limit = MAX_FRAME.max(u64::from(packet_bytes) + 5);
        let layer =
            Self { reader: RefCell::new(FrameReader::new(limit)), codec: Codec::new(), is_closed: Cell::new(false) };
        ntex::io::Io::from(io).add_filter(layer).boxed()
    }

    /// Sends the close frame, once.
    fn send_close(&self, buf: &FilterBuf<'_>, code: Option<CloseCode>) {
        if !self.is_closed.replace(true) {
            let reason = code.map(|code| CloseReason { code, description: None });
            self.send(buf, Message::Close(reason));
        }
    }

    fn send(&self, buf: &FilterBuf<'_>, message: Message) {
        // Control frames can always be written.
        let _ = buf.with_write_buffers(|_, below| self.codec.encodev(message, below));
    }

    fn answer_ping(&self, buf: &FilterBuf<'_>, payload: Bytes) {
        // RFC 6455, section 5.5.3: pings may be left out that others follow.
        if buf.io().with_write_dst_buf(|unsent| unsent.len()) < UNSENT_PONGS {
            self.send(buf, Message::Pong(payload));
        }
    }
}

impl FilterLayer for WebSocket {
    fn process_read_buf(&self, buf: &FilterBuf<'_>) -> io::Result<()> {
        buf.with_read_buffers(|src, data| {
            let Some(src) = src else { return };
            while !self.is_closed.get() {
                match self.reader.borrow_mut().read(src, data) {
                    Ok(None) => return,
                    Ok(Some(Control::Ping(payload))) => self.answer_ping(buf, payload),
                    Ok(Some(Control::Pong)) => {}
                    Ok(Some(Control::Close(code))) => {
                        self.send_close(buf, code.map(CloseCode::from));
                        buf.io().close();
                    }
                    Err(violation) => {
                        tracing::debug!(?violation, "WebSocket closed");
                        self.send_close(buf, Some(violation.code()));
                        buf.io().close();
                    }
                }
            }
            src.clear();
        });
        Ok(())
    }

    fn process_write_buf(&self, buf: &FilterBuf<'_>) -> io::Result<()> {
        buf.with_write_buffers(|pages, below| {
            while let Some(page) = pages.take() {
                if !self.is_closed.get() {
                    // [MQTT-6.0.0-1] packets are sent in binary frames
                    self.codec.encode_page(page, below);
                }
            }
        });
        Ok(())
    }

    fn shutdown(&self, buf: &FilterBuf<'_>) -> io::Result<Poll<()>> {
        self.send_close(buf, Some(CloseCode::Normal));
        Ok(Poll::Ready(()))
    }
}
