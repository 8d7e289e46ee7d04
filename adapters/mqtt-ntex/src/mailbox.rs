//! What other threads want of a worker: messages for its clients, fates of stored batches, orders to close.
//!
//! A sender appends many letters under one lock and wakes the worker once, when the box was empty. Messages are bounded:
//! above the bound those of QoS 0 are dropped, and whoever sends the others waits for [`Mailbox::room`] before it reads on.
//! All other letters are bounded by what they are about: a connection, or a batch that was read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pocket_mqtt_core::{BatchId, GroupName, Limits, Match, Message, Outcome, QoS, ReasonCode, StoreKey};
use pocket_ports::AccessChange;
use tokio::sync::{Notify, oneshot};

use crate::census::Census;
use crate::local_publish::LocalPublish;
use crate::subscriber::SubscriberId;
use crate::takeover::Request;

/// One wish.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Deliver a message to these clients.
    Deliver {
        /// The message.
        message: Arc<Message>,
        /// Who gets it.
        matches: Arc<[Match<SubscriberId>]>,
        /// The group for which they were chosen.
        group: Option<GroupName>,
        /// How the deliveries are stored, if they are.
        stored: Option<StoredAt>,
    },
    /// The fate of a batch of messages is known.
    Settle {
        /// Whose batch.
        client: SubscriberId,
        /// Which batch.
        batch: BatchId,
        /// Its fate.
        outcome: Outcome,
    },
    /// Give a session to the new connection of its client.
    TakeOver(Request),
    /// End a session that waits for its client, and say so.
    EndSession(SubscriberId, oneshot::Sender<()>),
    /// Judge the connections concerned anew.
    Recheck(AccessChange),
    /// Publish a message that comes from inside the process.
    Publish(Box<LocalPublish>),
    /// Count what waits in sessions.
    Count(Arc<Census>),
    /// Close all connections.
    CloseAll(ReasonCode),
}

/// The keys of stored deliveries of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredAt {
    pub(crate) message: StoreKey,
    /// The delivery to the first subscriber of a letter; those of the others follow.
    pub(crate) first: StoreKey,
}

/// The letters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    content: Mutex<Content>,
    arrived: Notify,
    emptied: Notify,
}

/// What became of messages that were posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    /// Those of QoS 0 that found no room.
    pub(crate) dropped: u64,
    /// Whether the sender is to wait for room.
    pub(crate) is_full: bool,
}

#[derive(Debug, Default)]
struct Content {
    letters: Vec<Letter>,
    messages: usize,
    bytes: usize,
}

impl Content {
    fn is_full(&self, limits: &Limits) -> bool {
        self.messages >= limits.mailbox_messages || self.bytes >= limits.mailbox_bytes
    }
}

impl Mailbox {
    /// Adds one letter that is not a message.
    pub(crate) fn post(&self, letter: Letter) {
        let mut content = self.lock();
        let was_empty = content.letters.is_empty();
        content.letters.push(letter);
        drop(content);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Adds messages and leaves `messages` empty.
    pub(crate) fn post_messages(&self, messages: &mut Vec<Letter>, limits: &Limits) -> Posted {
        let mut dropped = 0;
        let mut content = self.lock();
        let was_empty = content.letters.is_empty();
        for letter in messages.drain(..) {
            if let Letter::Deliver { message, .. } = &letter {
                if message.qos == QoS::AtMostOnce && content.is_full(limits) {
                    dropped += 1;
                    continue;
                }
                content.messages += 1;
                content.bytes += message.weight();
            }
            content.letters.push(letter);
        }
        let wake = was_empty && !content.letters.is_empty();
        let is_full = content.is_full(limits);
        drop(content);
        if wake {
            self.arrived.notify_one();
        }
        Posted { dropped, is_full }
    }

    /// Waits for letters.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Takes all letters; `letters`, empty, takes their place.
    pub(crate) fn take(&self, letters: &mut Vec<Letter>) {
        let mut content = self.lock();
        std::mem::swap(&mut content.letters, letters);
        content.messages = 0;
        content.bytes = 0;
        drop(content);
        self.emptied.notify_waiters();
    }

    /// Waits until there is room for messages.
    pub(crate) async fn room(&self, limits: &Limits) {
        loop {
            let emptied = self.emptied.notified();
            if !self.lock().is_full(limits) {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::TopicName;

    use super::*;

    fn message(qos: QoS, payload: &'static [u8]) -> Letter {
        let message = Message {
            topic: TopicName::parse("t").unwrap(),
            payload: bytes::Bytes::from_static(payload),
            qos,
            retain: false,
            properties: None,
            expires_at: None,
        };
        Letter::Deliver { message: Arc::new(message), matches: Arc::new([]), group: None, stored: None }
    }

    fn taken(mailbox: &Mailbox) -> usize {
        let mut letters = Vec::new();
        mailbox.take(&mut letters);
        letters.len()
    }

    #[test]
    fn a_full_box_takes_no_more_of_qos_0() {
        let mailbox = Mailbox::default();
        let limits = Limits { mailbox_messages: 2, ..Default::default() };
        let mut messages: Vec<Letter> = (0..3).map(|_| message(QoS::AtMostOnce, b"x")).collect();
        assert_eq!(mailbox.post_messages(&mut messages, &limits), Posted { dropped: 1, is_full: true });
        let mut reliable = vec![message(QoS::AtLeastOnce, b"x")];
        assert_eq!(mailbox.post_messages(&mut reliable, &limits), Posted { dropped: 0, is_full: true });
        assert_eq!(taken(&mailbox), 3);
        let mut next = vec![message(QoS::AtMostOnce, b"x")];
        assert_eq!(mailbox.post_messages(&mut next, &limits), Posted { dropped: 0, is_full: false });
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mailbox = Mailbox::default();
        let mut messages: Vec<Letter> = (0..3).map(|_| message(QoS::AtMostOnce, b"x")).collect();
        let Letter::Deliver { message, .. } = &messages[0] else { unreachable!("it is a message") };
        let limits = Limits { mailbox_bytes: 2 * message.weight(), ..Default::default() };
        assert_eq!(mailbox.post_messages(&mut messages, &limits).dropped, 1);
        assert_eq!(taken(&mailbox), 2);
    }

    #[tokio::test]
    async fn a_sender_waits_until_a_full_box_is_emptied() {
        let mailbox = Arc::new(Mailbox::default());
        let limits = Limits { mailbox_messages: 1, ..Default::default() };
        mailbox.post_messages(&mut vec![message(QoS::AtLeastOnce, b"x")], &limits);
        let waiting = tokio::spawn({
            let (mailbox, limits) = (Arc::clone(&mailbox), limits.clone());
            async move { mailbox.room(&limits).await }
        });
        mailbox.arrival().await;
        assert!(!waiting.is_finished());
        assert_eq!(taken(&mailbox), 1);
        waiting.await.unwrap();
        mailbox.room(&limits).await;
    }
}
