//! Connections that subscribe, and count what comes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::timeout;

use super::counter::Counter;
use super::{Target, packet};

/// When nothing came for so long, the rest is lost.
const PATIENCE: Duration = Duration::from_secs(8);

thread_local! {
    /// What was read last, by whichever connection of this thread: a buffer of each would not stay in the cache.
    static READ: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; 128 * 1024]);
}

/// What came to one subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) messages: usize,
    /// When the last came.
    pub(crate) ended: Instant,
}

/// Subscribes at QoS 0, says so, and counts up to `expected` messages.
pub(crate) async fn receive(
    target: Target,
    number: usize,
    filter: String,
    expected: usize,
    start: Arc<Barrier>,
) -> io::Result<Received> {
    let subscribed = subscribe(&target, number, &filter).await;
    // Also a connection that failed lets the others begin.
    start.wait().await;
    let mut stream = subscribed?;
    let mut received = Received { messages: 0, ended: Instant::now() };
    let mut counter = Counter::default();
    while received.messages < expected {
        if timeout(PATIENCE, stream.readable()).await.is_err() {
            return Ok(received);
        }
        let read = READ
            .with_borrow_mut(|buffer| stream.try_read(buffer).map(|read| (read, counter.publishes(&buffer[..read]))));
        match read {
            Ok((0, _)) => return Err(io::Error::other("the broker closed a subscriber")),
            Ok((_, messages)) if messages > 0 => {
                received = Received { messages: received.messages + messages, ended: Instant::now() };
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    stream.write_all(&packet::DISCONNECT).await?;
    Ok(received)
}

async fn subscribe(target: &Target, number: usize, filter: &str) -> io::Result<TcpStream> {
    let mut stream = target.connect(&format!("subscriber-{number}"), number).await?;
    stream.write_all(&packet::subscribe(filter)).await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    if answer != [0x90, 3, 0, 1, 0] {
        return Err(io::Error::other(format!("the broker refused a subscription: SUBACK {answer:?}")));
    }
    Ok(stream)
}
