//! How a session passes from one connection to the next, between workers too, and waits in between.
//!
//! 1. The new connection takes a slot that keeps whatever comes for it, and is registered as the client's present one.
//! 2. The worker of the old slot gets a letter. It closes the old connection, if there is one, hands the subscriptions to
//!    the new slot in one step, leaves a forwarding address, and gives the session away.
//! 3. The new connection goes on with the session and then with what came meanwhile.
//!
//! So no message of QoS 1 or 2 is lost on the way, and none finds both slots.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_application::ClientAccess;
use pocket_domain::TenantId;
use pocket_mqtt_core::{Authorizer, Client as Owner, Closing, Connection, Message, Offer, ReasonCode, Session, Will};
use pocket_ports::BrokerChange;
use tokio::sync::oneshot;

use crate::batch::Queued;
use crate::client::Client;
use crate::errands;
use crate::fanout::Fanout;
use crate::mailbox::Letter;
use crate::records;
use crate::subscriber::SubscriberId;
use crate::table::{Destination, Pending, Place, Sleeper};
use crate::worker::Worker;

/// How long to wait for the worker of the old connection, in milliseconds. It answers at once unless its thread is gone.
const ANSWER_WITHIN: ntex::time::Millis = ntex::time::Millis(5_000);
/// How long letters are sent after a session that moved. They are under way for milliseconds.
pub(crate) const FORWARD_FOR: Duration = Duration::from_secs(10);

/// What became of a session whose connection was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandedOver {
    /// It goes on.
    Kept,
    /// It ended, because the client began anew or it was to end with its connection.
    Ended,
}

/// Asks for a session.
#[derive(Debug)]
pub(crate) struct Request {
    /// Where the session is.
    pub(crate) from: SubscriberId,
    /// Where it goes on.
    pub(crate) to: SubscriberId,
    /// Whether it goes on at all.
    pub(crate) keep: bool,
    reply: oneshot::Sender<Option<Session>>,
}

impl Request {
    /// The same, but that the session ends if this does not hold.
    fn keep_if(self, lives_on: bool) -> Self {
        Self { keep: self.keep && lives_on, ..self }
    }
}

impl Worker {
    /// Registers a client that is connecting at `id` and takes what it left, if it goes on with that.
    pub(crate) async fn take_over(&self, owner: &Owner, id: SubscriberId, keep: bool) -> Option<Session> {
        let from = self.broker.registry.register(owner, id)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { from, to: id, keep, reply };
        self.broker.mailboxes[usize::from(from.worker)].post(Letter::TakeOver(request));
        ntex::time::timeout(ANSWER_WITHIN, answer).await.ok()?.ok()?
    }

    /// Gives a session away, or ends it.
    pub(crate) fn give_up(&self, request: Request) {
        let from = request.from;
        let destination = self.table.borrow().destination(from);
        let (request, tenant, session, index) = match destination {
            Destination::Online(client) => {
                self.counters().takeovers.add(1);
                // 3.1.1 [MQTT-3.1.2-6], 5.0 section 3.1.2.11.2: a session that ends with its connection ends here, too
                let request = request.keep_if(!client.connection.borrow().session_expiry().is_zero());
                client.handed_over.set(Some(if request.keep { HandedOver::Kept } else { HandedOver::Ended }));
                // [MQTT-3.1.4-3]
                client.close(Closing::ByServer(ReasonCode::SessionTakenOver));
                let session = client.connection.borrow_mut().take_session();
                (request, client.owner.tenant_id, session, Arc::clone(&client.index))
            }
            Destination::Waiting => match self.wake(request) {
                Ok((sleeper, request)) => {
                    // [MQTT-4.1.0-2] its time may be over since the last sweep
                    let is_over = sleeper.ends_at <= Instant::now();
                    self.counters().sessions_expired.add(is_over.into());
                    let request = request.keep_if(!is_over);
                    // [MQTT-3.1.3-9] a delayed will is cancelled when the session goes on, and due when it ends
                    if let (Some((will, _)), false) = (sleeper.will, request.keep) {
                        self.publish_will(from, &sleeper.owner, &sleeper.access, &sleeper.index, will);
                    }
                    return self.pass_on(sleeper.owner.tenant_id, request, sleeper.session, &sleeper.index);
                }
                Err(()) => return,
            },
            Destination::Moved(_) | Destination::Nobody => {
                // Nobody listens when the new connection is already gone.
                let _ = request.reply.send(None);
                return;
            }
        };
        self.pass_on(tenant, request, session, &index);
    }

    /// Takes a sleeping session out of the table. A client that is itself still connecting is asked again later.
    fn wake(&self, request: Request) -> Result<(Sleeper, Request), ()> {
        let mut table = self.table.borrow_mut();
        match table.get_mut(request.from) {
            Some(Place::Opening(pending)) => {
                pending.push(Pending::Letter(Letter::TakeOver(request)));
                Err(())
            }
            Some(place @ Place::Offline(_)) => {
                let moved = Place::Moved(request.to, Instant::now());
                let Place::Offline(sleeper) = std::mem::replace(place, moved) else { return Err(()) };
                self.broker.count_sleeper(&sleeper.owner, request.from, false);
                Ok((*sleeper, request))
            }
            _ => Err(()),
        }
    }

    fn pass_on(&self, tenant: TenantId, request: Request, mut session: Session, index: &crate::Index) {
        let Request { from, to, keep, reply } = request;
        if let Some(key) = session.key() {
            self.note_with_letters(tenant, errands::changes(key, session.take_changes()), Vec::new());
            self.run_errands();
        }
        if keep {
            index.hand_over(from, SubscriberId { session: session.key(), ..to }, session.subscriptions());
            self.table.borrow_mut().replace(from, Place::Moved(to, Instant::now()));
            // Nobody listens when the platform is stopping.
            let _ = reply.send(Some(session));
        } else {
            self.table.borrow_mut().remove(from);
            self.end_session(tenant, from, session, index);
            let _ = reply.send(None);
        }
    }

    /// A client that is refused at last leaves its slot; a session that it went on with ends.
    pub(crate) fn abandon(&self, owner: &Owner, id: SubscriberId, connection: &mut Connection) {
        self.broker.registry.forget(owner, id);
        self.table.borrow_mut().remove(id);
        let index = self.broker.index.tenant(owner.tenant_id);
        self.end_session(owner.tenant_id, id, connection.take_session(), &index);
    }

    /// Puts an accepted client into its slot and gives it what came meanwhile.
    pub(crate) fn go_online(self: &Rc<Self>, client: &Rc<Client>) {
        let present = self.table.borrow_mut().replace(client.id, Place::Online(Rc::clone(client)));
        let Some(Place::Opening(pending)) = present else { return };
        for waiting in pending {
            match waiting {
                Pending::Letter(letter) => self.handle(letter, self.broker.gateway.steady_now()),
                Pending::Delivery(delivery) => {
                    let stored = delivery.stored;
                    if !self.may_receive(&client.owner, &client.access.borrow(), &delivery.message.topic) {
                        self.forget(client.owner.tenant_id, stored);
                    } else if client.connection.borrow_mut().session().offer(delivery) == Offer::Dropped {
                        self.counters().dropped_queue_full.add(1);
                        self.forget(client.owner.tenant_id, stored);
                    }
                }
            }
        }
        self.send_queued(client, self.broker.gateway.steady_now());
        self.run_errands();
    }

    /// The connection is gone: the session waits, or ends with it.
    pub(crate) fn go_offline(&self, client: &Client) {
        let (session, will, expiry) = {
            let mut connection = client.connection.borrow_mut();
            (connection.take_session(), connection.take_will(), connection.session_expiry())
        };
        if let Some(handed_over) = client.handed_over.get() {
            let is_cancelled = |will: &Will| handed_over == HandedOver::Kept && !will.delay.is_zero();
            if let Some(will) = will.filter(|will| !is_cancelled(will)) {
                self.publish_will(client.id, &client.owner, &client.access.borrow(), &client.index, will);
            }
            return;
        }
        if expiry.is_zero() {
            self.table.borrow_mut().remove(client.id);
            self.broker.registry.forget(&client.owner, client.id);
            self.end_session(client.owner.tenant_id, client.id, session, &client.index);
            if let Some(will) = will {
                self.publish_will(client.id, &client.owner, &client.access.borrow(), &client.index, will);
            }
            return;
        }
        let now = Instant::now();
        // [MQTT-3.1.3-9] the will is due after its delay or at the end of the session, whichever is first
        let (due_will, will) = match will {
            Some(will) if will.delay.is_zero() => (Some(will), None),
            Some(will) => {
                let due = now + will.delay.min(expiry);
                (None, Some((will, due)))
            }
            None => (None, None),
        };
        let sleeper = Sleeper {
            owner: client.owner.clone(),
            access: client.access.borrow().clone(),
            index: Arc::clone(&client.index),
            session,
            left_at: self.broker.gateway.steady_now(),
            expiry,
            ends_at: now + expiry,
            will,
        };
        for subscription in sleeper.session.subscriptions() {
            sleeper.index.set_away(client.id, subscription, true);
        }
        let mut sleeper = Box::new(sleeper);
        sleeper.session.trim();
        self.broker.count_sleeper(&sleeper.owner, client.id, true);
        self.note_sleeper(&mut sleeper);
        self.table.borrow_mut().replace(client.id, Place::Offline(sleeper));
        self.run_errands();
        if let Some(will) = due_will {
            self.publish_will(client.id, &client.owner, &client.access.borrow(), &client.index, will);
        }
    }

    /// Ends a session that waits for its client, and says whose it was; `None` when it waits no more.
    pub(crate) fn end_sleeper(&self, id: SubscriberId) -> Option<Owner> {
        // It may have gone on elsewhere meanwhile.
        let Some(Place::Offline(sleeper)) =
            self.table.borrow_mut().remove_if(id, |place| matches!(place, Place::Offline(_)))
        else {
            return None;
        };
        self.broker.registry.forget(&sleeper.owner, id);
        let Sleeper { owner, access, session, index, will, .. } = *sleeper;
        self.end_session(owner.tenant_id, id, session, &index);
        // Last, so that whoever sees it gone sees its subscriptions gone.
        self.broker.count_sleeper(&owner, id, false);
        if let Some((will, _)) = will {
            self.publish_will(id, &owner, &access, &index, will);
        }
        Some(owner)
    }

    /// Publishes a will, unless a rule that came after it was accepted is against it.
    pub(crate) fn publish_will(
        &self,
        publisher: SubscriberId,
        owner: &Owner,
        access: &ClientAccess,
        index: &crate::Index,
        will: Will,
    ) {
        let Will { message, expiry, .. } = will;
        if !self.broker.authorizer(access).may_publish(owner, &message.topic) {
            self.counters().denied.add(1);
            return;
        }
        if !self.broker.gateway.accepts_will(access, &message.topic, &message.payload) {
            self.counters().rejected.add(1);
            return;
        }
        let expires_at = expiry.map(|expiry| Message::expiry(self.broker.gateway.steady_now(), expiry));
        self.publish(publisher, owner, index, &Arc::new(Message { expires_at, ..message }));
    }

    /// Removes the subscriptions of a session, and gives what a group shares to its other members.
    fn end_session(&self, tenant: TenantId, id: SubscriberId, mut session: Session, index: &crate::Index) {
        for subscription in session.subscriptions() {
            index.unsubscribe(id, subscription);
        }
        let mut queued = Queued::default();
        if let Some(key) = session.key().filter(|_| self.broker.is_stored()) {
            queued.changes.extend(session.stored().map(records::delivered));
            queued.changes.push(BrokerChange::SessionEnded(key));
        }
        for delivery in session.take_shared() {
            let group = session
                .subscriptions()
                .find(|held| held.group == delivery.group && held.filter.matches(delivery.message.topic.as_str()));
            if let Some(group) = group.and_then(|held| index.group(held)) {
                let fanout = Fanout::of_message(tenant, &delivery.message, self.broker.gateway.steady_now());
                self.share(&fanout, &group, &mut None, &mut queued);
            }
        }
        self.send_mail();
        self.note_with_letters(tenant, queued.changes, queued.letters);
        self.run_errands();
    }
}
