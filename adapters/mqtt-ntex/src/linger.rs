//! The end of a connection after a DISCONNECT from the broker.
//!
//! A socket that is closed while its client still sends answers with a reset, and a reset takes from the client what it has
//! not read yet: why it was closed. So what comes is read and dropped until the client closes or is quiet, within bounds.
//! Neither session nor client belongs to the connection any more.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use ntex::codec::Decoder;
use ntex::time::{Millis, timeout};
use ntex::util::BytesMut;

use crate::Io;

/// A client from which nothing comes for so long has most likely read what it was told.
const QUIET: Millis = Millis(100);
/// The longest time.
const LONGEST: Duration = Duration::from_secs(2);
/// The most bytes.
const MOST_BYTES: usize = 1024 * 1024;

/// Waits until the client has closed or sends nothing more, or a bound is reached.
pub(crate) async fn linger(io: &Io) {
    let began = Instant::now();
    let mut dropped = 0;
    while dropped < MOST_BYTES && began.elapsed() < LONGEST {
        match timeout(QUIET, io.recv(&Drain)).await {
            Ok(Ok(Some(bytes))) => dropped += bytes,
            // It is quiet, it has closed, or the connection is broken.
            Err(()) | Ok(Ok(None) | Err(_)) => return,
        }
    }
}

/// Whatever comes; the item is how many bytes it was.
struct Drain;

impl Decoder for Drain {
    type Item = usize;
    type Error = Infallible;

    fn decode(&self, src: &mut BytesMut) -> Result<Option<usize>, Infallible> {
        let bytes = src.len();
        src.clear();
        Ok((bytes > 0).then_some(bytes))
    }
}
