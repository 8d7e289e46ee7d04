//! One thread's share of the broker: its sessions, the mail it gets and the mail it writes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pocket_domain::{TenantId, Timestamp};
use pocket_mqtt_core::{
    Account, BatchId, Client as Owner, Closing, GroupName, Match, Message, Outcome, QoS, Retention, SharedGroup,
};
use pocket_ports::{BrokerChange, MessageRecord};

use crate::access::Rechecks;
use crate::batch::Queued;
use crate::broker::Broker;
use crate::client::Client;
use crate::errands::{self, Errands};
use crate::fanout::Fanout;
use crate::local_subscribers::LOCAL;
use crate::mailbox::Letter;
use crate::offline;
use crate::records;
use crate::refusals::Refusals;
use crate::router::{Remote, Routes};
use crate::stats::Counters;
use crate::subscriber::SubscriberId;
use crate::table::{Destination, Pending, Place, Table};

/// Letters that are handled before other tasks of the worker get their turn.
const LETTERS_A_TURN: usize = 256;

/// Who publishes a message that is to be kept.
#[derive(Clone, Copy)]
pub(crate) enum Publisher<'a> {
    /// A client, on the account of its device or person.
    Client(&'a Owner, &'a Arc<Account>),
    /// The program itself, in a tenant.
    Host(TenantId),
}

/// The state of one worker thread. Borrows of its cells never last across an `await`.
pub(crate) struct Worker {
    pub(crate) broker: Arc<Broker>,
    pub(crate) number: u16,
    pub(crate) table: RefCell<Table>,
    /// Messages for other workers, by worker, since the last read.
    outbox: RefCell<Vec<Vec<Letter>>>,
    pub(crate) errands: RefCell<Errands>,
    pub(crate) rechecks: Rechecks,
    refusals: Refusals,
}

impl Worker {
    /// The worker of this thread, with its tasks started.
    pub(crate) fn start(broker: Arc<Broker>, number: u16) -> Rc<Self> {
        let outbox = RefCell::new((0..broker.mailboxes.len()).map(|_| Vec::new()).collect());
        let table = RefCell::new(Table::with(broker.take_restored(number)));
        let errands = RefCell::default();
        let (rechecks, refusals) = (Rechecks::default(), Refusals::default());
        let worker = Rc::new(Self { broker, number, table, outbox, errands, rechecks, refusals });
        ntex::rt::spawn(Rc::clone(&worker).read_mail()).detach();
        ntex::rt::spawn(Rc::clone(&worker).sweep()).detach();
        ntex::rt::spawn(Rc::clone(&worker).tell_of_broker()).detach();
        worker
    }

    /// What this worker counts.
    pub(crate) fn counters(&self) -> &Counters {
        &self.broker.counters[usize::from(self.number)]
    }

    /// Routes a message of a client that did not come with a read, such as a will.
    pub(crate) fn publish(&self, publisher: SubscriberId, owner: &Owner, index: &crate::Index, message: &Arc<Message>) {
        let mut queued = Queued::default();
        if message.retain {
            self.retain(index, Publisher::Client(owner, &self.broker.account(owner)), message, &mut queued);
        }
        let (_, routes) = Routes::find(index, &message.topic, self.number);
        self.route(
            &Fanout::of_message(owner.tenant_id, message, self.broker.gateway.steady_now()),
            &routes,
            publisher,
            &mut queued,
        );
        self.send_mail();
        self.note_with_letters(owner.tenant_id, queued.changes, queued.letters);
        self.run_errands();
    }

    /// Keeps a message that was published to be kept, or forgets the one its topic has. `false` when there is no room for it.
    pub(crate) fn retain(
        &self,
        index: &crate::Index,
        publisher: Publisher<'_>,
        message: &Arc<Message>,
        queued: &mut Queued,
    ) -> bool {
        let (tenant_id, owner, account) = match publisher {
            Publisher::Client(owner, account) => (owner.tenant_id, Some(owner), Some(account)),
            Publisher::Host(tenant_id) => (tenant_id, None, None),
        };
        let (keys, limits) = (&self.broker.keys, &self.broker.limits);
        let is_stored = self.broker.is_stored();
        if message.payload.is_empty() {
            let cleared = index.retained().clear(&message.topic, keys).filter(|_| is_stored);
            let change = |key| BrokerChange::Cleared { tenant_id, topic: message.topic.clone(), key };
            queued.changes.extend(cleared.map(change));
            return true;
        }
        let now = self.broker.gateway.steady_now();
        match index.retained().keep_for(message, owner.cloned(), account, limits, keys, now) {
            Retention::Full => {
                self.counters().dropped_retained_full.add(1);
                return false;
            }
            Retention::Kept { key, forgotten } if is_stored => {
                let cleared = |topic| BrokerChange::Cleared { tenant_id, topic, key };
                queued.changes.extend(forgotten.into_iter().map(cleared));
                let record = records::retained_record(key, message, owner);
                queued.changes.push(BrokerChange::Retained(tenant_id, Arc::new(record)));
            }
            Retention::Kept { .. } => {}
        }
        true
    }

    /// Delivers to the sessions of this worker and puts the message into the outbox for the others. What stored sessions
    /// are to get waits in `queued` until it is handed to storage.
    pub(crate) fn route(&self, fanout: &Fanout<'_>, routes: &Routes, publisher: SubscriberId, queued: &mut Queued) {
        self.deliver(fanout, &routes.local, Some(publisher), None, None);
        for remote in &routes.remote {
            self.write(remote.worker, fanout, &remote.matches, None);
        }
        let mut record = None;
        for part in &routes.stored {
            if fanout.qos() > QoS::AtMostOnce {
                self.queue_stored(fanout, part, None, Some(publisher), &mut record, queued);
            } else if part.worker == self.number {
                self.deliver(fanout, &part.matches, Some(publisher), None, None);
            } else {
                self.write(part.worker, fanout, &part.matches, None);
            }
        }
        for group in &routes.groups {
            self.share(fanout, group, &mut record, queued);
        }
    }

    /// Delivers to one member of a group.
    pub(crate) fn share(
        &self,
        fanout: &Fanout<'_>,
        group: &SharedGroup<SubscriberId>,
        record: &mut Option<Arc<MessageRecord>>,
        queued: &mut Queued,
    ) {
        let Some(found) = group.choose() else { return };
        if found.subscriber.session.is_some() && fanout.qos_for(found) > QoS::AtMostOnce {
            let part = Remote { worker: found.subscriber.worker, matches: Arc::new([found.clone()]) };
            self.queue_stored(fanout, &part, Some(&group.name), None, record, queued);
        } else if found.subscriber.worker == self.number {
            self.deliver(fanout, std::slice::from_ref(found), None, Some(&group.name), None);
        } else {
            let matches = Arc::new([found.clone()]) as Arc<[_]>;
            self.write(found.subscriber.worker, fanout, &matches, Some(&group.name));
        }
    }

    /// Puts a message for sessions of another worker into the outbox, and gives it to subscribers inside the process.
    fn write(&self, worker: u16, fanout: &Fanout<'_>, matches: &Arc<[Match<SubscriberId>]>, group: Option<&GroupName>) {
        if worker == LOCAL {
            return self.deliver_locally(fanout.message(), matches);
        }
        let (message, matches) = (Arc::clone(fanout.message()), Arc::clone(matches));
        let tenant = fanout.tenant();
        self.write_letter(worker, Letter::Deliver { tenant, message, matches, group: group.cloned(), stored: None });
    }

    /// Puts a letter into the outbox.
    pub(crate) fn write_letter(&self, worker: u16, letter: Letter) {
        self.outbox.borrow_mut()[usize::from(worker)].push(letter);
    }

    /// Sends what is in the outbox. Returns whether a mailbox is full now; see [`Worker::mail_room`].
    pub(crate) fn send_mail(&self) -> bool {
        let mut is_full = false;
        for (mailbox, letters) in self.broker.mailboxes.iter().zip(self.outbox.borrow_mut().iter_mut()) {
            if !letters.is_empty() {
                let posted = mailbox.post_messages(letters, &self.broker.limits);
                self.counters().dropped_mailbox_full.add(posted.dropped);
                is_full |= posted.is_full;
            }
        }
        is_full
    }

    /// Waits until all mailboxes have room for a tenant.
    pub(crate) async fn mail_room(&self, tenant: TenantId) {
        for mailbox in &self.broker.mailboxes {
            mailbox.room(tenant, &self.broker.limits).await;
        }
    }

    async fn read_mail(self: Rc<Self>) {
        let mailbox = &self.broker.mailboxes[usize::from(self.number)];
        let mut letters = Vec::new();
        loop {
            mailbox.arrival().await;
            mailbox.take(&mut letters);
            let mut now = self.broker.gateway.steady_now();
            let mut handled = 0;
            for letter in letters.drain(..) {
                self.handle(letter, now);
                handled += 1;
                if handled % LETTERS_A_TURN == 0 {
                    self.run_errands();
                    tokio::task::yield_now().await;
                    now = self.broker.gateway.steady_now();
                }
            }
            self.run_errands();
        }
    }

    /// Does what a letter wants.
    pub(crate) fn handle(self: &Rc<Self>, letter: Letter, now: Timestamp) {
        match letter {
            Letter::Deliver { tenant, message, matches, group, stored } => {
                self.deliver(&Fanout::of_message(tenant, &message, now), &matches, None, group.as_ref(), stored);
            }
            Letter::Settle { client, batch, outcome } => self.settle(client, batch, outcome),
            Letter::TakeOver(request) => self.give_up(request),
            Letter::Recheck(change) => self.access_changed(change),
            Letter::EndSession(id, done) => {
                if let Some(owner) = self.end_sleeper(id) {
                    offline::tell_that_it_made_room(&owner);
                }
                // Nobody listens when the client that needs the place is gone.
                let _ = done.send(());
            }
            Letter::Publish(publish) => self.publish_local(*publish),
            Letter::ListSessions(roll) => self.enrol(&roll),
            Letter::Count(census) => self.count(&census),
            Letter::CloseAll(reason) => {
                let clients = self.table.borrow().clients();
                for client in clients {
                    client.close(Closing::ByServer(reason));
                }
            }
        }
    }

    /// The fate of a session's batch is known, wherever the session is now.
    pub(crate) fn settle(self: &Rc<Self>, id: SubscriberId, batch: BatchId, outcome: Outcome) {
        let destination = self.table.borrow().destination(id);
        match destination {
            Destination::Online(client) => self.settle_online(&client, batch, outcome),
            Destination::Moved(to) => {
                let letter = Letter::Settle { client: to, batch, outcome };
                self.broker.mailboxes[usize::from(to.worker)].post(letter);
            }
            Destination::Waiting => match self.table.borrow_mut().get_mut(id) {
                Some(Place::Opening(pending)) => {
                    pending.push(Pending::Letter(Letter::Settle { client: id, batch, outcome }));
                }
                Some(Place::Offline(sleeper)) => {
                    // There is no connection to send on, nor one to close.
                    let _ = sleeper.session.settle(batch, outcome, drop);
                    if let Some(key) = sleeper.session.key() {
                        let tenant = sleeper.owner.tenant_id;
                        self.note_with_letters(
                            tenant,
                            errands::changes(key, sleeper.session.take_changes()),
                            Vec::new(),
                        );
                    }
                }
                _ => {}
            },
            Destination::Nobody => {}
        }
    }

    fn settle_online(self: &Rc<Self>, client: &Rc<Client>, batch: BatchId, outcome: Outcome) {
        let send = |packet| client.send_ack(packet);
        let settled = client.connection.borrow_mut().session().settle(batch, outcome, send);
        self.note_session(client, Vec::new());
        match settled {
            Ok(settled) => {
                for subscription in &settled.refused {
                    client.index.unsubscribe(client.id, subscription);
                }
                self.send_retained(client, &settled.granted);
                if settled.resume {
                    self.send_queued(client, self.broker.gateway.steady_now());
                }
            }
            Err(closing) => client.close(closing),
        }
        client.changed.notify_one();
    }
}

impl Worker {
    /// Tells of limits that are reached. One worker does it for all.
    pub(crate) fn tell_of_limits(&self, now: Instant) {
        if self.number == 0 {
            self.refusals.tell(&self.broker.ledger, self.broker.pending.evicted(), now);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.broker.return_worker(self.number);
    }
}
