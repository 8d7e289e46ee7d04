//! Retained messages on their way to new subscribers.
//!
//! A filter may match many more messages than a socket or a session's queue takes at once. They are sent as room becomes
//! free, so a new subscriber gets all of them, and its connection keeps no more than pointers to what is still to come.

use std::rc::Rc;
use std::sync::Arc;

use ntex::time::{Millis, sleep};
use pocket_mqtt_core::{Match, Message, NewSubscription, Own, QoS, RetainHandling};

use crate::batch::Queued;
use crate::client::Client;
use crate::fanout::Fanout;
use crate::router::Remote;
use crate::subscriber::SubscriberId;
use crate::worker::Worker;

/// How long to wait for room.
const PAUSE: Millis = Millis(5);
/// Messages that are handed to storage before the session's queue is looked at again.
const STORED_AT_A_TIME: usize = 64;

impl Worker {
    /// Sends the retained messages that new subscriptions ask for.
    pub(crate) fn send_retained(self: &Rc<Self>, client: &Rc<Client>, granted: &[NewSubscription]) {
        let now = self.broker.gateway.steady_now();
        for new in granted {
            let is_wanted = match new.subscription.options.retain_handling {
                RetainHandling::AtSubscribe => true,
                RetainHandling::AtSubscribeNew => new.is_new,
                RetainHandling::Never => false,
            };
            // [MQTT-3.3.1-9] a shared subscription gets none
            if !is_wanted || new.subscription.group.is_some() {
                continue;
            }
            if new.subscription.filter.is_of_broker() {
                self.send_status(client, new);
            } else {
                let (retained, filter) = (client.index.retained(), &new.subscription.filter);
                let messages = match new.subscription.options.no_local {
                    // [MQTT-3.8.3-3] not what the client itself published
                    true => retained.matches_of_others(filter, &client.owner, now),
                    false => retained.matches(filter, now),
                };
                self.send_kept(client, new, messages);
            }
        }
    }

    /// Sends a new subscriber messages that were there before it.
    pub(crate) fn send_kept(self: &Rc<Self>, client: &Rc<Client>, new: &NewSubscription, messages: Vec<Arc<Message>>) {
        if !messages.is_empty() {
            let found = found(client.id, new);
            let sending = Sending { worker: Rc::clone(self), client: Rc::clone(client), found };
            sending.start(messages);
        }
    }
}

/// The subscription as if it had been found for each of its retained messages.
fn found(subscriber: SubscriberId, new: &NewSubscription) -> Match<SubscriberId> {
    Match {
        subscriber,
        qos: new.subscription.options.qos,
        own: Own::Same,
        // [MQTT-3.3.1-8] a retained message that is sent because of a new subscription says so
        retain_as_published: true,
        identifiers: new.subscription.identifier.into_iter().collect(),
    }
}

struct Sending {
    worker: Rc<Worker>,
    client: Rc<Client>,
    found: Match<SubscriberId>,
}

impl Sending {
    /// Sends what there is room for now, and the rest later.
    fn start(self, messages: Vec<Arc<Message>>) {
        let mut messages = messages.into_iter();
        let is_stored = self.found.subscriber.session.is_some();
        while !is_stored && self.has_room() {
            let Some(message) = messages.next() else { return };
            self.send(&message);
        }
        ntex::rt::spawn(async move {
            for (place, message) in messages.enumerate() {
                // What is stored comes to the session by mail, so its queue has to be looked at again and again.
                if is_stored && place % STORED_AT_A_TIME == STORED_AT_A_TIME - 1 {
                    sleep(PAUSE).await;
                }
                while !self.has_room() {
                    sleep(PAUSE).await;
                    if self.client.closing().is_some() {
                        return;
                    }
                }
                self.send(&message);
            }
        })
        .detach();
    }

    fn has_room(&self) -> bool {
        let limits = &self.worker.broker.limits;
        self.client.unsent() < limits.unsent_bytes / 2
            && (self.found.qos == QoS::AtMostOnce
                || self.client.connection.borrow_mut().session().queued() < limits.queued_messages / 2)
    }

    fn send(&self, message: &Arc<Message>) {
        let worker = &self.worker;
        let fanout = Fanout::of_message(message, worker.broker.gateway.steady_now());
        if self.found.subscriber.session.is_none() || fanout.qos_for(&self.found) == QoS::AtMostOnce {
            return worker.deliver(&fanout, std::slice::from_ref(&self.found), None, None, None);
        }
        let part = Remote { worker: worker.number, matches: Arc::new([self.found.clone()]) };
        let mut queued = Queued::default();
        worker.queue_stored(&fanout, &part, None, None, &mut None, &mut queued);
        worker.note_with_letters(queued.changes, queued.letters);
        worker.run_errands();
    }
}
