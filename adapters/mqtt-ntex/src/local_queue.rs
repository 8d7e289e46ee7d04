//! Messages that wait for a subscriber inside the process.
//!
//! Bounded as what waits for a client is: of QoS 0 as much as its socket may leave unsent, of QoS 1 and 2 as much as a
//! session's queue takes. Both stand in one line, so the order is that of the broker. Nobody who publishes waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pocket_mqtt_core::{Limits, Message, QoS};
use tokio::sync::Notify;

/// The queue of one subscription.
#[derive(Debug, Default)]
pub(crate) struct LocalQueue {
    content: Mutex<Content>,
    changed: Notify,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Content {
    messages: VecDeque<(Arc<Message>, QoS)>,
    bytes: usize,
    is_closed: bool,
}

/// What there is to take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A message, at this QoS.
    Message(Arc<Message>, QoS),
    /// Nothing yet.
    Nothing,
    /// Nothing, for ever.
    Closed,
}

impl LocalQueue {
    /// Adds a message at a QoS; `false` when there is no room and it is lost to this subscriber.
    pub(crate) fn offer(&self, message: &Arc<Message>, qos: QoS, limits: &Limits) -> bool {
        let weight = message.weight();
        let mut content = self.lock();
        // One always has a place, so that a reader who keeps up misses nothing.
        let has_room = content.messages.len() < limits.queued_messages.max(1)
            && match qos {
                QoS::AtMostOnce => content.bytes < limits.unsent_bytes,
                // A message that is larger than the bound by itself passes when it is alone.
                _ => content.messages.is_empty() || content.bytes + weight <= limits.queued_bytes,
            };
        if has_room {
            content.bytes += weight;
            content.messages.push_back((Arc::clone(message), qos));
        }
        drop(content);
        if has_room {
            self.changed.notify_one();
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// Takes the oldest message.
    pub(crate) fn next(&self) -> Next {
        let mut content = self.lock();
        match content.messages.pop_front() {
            Some((message, qos)) => {
                content.bytes -= message.weight();
                Next::Message(message, qos)
            }
            None if content.is_closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    /// Waits until there may be something new to see. The queue has one reader.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Has the reader look around.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// No more is to come.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.wake();
    }

    /// Messages that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::TopicName;

    use super::*;

    fn message(payload: &'static [u8]) -> Arc<Message> {
        Arc::new(Message {
            topic: TopicName::parse("t").unwrap(),
            payload: bytes::Bytes::from_static(payload),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
            expires_at: None,
        })
    }

    fn offer(queue: &LocalQueue, payload: &'static [u8], qos: QoS, limits: &Limits) -> bool {
        queue.offer(&message(payload), qos, limits)
    }

    #[test]
    fn messages_are_bounded_at_every_qos() {
        let limits = Limits { queued_messages: 2, ..Default::default() };
        for qos in QoS::ALL {
            let queue = LocalQueue::default();
            assert_eq!([1, 2, 3].map(|_| offer(&queue, b"1", qos, &limits)), [true, true, false]);
            assert_eq!((queue.next(), queue.dropped()), (Next::Message(message(b"1"), qos), 1));
            assert!(offer(&queue, b"1", qos, &limits));
        }
    }

    #[test]
    fn bytes_are_bounded_sooner_at_qos_0() {
        let weight = message(b"1").weight();
        let limits = Limits { unsent_bytes: 2 * weight, queued_bytes: 3 * weight, ..Default::default() };
        let queue = LocalQueue::default();
        assert!(offer(&queue, b"1", QoS::AtMostOnce, &limits) && offer(&queue, b"1", QoS::AtMostOnce, &limits));
        assert!(!offer(&queue, b"1", QoS::AtMostOnce, &limits));
        assert!(offer(&queue, b"1", QoS::AtLeastOnce, &limits) && !offer(&queue, b"1", QoS::AtLeastOnce, &limits));
        let large = LocalQueue::default();
        assert!(offer(&large, &[b'1'; 2_000], QoS::AtLeastOnce, &limits));
        assert!(!offer(&large, b"1", QoS::AtLeastOnce, &limits));
    }

    #[test]
    fn what_came_before_the_end_is_still_taken() {
        let queue = LocalQueue::default();
        assert_eq!(queue.next(), Next::Nothing);
        offer(&queue, b"1", QoS::AtMostOnce, &Limits::default());
        queue.close();
        assert!(matches!(queue.next(), Next::Message(..)));
        assert_eq!(queue.next(), Next::Closed);
    }
}
