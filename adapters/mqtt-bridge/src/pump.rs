//! Messages from one broker to the other, both ways, while both are connected.
//!
//! A message of QoS 1 is acknowledged to the broker it came from when the other one has acknowledged it: until then the first keeps it,
//! and sends it again after a break. Nothing is kept here. Neither reader ever waits for a writer: what is of QoS 1 is bounded by the
//! windows of the two brokers, and what is of QoS 0 is dropped where too much waits.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use crate::config::{BridgeConfig, Version};
use crate::link::Link;
use crate::packet::{self, ConnectAck, DISCONNECT, Incoming, PING, Publish};
use crate::rules;
use crate::status::Status;

/// Packets that may wait for a broker before messages of QoS 0 are dropped, and their bytes.
const MOST_WAITING: usize = 1_000;
const MOST_WAITING_BYTES: usize = 16 << 20;
/// Bridges that a message may go through.
const MOST_HOPS: usize = 8;
/// How often a broker is asked whether it is there when nothing is agreed.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long the last packets may take.
const END: Duration = Duration::from_secs(1);

/// One of the two brokers, as the other's messages reach it.
struct Side {
    name: String,
    version: Version,
    sender: UnboundedSender<Vec<u8>>,
    waiting: Arc<Waiting>,
    max_packet: usize,
    max_qos: u8,
    takes_retained: bool,
    keep_alive: Duration,
    pending: Mutex<Pending>,
    last_read: Mutex<Instant>,
}

#[derive(Default)]
struct Waiting {
    packets: AtomicUsize,
    bytes: AtomicUsize,
}

/// Messages of QoS 1 that were sent and not acknowledged: their ids here, and those by which the other broker knows them.
#[derive(Default)]
struct Pending {
    last: u16,
    ids: HashMap<u16, u16>,
}

impl Pending {
    /// An id that is free here.
    fn begin(&mut self, original: u16) -> Option<u16> {
        if self.ids.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.ids.contains_key(&self.last) {
                self.ids.insert(self.last, original);
                return Some(self.last);
            }
        }
    }
}

impl Side {
    fn new(name: String, link: &Link, sender: UnboundedSender<Vec<u8>>) -> Self {
        let ConnectAck { max_packet, max_qos, retain_available, .. } = link.ack;
        Self {
            name,
            version: link.version,
            sender,
            waiting: Arc::default(),
            max_packet: max_packet.map_or(usize::MAX, |bytes| bytes as usize),
            max_qos: max_qos.min(1),
            takes_retained: retain_available,
            keep_alive: if link.keep_alive.is_zero() { KEEP_ALIVE } else { link.keep_alive },
            pending: Mutex::default(),
            last_read: Mutex::new(Instant::now()),
        }
    }

    fn send(&self, bytes: Vec<u8>) {
        self.waiting.packets.fetch_add(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        // Its writer has ended when nobody takes it, and with it all of this.
        let _ = self.sender.send(bytes);
    }

    fn is_full(&self) -> bool {
        self.waiting.packets.load(Ordering::Relaxed) > MOST_WAITING
            || self.waiting.bytes.load(Ordering::Relaxed) > MOST_WAITING_BYTES
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn was_heard(&self) {
        *self.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_silent(&self) -> bool {
        self.last_read.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > self.keep_alive * 2
    }
}

/// Passes messages on until a connection ends or the bridge is to stop.
///
/// # Errors
/// Why a connection ended.
pub(crate) async fn run(
    config: &BridgeConfig,
    status: &Status,
    (mut local, mut remote): (Link, Link),
    sends_retained: bool,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let (to_local, for_local) = unbounded_channel();
    let (to_remote, for_remote) = unbounded_channel();
    let here = Side::new("the broker of this process".to_owned(), &local, to_local);
    let there = Side::new(config.remote.shown(), &remote, to_remote);
    subscribe(&here, &rules::local_filters(&config.rules), sends_retained);
    subscribe(&there, &rules::remote_filters(&config.rules), false);
    let mark = config.device_id.to_string();
    let outward = Passage {
        from: &here,
        to: &there,
        translate: &|topic| rules::outward(&config.rules, topic),
        passed: &status.outgoing,
        answered: &status.incoming,
        mark: &mark,
        status,
    };
    let inward = Passage {
        from: &there,
        to: &here,
        translate: &|topic| rules::inward(&config.rules, topic),
        passed: &status.incoming,
        answered: &status.outgoing,
        mark: &mark,
        status,
    };
    let most = config.max_packet as usize;
    let ended = {
        let local_writer = write(&mut local.writer, for_local, Arc::clone(&here.waiting));
        let remote_writer = write(&mut remote.writer, for_remote, Arc::clone(&there.waiting));
        tokio::pin!(local_writer, remote_writer);
        let ended = tokio::select! {
            ended = outward.run(&mut local.reader, most) => ended,
            ended = inward.run(&mut remote.reader, most) => ended,
            written = &mut local_writer => Err(broken(&here, written)),
            written = &mut remote_writer => Err(broken(&there, written)),
            silent = watch_over(&here, &there) => Err(silent),
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        };
        for side in [&here, &there] {
            side.send(DISCONNECT.to_vec());
        }
        let flushed = async {
            while here.waiting.packets.load(Ordering::Relaxed) + there.waiting.packets.load(Ordering::Relaxed) > 0 {
                tokio::select! {
                    _ = &mut local_writer => return,
                    _ = &mut remote_writer => return,
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
        };
        // What is not taken in time is not waited for.
        let _ = timeout(END, flushed).await;
        ended
    };
    let _ = timeout(END, async { tokio::join!(local.writer.shutdown(), remote.writer.shutdown()) }).await;
    ended
}

fn subscribe(side: &Side, filters: &[(String, u8)], sends_retained: bool) {
    if filters.is_empty() {
        return;
    }
    // The ids of subscriptions are none of those of messages that are sent.
    let id = u16::MAX;
    side.pending().ids.insert(id, 0);
    side.send(packet::subscribe(side.version, id, filters, sends_retained));
}

fn broken(side: &Side, written: io::Result<()>) -> String {
    match written {
        Ok(()) => format!("the connection to {} ended", side.name),
        Err(error) => format!("the connection to {} broke: {error}", side.name),
    }
}

/// Writes what waits for a broker.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut packets: UnboundedReceiver<Vec<u8>>,
    waiting: Arc<Waiting>,
) -> io::Result<()> {
    while let Some(bytes) = packets.recv().await {
        writer.write_all(&bytes).await?;
        if packets.is_empty() {
            writer.flush().await?;
        }
        waiting.bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        waiting.packets.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Asks both brokers whether they are there; returns when one does not answer.
async fn watch_over(here: &Side, there: &Side) -> String {
    let mut tick = interval(here.keep_alive.min(there.keep_alive).max(Duration::from_secs(2)) / 2);
    tick.tick().await;
    loop {
        tick.tick().await;
        for side in [here, there] {
            if side.is_silent() {
                return format!("{} does not answer any more", side.name);
            }
            side.send(PING.to_vec());
        }
    }
}

/// One way.
struct Passage<'a> {
    from: &'a Side,
    to: &'a Side,
    translate: &'a (dyn Fn(&str) -> Option<(String, u8)> + Send + Sync),
    /// Counts messages that go this way.
    passed: &'a AtomicU64,
    /// Counts those that go the other way, which are acknowledged on this one.
    answered: &'a AtomicU64,
    mark: &'a str,
    status: &'a Status,
}

impl Passage<'_> {
    async fn run(&self, reader: &mut (impl AsyncRead + Unpin), most: usize) -> Result<(), String> {
        loop {
            let read = packet::read(reader, self.from.version, most).await;
            let packet = read.map_err(|error| format!("the connection to {} broke: {error}", self.from.name))?;
            self.from.was_heard();
            match packet {
                Incoming::Publish(publish) => self.pass(publish)?,
                Incoming::PublishAck { id, reason } => self.acknowledged(id, reason),
                Incoming::SubscribeAck { reasons } => self.subscribed(&reasons),
                Incoming::Disconnect { reason, words } => {
                    let words = words.map_or(String::new(), |words| format!(": {words}"));
                    return Err(format!("{} closed the connection (reason {reason:#04x}){words}", self.from.name));
                }
                Incoming::ConnectAck(_) | Incoming::Pong | Incoming::Other => {}
            }
        }
    }

    fn pass(&self, publish: Publish) -> Result<(), String> {
        if publish.qos > 1 {
            return Err(format!("{} sends messages of QoS 2, which were not asked for", self.from.name));
        }
        let original = publish.id;
        let was_here = publish.marks.iter().any(|mark| mark == self.mark) || publish.marks.len() >= MOST_HOPS;
        let target = if was_here { None } else { (self.translate)(&publish.topic) };
        let Some((topic, qos)) = target else {
            self.answer(publish.qos, original);
            return Ok(());
        };
        let qos_of_original = publish.qos;
        let mut sent = Publish {
            qos: publish.qos.min(qos).min(self.to.max_qos),
            retain: publish.retain && self.to.takes_retained,
            topic,
            ..publish
        };
        let id = if sent.qos > 0 { self.to.pending().begin(original) } else { None };
        sent.id = id.unwrap_or_default();
        let packet = sent.bytes(self.to.version, self.mark);
        if packet.len() > self.to.max_packet {
            if let Some(id) = id {
                self.to.pending().ids.remove(&id);
            }
            let bytes = sent.payload.len();
            let why = format!("a message of {bytes} bytes on {} is larger than {} takes", sent.topic, self.to.name);
            self.status.dropped(&why);
            self.answer(qos_of_original, original);
            return Ok(());
        }
        if sent.qos == 0 {
            if self.to.is_full() {
                self.status.dropped(&format!("{} is too slow for messages of QoS 0", self.to.name));
            } else {
                self.to.send(packet);
                self.passed.fetch_add(1, Ordering::Relaxed);
            }
            self.answer(qos_of_original, original);
            return Ok(());
        }
        if id.is_none() {
            return Err(format!("{} acknowledges nothing", self.to.name));
        }
        self.to.send(packet);
        Ok(())
    }

    /// Acknowledges a message to the broker it came from.
    fn answer(&self, qos: u8, id: u16) {
        if qos > 0 {
            self.from.send(packet::publish_ack(id));
        }
    }

    /// A message that went the other way has arrived.
    fn acknowledged(&self, id: u16, reason: u8) {
        let Some(original) = self.from.pending().ids.remove(&id) else { return };
        if reason < 0x80 {
            self.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            self.status.dropped(&format!("{} refuses a message (reason {reason:#04x})", self.from.name));
        }
        self.to.send(packet::publish_ack(original));
    }

    fn subscribed(&self, reasons: &[u8]) {
        self.from.pending().ids.remove(&u16::MAX);
        if let Some(place) = reasons.iter().position(|reason| *reason >= 0x80) {
            let words = format!("{} refuses the subscription of topic {} of its direction", self.from.name, place + 1);
            if self.status.failed(&words) {
                tracing::warn!("{words}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_free_when_they_are_given() {
        let mut pending = Pending { last: u16::MAX - 1, ids: HashMap::from([(u16::MAX, 0), (1, 7)]) };
        assert_eq!(pending.begin(9), Some(2));
        assert_eq!(pending.ids.remove(&2), Some(9));
        assert_eq!(pending.begin(10), Some(3));
    }
}
