//! Retained messages on their way to new subscribers.
//!
//! A filter may match many more messages than a socket or a session's queue takes at once. They are looked up and sent in
//! small parts as room becomes free, one subscription of a client after the other, so however often a client subscribes, its
//! connection keeps no more than one part and the names of the subscriptions that are still to come.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use ntex::time::{Millis, sleep};
use pocket_mqtt_core::{Match, Message, NewSubscription, Own, QoS, RetainHandling, RetainedCursor};

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
/// Topics that are looked at before other tasks of the worker get their turn.
const TOPICS_A_TURN: usize = 256;

/// The subscriptions of a client whose retained messages are still to be sent.
#[derive(Default)]
pub(crate) struct RetainedQueue {
    waiting: VecDeque<NewSubscription>,
    is_running: bool,
}

impl RetainedQueue {
    /// Adds a subscription, in place of one with the same filter: what that would have sent, this one sends.
    fn push(&mut self, new: &NewSubscription) {
        self.waiting.retain(|waiting| waiting.subscription.filter != new.subscription.filter);
        self.waiting.push_back(new.clone());
    }
}

impl Worker {
    /// Sends the retained messages that new subscriptions ask for.
    pub(crate) fn send_retained(self: &Rc<Self>, client: &Rc<Client>, granted: &[NewSubscription]) {
        let mut place = client.retained.borrow_mut();
        for new in granted {
            let is_wanted = match new.subscription.options.retain_handling {
                RetainHandling::AtSubscribe => true,
                RetainHandling::AtSubscribeNew => new.is_new,
                RetainHandling::Never => false,
            };
            // [MQTT-3.3.1-9] a shared subscription gets none
            if is_wanted && new.subscription.group.is_none() {
                place.get_or_insert_default().push(new);
            }
        }
        let Some(queue) = &mut *place else { return };
        if queue.waiting.len() > self.broker.limits.subscriptions {
            // Those that were given up meanwhile; of the others there cannot be more.
            let mut connection = client.connection.borrow_mut();
            let session = connection.session();
            queue.waiting.retain(|new| session.holds(&new.subscription));
        }
        if queue.waiting.is_empty() || queue.is_running {
            return;
        }
        queue.is_running = true;
        drop(place);
        let mut sending = Sending { worker: Rc::clone(self), client: Rc::clone(client), present: None };
        // What there is room for leaves at once, behind SUBACK.
        let next = sending.send_some();
        if next != Next::Done {
            ntex::rt::spawn(sending.run(next)).detach();
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

/// The task that sends a client its retained messages.
struct Sending {
    worker: Rc<Worker>,
    client: Rc<Client>,
    present: Option<Present>,
}

/// The subscription that is being served.
struct Present {
    new: NewSubscription,
    found: Match<SubscriberId>,
    /// Messages that were looked up and not sent.
    part: std::vec::IntoIter<Arc<Message>>,
    /// Where the look-up goes on.
    rest: Option<RetainedCursor>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Others get their turn.
    Yield,
    /// There is no room at the moment.
    Wait,
    /// What the broker tells of itself is to be asked for.
    AskForStatus,
    /// Nothing is left.
    Done,
}

impl Sending {
    async fn run(mut self, mut next: Next) {
        loop {
            match next {
                Next::Done => return,
                Next::Yield => tokio::task::yield_now().await,
                Next::Wait => sleep(PAUSE).await,
                Next::AskForStatus => {
                    if let Some(present) = &mut self.present {
                        present.part = self.worker.status_for(&present.new).await.into_iter();
                    }
                }
            }
            next = self.send_some();
        }
    }

    /// Sends what there is room for, as much as a turn allows.
    fn send_some(&mut self) -> Next {
        let mut work = 0;
        loop {
            if self.client.closing().is_some() {
                self.client.retained.take();
                return Next::Done;
            }
            let Some(present) = &mut self.present else {
                match self.begin() {
                    Some(next) => return next,
                    None => continue,
                }
            };
            if present.part.len() > 0 {
                let is_stored = present.found.subscriber.session.is_some() && present.found.qos > QoS::AtMostOnce;
                let found = present.found.clone();
                // What is stored comes to the session by mail, so its queue has to be looked at again and again.
                for sent in 0.. {
                    if !self.has_room(&found) || (is_stored && sent == STORED_AT_A_TIME) {
                        return Next::Wait;
                    }
                    let message = self.present.as_mut().and_then(|present| present.part.next());
                    let Some(message) = message else { break };
                    self.send(&found, &message);
                }
                continue;
            }
            let Some(place) = present.rest.take() else {
                self.present = None;
                continue;
            };
            if work >= TOPICS_A_TURN {
                present.rest = Some(place);
                return Next::Yield;
            }
            work += self.look_up(&place, TOPICS_A_TURN - work);
        }
    }

    /// Begins with the next subscription that is still held, if there is one.
    fn begin(&mut self) -> Option<Next> {
        let mut place = self.client.retained.borrow_mut();
        let Some(new) = place.as_mut().and_then(|queue| queue.waiting.pop_front()) else {
            *place = None;
            return Some(Next::Done);
        };
        drop(place);
        if !self.client.connection.borrow_mut().session().holds(&new.subscription) {
            return None;
        }
        let is_status = new.subscription.filter.is_of_broker();
        self.present = Some(Present {
            found: found(self.client.id, &new),
            new,
            part: Vec::new().into_iter(),
            rest: (!is_status).then(RetainedCursor::default),
        });
        is_status.then_some(Next::AskForStatus)
    }

    /// Looks a part of the messages up, of so many topics at most. Returns how many were looked at.
    fn look_up(&mut self, place: &RetainedCursor, most: usize) -> usize {
        let Some(present) = &mut self.present else { return 0 };
        // [MQTT-3.8.3-3] not what the client itself published
        let but_of = present.new.subscription.options.no_local.then_some(&self.client.owner);
        let (retained, now) = (self.client.index.retained(), self.worker.broker.gateway.steady_now());
        let part = retained.part(&present.new.subscription.filter, place, but_of, most, now);
        present.part = part.messages.into_iter();
        present.rest = part.rest;
        part.work
    }

    fn has_room(&self, found: &Match<SubscriberId>) -> bool {
        let limits = &self.worker.broker.limits;
        self.client.may_buffer(self.client.unsent(), limits.unsent_bytes / 2)
            && (found.qos == QoS::AtMostOnce
                || self.client.connection.borrow_mut().session().queued() < (limits.queued_messages / 2).max(1))
    }

    fn send(&self, found: &Match<SubscriberId>, message: &Arc<Message>) {
        let worker = &self.worker;
        let (tenant, now) = (self.client.owner.tenant_id, worker.broker.gateway.steady_now());
        if message.is_expired(now) {
            return;
        }
        let fanout = Fanout::of_message(tenant, message, now);
        if found.subscriber.session.is_none() || fanout.qos_for(found) == QoS::AtMostOnce {
            return worker.deliver(&fanout, std::slice::from_ref(found), None, None, None);
        }
        let part = Remote { worker: worker.number, matches: Arc::new([found.clone()]) };
        let mut queued = Queued::default();
        worker.queue_stored(&fanout, &part, None, None, &mut None, &mut queued);
        worker.note_with_letters(tenant, queued.changes, queued.letters);
        worker.run_errands();
    }
}
