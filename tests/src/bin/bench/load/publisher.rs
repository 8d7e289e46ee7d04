//! Connections that publish, each with a window of unacknowledged messages.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;

use super::crew::crew;
use super::message::Message;
use super::{Target, packet};

/// Bytes that are gathered before they are written to a socket.
const WRITE_AT: usize = 60_000;

/// Bytes of acknowledgements that are read at a time.
const READ: usize = 2_048;

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publishing {
    /// Connections.
    pub(crate) connections: usize,
    /// Messages of each.
    pub(crate) each: usize,
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    /// Unacknowledged messages of a connection, but at QoS 0.
    pub(crate) window: usize,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// When all were connected.
    pub(crate) began: Instant,
    /// When the last was acknowledged (PUBACK, PUBCOMP), or at QoS 0 when the broker answered a PING behind it.
    pub(crate) ended: Instant,
    /// Microseconds until each acknowledgement, sorted.
    pub(crate) latencies: Vec<u32>,
}

impl Publishing {
    /// Messages of all connections together.
    pub(crate) fn messages(&self) -> usize {
        self.connections * self.each
    }

    /// Connects, and publishes when all are connected. Connection `n` publishes to `load/n`.
    ///
    /// # Errors
    /// When a connection is refused or breaks, or when acknowledgements are not in the order of the messages.
    pub(crate) async fn run(self, target: &Target) -> io::Result<Published> {
        self.run_with(target, Arc::new(Barrier::new(self.connections))).await
    }

    /// The same, with others that have to be there before it begins.
    pub(super) async fn run_with(self, target: &Target, start: Arc<Barrier>) -> io::Result<Published> {
        let target = target.clone();
        let each =
            crew(self.connections, move |number| publish(self, target.clone(), number, Arc::clone(&start))).await?;
        let began = each.iter().map(|one| one.began).min().unwrap_or_else(Instant::now);
        let ended = each.iter().map(|one| one.ended).max().unwrap_or(began);
        let mut latencies = each.into_iter().flat_map(|one| one.latencies).collect::<Vec<_>>();
        latencies.sort_unstable();
        Ok(Published { began, ended, latencies })
    }
}

async fn publish(load: Publishing, target: Target, number: usize, start: Arc<Barrier>) -> io::Result<Published> {
    let connected = target.connect(&format!("publisher-{number}"), number).await;
    // Also a connection that failed lets the others begin.
    start.wait().await;
    let mut window = Window::default();
    let mut stream = connected?;
    let mut message = Message::new(&format!("load/{number}"), load.qos);
    let (mut sent, mut packets, mut answers) = (0, Vec::new(), Vec::with_capacity(READ));
    let began = Instant::now();
    loop {
        let now = Instant::now();
        while sent < load.each && (load.qos == 0 || window.sent.len() < load.window) && packets.len() < WRITE_AT {
            message.write(packet_id(sent), &mut packets);
            sent += 1;
            if load.qos > 0 {
                window.sent.push_back(now);
            }
        }
        stream.write_all(&packets).await?;
        packets.clear();
        if sent == load.each && window.sent.is_empty() {
            break;
        }
        if load.qos > 0 {
            stream.read_buf(&mut answers).await.and_then(some)?;
            window.take(&mut answers, &mut packets)?;
        }
    }
    if load.qos == 0 {
        // Its answer comes after everything before it was read.
        stream.write_all(&packet::PING).await?;
        while stream.read_u8().await? != packet::PONG {}
    }
    let ended = Instant::now();
    stream.write_all(&packet::DISCONNECT).await?;
    Ok(Published { began, ended, latencies: window.latencies })
}

/// Messages that wait for their last acknowledgement.
#[derive(Default)]
struct Window {
    sent: VecDeque<Instant>,
    /// Of QoS 2: how many of them were received.
    received: usize,
    acknowledged: usize,
    latencies: Vec<u32>,
}

impl Window {
    /// Takes whole acknowledgements out of `answers`; what they ask for goes to `packets`.
    fn take(&mut self, answers: &mut Vec<u8>, packets: &mut Vec<u8>) -> io::Result<()> {
        let now = Instant::now();
        let whole = answers.len() / 4 * 4;
        for answer in answers[..whole].chunks_exact(4) {
            let expected = match answer[0] {
                0x40 | 0x70 => self.acknowledged,
                _ => self.received,
            };
            // [MQTT-4.6.0-2] [MQTT-4.6.0-3] they come in the order of the messages
            let id = packet_id(expected).to_be_bytes();
            if answer[1..] != [2, id[0], id[1]] || self.sent.is_empty() {
                return Err(io::Error::other(format!("{answer:?} is no acknowledgement of message {expected}")));
            }
            match answer[0] {
                0x40 | 0x70 => {
                    let sent = self.sent.pop_front().unwrap_or(now);
                    self.latencies.push(u32::try_from((now - sent).as_micros()).unwrap_or(u32::MAX));
                    self.acknowledged += 1;
                }
                0x50 => {
                    packets.extend_from_slice(&[0x62, 2, id[0], id[1]]);
                    self.received += 1;
                }
                _ => return Err(io::Error::other(format!("{answer:?} was not expected"))),
            }
        }
        answers.drain(..whole);
        Ok(())
    }
}

fn some(read: usize) -> io::Result<usize> {
    if read > 0 { Ok(read) } else { Err(io::Error::other("the broker closed a connection")) }
}

fn packet_id(sent: usize) -> u16 {
    u16::try_from(sent % 65_535 + 1).expect("a number below 65,536")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ids_are_never_zero() {
        assert_eq!([0, 65_534, 65_535].map(packet_id), [1, 65_535, 1]);
    }

    #[test]
    fn acknowledgements_come_in_pieces_and_in_order() {
        let mut window = Window { sent: VecDeque::from([Instant::now(); 2]), ..Window::default() };
        let (mut answers, mut packets) = (vec![0x40, 2, 0, 1, 0x40], Vec::new());
        assert!(window.take(&mut answers, &mut packets).is_ok());
        assert_eq!((window.acknowledged, window.sent.len(), &answers[..]), (1, 1, &[0x40][..]));
        assert!(window.take(&mut vec![0x40, 2, 0, 1], &mut packets).is_err(), "the first once more");
    }

    #[test]
    fn a_message_of_qos_2_is_released_and_then_complete() {
        let mut window = Window { sent: VecDeque::from([Instant::now()]), ..Window::default() };
        let mut packets = Vec::new();
        assert!(window.take(&mut vec![0x50, 2, 0, 1], &mut packets).is_ok());
        assert_eq!((packets, window.sent.len()), (vec![0x62, 2, 0, 1], 1));
        assert!(window.take(&mut vec![0x70, 2, 0, 1], &mut Vec::new()).is_ok());
        assert_eq!((window.latencies.len(), window.sent.len()), (1, 0));
    }
}
