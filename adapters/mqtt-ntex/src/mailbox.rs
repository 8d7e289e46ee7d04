//! What other threads want of a worker: messages for its clients, fates of stored batches, orders to close.
//!
//! A sender appends many letters under one lock and wakes the worker once, when the box was empty. Messages are bounded, and
//! a tenant has a share of them that leaves room for others: above the bound those of QoS 0 are dropped, and whoever sends the
//! others waits for [`Mailbox::room`] before it reads on.
//! All other letters are bounded by what they are about: a connection, or a batch that was read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pocket_domain::{TenantId, TenantShare};
use pocket_mqtt_core::{BatchId, GroupName, Limits, Match, Message, Outcome, QoS, ReasonCode, StoreKey};
use pocket_ports::AccessChange;
use tokio::sync::{Notify, oneshot};

use crate::census::Census;
use crate::device_sessions::Roll;
use crate::local_publish::LocalPublish;
use crate::subscriber::SubscriberId;
use crate::takeover::Request;

/// One wish.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Deliver a message to these clients.
    Deliver {
        /// Whose it is.
        tenant: TenantId,
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
    /// Tell the sessions of a device.
    ListSessions(Arc<Roll>),
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
    all: Load,
    tenants: HashMap<TenantId, Load>,
}

/// Messages, and what they weigh.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    messages: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.weight();
    }
}

impl Content {
    /// Whether a tenant that has so much here may have no more: the box is full, or it would leave too little room for others.
    fn is_full(&self, of_tenant: Load, limits: &Limits) -> bool {
        let share = TenantShare::of_percent(limits.tenant_share);
        let is_full =
            |held: usize, of_tenant: usize, limit: usize| held >= limit || !share.allows(of_tenant, limit - held);
        is_full(self.all.messages, of_tenant.messages, limits.mailbox_messages)
            || is_full(self.all.bytes, of_tenant.bytes, limits.mailbox_bytes)
    }

    /// Keeps what a tenant has here now, and tells whether it may have no more.
    fn note(&mut self, sender: Option<(TenantId, Load)>, limits: &Limits) -> bool {
        let Some((tenant, load)) = sender else { return false };
        self.tenants.insert(tenant, load);
        self.is_full(load, limits)
    }

    fn load_of(&self, tenant: TenantId) -> Load {
        self.tenants.get(&tenant).copied().unwrap_or_default()
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
        // Letters of one tenant follow each other: it is looked up once for all of them.
        let mut sender: Option<(TenantId, Load)> = None;
        let mut is_full = false;
        for letter in messages.drain(..) {
            if let Letter::Deliver { tenant, message, .. } = &letter {
                let (_, load) = match &mut sender {
                    Some(sender) if sender.0 == *tenant => sender,
                    _ => {
                        is_full |= content.note(sender, limits);
                        sender.insert((*tenant, content.load_of(*tenant)))
                    }
                };
                if message.qos == QoS::AtMostOnce && content.is_full(*load, limits) {
                    dropped += 1;
                    continue;
                }
                load.add(message);
                content.all.add(message);
            }
            content.letters.push(letter);
        }
        is_full |= content.note(sender, limits);
        let wake = was_empty && !content.letters.is_empty();
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
        content.all = Load::default();
        content.tenants.clear();
        drop(content);
        self.emptied.notify_waiters();
    }

    /// Waits until there is room for messages of a tenant.
    pub(crate) async fn room(&self, tenant: TenantId, limits: &Limits) {
        loop {
            let emptied = self.emptied.notified();
            let is_full = {
                let content = self.lock();
                content.is_full(content.load_of(tenant), limits)
            };
            if !is_full {
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
    use pocket_domain::{Timestamp, TopicName};

    use super::*;

    fn tenant(number: u8) -> TenantId {
        TenantId::new(Timestamp::MIN, [number; 10])
    }

    fn message(qos: QoS, payload: &'static [u8]) -> Letter {
        message_of(1, qos, payload)
    }

    fn message_of(number: u8, qos: QoS, payload: &'static [u8]) -> Letter {
        let message = Message {
            topic: TopicName::parse("t").unwrap(),
            payload: bytes::Bytes::from_static(payload),
            qos,
            retain: false,
            properties: None,
            expires_at: None,
        };
        let (tenant, message, matches) = (tenant(number), Arc::new(message), Arc::new([]));
        Letter::Deliver { tenant, message, matches, group: None, stored: None }
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
            async move { mailbox.room(tenant(1), &limits).await }
        });
        mailbox.arrival().await;
        assert!(!waiting.is_finished());
        assert_eq!(taken(&mailbox), 1);
        waiting.await.unwrap();
        mailbox.room(tenant(1), &limits).await;
    }

    #[tokio::test]
    async fn what_a_tenant_has_in_a_box_leaves_room_for_another() {
        let mailbox = Mailbox::default();
        let limits = Limits { mailbox_messages: 100, tenant_share: 80, ..Default::default() };
        let many = |number, count| (0..count).map(|_| message_of(number, QoS::AtMostOnce, b"x")).collect::<Vec<_>>();
        assert_eq!(mailbox.post_messages(&mut many(1, 200), &limits), Posted { dropped: 120, is_full: true });
        assert_eq!(mailbox.post_messages(&mut many(2, 10), &limits), Posted { dropped: 0, is_full: false });
        mailbox.room(tenant(2), &limits).await;
        // What is free is less now, and nothing of it is for the first.
        assert_eq!(mailbox.post_messages(&mut many(1, 1), &limits), Posted { dropped: 1, is_full: true });
    }
}
