//! How long acknowledgements take: a device that publishes steadily at QoS 1 while others do harm.
//!
//! It publishes on a schedule and does not wait for acknowledgements, and each is timed from when its message was due: a
//! stall of a second counts for all messages that were due in it, not for one.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::Device;
use crate::wire::{RawClient, publish};

/// How long after the last message its acknowledgement may come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A device that publishes `{}` on the topic `probe` at QoS 1.
pub struct AckProbe {
    stop: watch::Sender<bool>,
    writer: JoinHandle<OwnedWriteHalf>,
    reader: JoinHandle<AckTimes>,
}

impl AckProbe {
    /// How often a message is due.
    const EVERY: Duration = Duration::from_millis(10);

    /// Connects and begins. Returns when the first message is acknowledged.
    ///
    /// # Panics
    /// When the device is not accepted.
    pub async fn start(address: SocketAddr, device: &Device) -> Self {
        let mut client = RawClient::connect(address, 4, "probe", device).await;
        client.send(&message(1)).await;
        client.until(0x40).await;
        let (read, write) = client.stream.into_split();
        let (stop, stopped) = watch::channel(false);
        let (due, dues) = mpsc::unbounded_channel();
        Self { stop, writer: tokio::spawn(write_all(write, due, stopped)), reader: tokio::spawn(read_all(read, dues)) }
    }

    /// Publishes no more, waits for the acknowledgements and tells how long each took.
    ///
    /// # Panics
    /// When the connection broke, or an acknowledgement does not come.
    pub async fn finish(self) -> AckTimes {
        self.stop.send_replace(true);
        // Half of a connection that is dropped ends the whole.
        let _open = self.writer.await.expect("nothing went wrong");
        tokio::time::timeout(PATIENCE, self.reader)
            .await
            .expect("each message is acknowledged")
            .expect("none is missing")
    }

    /// The times of acknowledgements while something is done, and what that gave.
    pub async fn during<T>(address: SocketAddr, device: &Device, action: impl Future<Output = T>) -> (AckTimes, T) {
        let probe = Self::start(address, device).await;
        let result = action.await;
        (probe.finish().await, result)
    }
}

fn message(id: u16) -> Vec<u8> {
    publish(4, 0x32, "probe", id, &[], b"{}")
}

/// Publishes when it is time, until it is told to stop.
async fn write_all(
    mut write: OwnedWriteHalf,
    due: mpsc::UnboundedSender<Instant>,
    stopped: watch::Receiver<bool>,
) -> OwnedWriteHalf {
    let (mut at, mut ids) = (Instant::now(), (1..=u16::MAX).cycle());
    while !*stopped.borrow() {
        tokio::time::sleep_until(at.into()).await;
        due.send(at).expect("the reader is there");
        write.write_all(&message(ids.next().unwrap_or(1))).await.expect("the connection holds");
        at += AckProbe::EVERY;
    }
    write
}

/// Acknowledgements come in the order of the messages. Ends when all are there and no message is to come.
async fn read_all(mut read: OwnedReadHalf, mut dues: mpsc::UnboundedReceiver<Instant>) -> AckTimes {
    let mut times = Vec::new();
    while let Some(due) = dues.recv().await {
        let mut ack = [0; 4];
        read.read_exact(&mut ack).await.expect("the connection holds");
        assert_eq!(ack[..2], [0x40, 2], "something else than PUBACK came");
        times.push(due.elapsed());
    }
    times.sort_unstable();
    AckTimes(times)
}

/// How long acknowledgements took, the shortest first.
pub struct AckTimes(Vec<Duration>);

impl AckTimes {
    /// How many there were.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Half took no longer.
    pub fn p50(&self) -> Duration {
        self.part(50)
    }

    /// 99 of 100 took no longer.
    pub fn p99(&self) -> Duration {
        self.part(99)
    }

    /// None took longer.
    pub fn max(&self) -> Duration {
        self.part(100)
    }

    fn part(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    /// Checks that no acknowledgement took longer.
    ///
    /// # Panics
    /// When one did, or there was none.
    #[track_caller]
    pub fn none_took_longer_than(&self, most: Duration) {
        assert!(self.count() > 0, "nothing was acknowledged");
        assert!(self.max() <= most, "{self}; at most {most:?} were due");
    }
}

impl fmt::Display for AckTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let (count, p50, p99, max) = (self.count(), ms(self.p50()), ms(self.p99()), ms(self.max()));
        write!(f, "{count} PUBACKs, p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}
