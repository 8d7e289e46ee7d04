//! Subscribers inside the process, as the workers see them: found in the index like all others, and given their messages
//! at once by whichever worker routes them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use pocket_mqtt_core::{Match, Message, QoS};
use pocket_ports::AccessChange;
use tokio::sync::watch;

use crate::local_access::LocalAccess;
use crate::local_queue::LocalQueue;
use crate::stats::Tally;
use crate::subscriber::SubscriberId;
use crate::worker::Worker;

/// Stands in a subscriber's id for the worker that it does not have.
pub(crate) const LOCAL: u16 = u16::MAX;

/// All of them, and the clients they belong to.
#[derive(Debug)]
pub(crate) struct LocalSubscribers {
    queues: RwLock<HashMap<u64, Arc<LocalQueue>>>,
    clients: Mutex<Vec<Weak<LocalAccess>>>,
    is_closed: watch::Sender<bool>,
}

impl Default for LocalSubscribers {
    fn default() -> Self {
        Self { queues: RwLock::default(), clients: Mutex::default(), is_closed: watch::Sender::new(false) }
    }
}

impl LocalSubscribers {
    /// Opens a queue and the id under which it is found.
    pub(crate) fn open(&self, serial: u64) -> (SubscriberId, Arc<LocalQueue>) {
        let queue = Arc::<LocalQueue>::default();
        self.queues.write().unwrap_or_else(PoisonError::into_inner).insert(serial, Arc::clone(&queue));
        if *self.is_closed.borrow() {
            queue.close();
        }
        (SubscriberId { serial, slot: 0, worker: LOCAL, session: None }, queue)
    }

    /// Forgets a queue.
    pub(crate) fn remove(&self, id: SubscriberId) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).remove(&id.serial);
    }

    /// A client that is to hear of changes of its access.
    pub(crate) fn register(&self, client: &Arc<LocalAccess>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(client));
    }

    /// Has the clients concerned ask for their access anew.
    pub(crate) fn access_changed(&self, change: AccessChange) {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        for client in clients.iter().filter_map(Weak::upgrade) {
            client.access_changed(change);
        }
        drop(clients);
        self.for_each(LocalQueue::wake);
    }

    /// The broker is gone: no message comes any more, and none is taken.
    pub(crate) fn close(&self) {
        self.is_closed.send_replace(true);
        self.for_each(LocalQueue::close);
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.is_closed.borrow()
    }

    /// Does something unless the broker ends before it is done; then `None`.
    pub(crate) async fn unless_closed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut is_closed = self.is_closed.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            // The sender lives as long as this.
            _ = is_closed.wait_for(|is_closed| *is_closed) => None,
        }
    }

    fn for_each(&self, what: impl Fn(&LocalQueue)) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.values().for_each(|queue| what(queue));
    }

    fn get(&self, id: SubscriberId) -> Option<Arc<LocalQueue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(&id.serial).cloned()
    }
}

impl Worker {
    /// Gives a message to subscribers inside the process.
    pub(crate) fn deliver_locally(&self, message: &Arc<Message>, matches: &[Match<SubscriberId>]) {
        let mut tally = Tally::default();
        for found in matches {
            // [MQTT-3.8.4-8] the lower of the two
            let qos = message.qos.min(found.qos);
            let Some(queue) = self.broker.local.get(found.subscriber) else { continue };
            if queue.offer(message, qos, &self.broker.limits) {
                tally.add(qos, message.payload.len());
            } else if qos == QoS::AtMostOnce {
                self.counters().dropped_unsent.add(1);
            } else {
                self.counters().dropped_queue_full.add(1);
            }
        }
        self.counters().messages_out(&tally);
    }
}
