//! One thread's share of the broker: its sessions, the mail it gets and the mail it writes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use pocket_domain::Timestamp;
use pocket_mqtt_core::{BatchId, Closing, GroupName, Match, Message, Outcome, Retention, SharedGroup};

use crate::broker::Broker;
use crate::fanout::Fanout;
use crate::mailbox::Letter;
use crate::router::Routes;
use crate::stats::Counters;
use crate::subscriber::SubscriberId;
use crate::table::{Destination, Pending, Place, Table};

/// Letters that are handled before other tasks of the worker get their turn.
const LETTERS_A_TURN: usize = 256;

/// The state of one worker thread. Borrows of its cells never last across an `await`.
pub(crate) struct Worker {
    pub(crate) broker: Arc<Broker>,
    pub(crate) number: u16,
    pub(crate) table: RefCell<Table>,
    /// Messages for other workers, by worker, since the last read.
    outbox: RefCell<Vec<Vec<Letter>>>,
    /// Grows with every change of access, so that a client that is just connecting notices.
    pub(crate) access_changes: Cell<u64>,
}

impl Worker {
    /// The worker of this thread, with its tasks started.
    pub(crate) fn start(broker: Arc<Broker>, number: u16) -> Rc<Self> {
        let outbox = RefCell::new((0..broker.mailboxes.len()).map(|_| Vec::new()).collect());
        let worker = Rc::new(Self { broker, number, table: RefCell::default(), outbox, access_changes: Cell::new(0) });
        ntex::rt::spawn(Rc::clone(&worker).read_mail()).detach();
        ntex::rt::spawn(Rc::clone(&worker).sweep()).detach();
        worker
    }

    /// What this worker counts.
    pub(crate) fn counters(&self) -> &Counters {
        &self.broker.counters[usize::from(self.number)]
    }

    /// Routes a message that did not come with a read, such as a will.
    pub(crate) fn publish(&self, publisher: SubscriberId, index: &crate::Index, message: &Arc<Message>) {
        if message.retain {
            self.retain(index, message);
        }
        let (_, routes) = Routes::find(index, &message.topic, self.number);
        self.route(&Fanout::of_message(message, self.broker.gateway.now()), &routes, publisher);
        self.send_mail();
    }

    /// Keeps a message that was published to be kept, or forgets the one its topic has.
    pub(crate) fn retain(&self, index: &crate::Index, message: &Arc<Message>) {
        if message.payload.is_empty() {
            index.retained().clear(&message.topic);
        } else if index.retained().keep(message, &self.broker.limits, self.broker.gateway.now()) == Retention::Full {
            self.counters().dropped_retained_full.add(1);
        }
    }

    /// Delivers to the sessions of this worker and puts the message into the outbox for the others.
    pub(crate) fn route(&self, fanout: &Fanout<'_>, routes: &Routes, publisher: SubscriberId) {
        self.deliver(fanout, &routes.local, Some(publisher), None);
        for remote in &routes.remote {
            self.write(remote.worker, fanout.message(), &remote.matches, None);
        }
        for group in &routes.groups {
            self.share(fanout, group);
        }
    }

    /// Delivers to one member of a group.
    pub(crate) fn share(&self, fanout: &Fanout<'_>, group: &SharedGroup<SubscriberId>) {
        let Some(found) = group.choose() else { return };
        if found.subscriber.worker == self.number {
            self.deliver(fanout, std::slice::from_ref(found), None, Some(&group.name));
        } else {
            let matches = Arc::new([found.clone()]) as Arc<[_]>;
            self.write(found.subscriber.worker, fanout.message(), &matches, Some(&group.name));
        }
    }

    /// Puts a message for sessions of another worker into the outbox.
    fn write(
        &self,
        worker: u16,
        message: &Arc<Message>,
        matches: &Arc<[Match<SubscriberId>]>,
        group: Option<&GroupName>,
    ) {
        let letter =
            Letter::Deliver { message: Arc::clone(message), matches: Arc::clone(matches), group: group.cloned() };
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

    /// Waits until all mailboxes have room.
    pub(crate) async fn mail_room(&self) {
        for mailbox in &self.broker.mailboxes {
            mailbox.room(&self.broker.limits).await;
        }
    }

    async fn read_mail(self: Rc<Self>) {
        let mailbox = &self.broker.mailboxes[usize::from(self.number)];
        let mut letters = Vec::new();
        loop {
            mailbox.arrival().await;
            mailbox.take(&mut letters);
            let mut now = self.broker.gateway.now();
            let mut handled = 0;
            for letter in letters.drain(..) {
                self.handle(letter, now);
                handled += 1;
                if handled % LETTERS_A_TURN == 0 {
                    tokio::task::yield_now().await;
                    now = self.broker.gateway.now();
                }
            }
        }
    }

    /// Does what a letter wants.
    pub(crate) fn handle(self: &Rc<Self>, letter: Letter, now: Timestamp) {
        match letter {
            Letter::Deliver { message, matches, group } => {
                self.deliver(&Fanout::of_message(&message, now), &matches, None, group.as_ref());
            }
            Letter::Settle { client, batch, outcome } => self.settle(client, batch, outcome),
            Letter::TakeOver(request) => self.give_up(request),
            Letter::Recheck(change) => self.access_changed(change),
            Letter::CloseAll(reason) => {
                let clients = self.table.borrow().clients();
                for client in clients {
                    client.close(Closing::ByServer(reason));
                }
            }
        }
    }

    /// The fate of a session's batch is known, wherever the session is now.
    pub(crate) fn settle(&self, id: SubscriberId, batch: BatchId, outcome: Outcome) {
        let destination = self.table.borrow().destination(id);
        match destination {
            Destination::Online(client) => {
                let send = |packet| client.send_ack(packet);
                let settled = client.connection.borrow_mut().session().settle(batch, outcome, send);
                if let Err(closing) = settled {
                    client.close(closing);
                }
                client.changed.notify_one();
            }
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
                }
                _ => {}
            },
            Destination::Nobody => {}
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.broker.return_worker(self.number);
    }
}
