//! What all sessions hold together, counted by the workers when somebody wants to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::broker::Broker;
use crate::mailbox::Letter;
use crate::worker::Worker;

/// How long to wait for workers. They answer at once unless their threads are gone.
const ANSWER_WITHIN: ntex::time::Millis = ntex::time::Millis(1_000);

/// A count that is going on.
#[derive(Debug)]
pub(crate) struct Census {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Workers that have not counted yet.
    left: AtomicUsize,
    is_complete: Notify,
}

/// What waits for clients, those that are away among them: messages of QoS 1 and 2, and their bytes. A message that waits
/// for several counts several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Broker {
    /// Has all workers count.
    pub(crate) async fn count_waiting(&self) -> Waiting {
        let census = Arc::new(Census {
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            left: AtomicUsize::new(self.mailboxes.len()),
            is_complete: Notify::new(),
        });
        self.post_to_all(|| Letter::Count(Arc::clone(&census)));
        // What was counted by then is better than nothing.
        let _ = ntex::time::timeout(ANSWER_WITHIN, census.is_complete.notified()).await;
        Waiting {
            messages: census.messages.load(Ordering::Acquire) as u64,
            bytes: census.bytes.load(Ordering::Acquire) as u64,
        }
    }
}

impl Worker {
    /// Counts what waits in the sessions of this worker.
    pub(crate) fn count(&self, census: &Census) {
        let mut table = self.table.borrow_mut();
        let online: Vec<_> = table.clients();
        let online = online.iter().map(|client| client.connection.borrow_mut().session().backlog());
        let (messages, bytes) = online
            .chain(table.sleepers_mut().map(|(_, sleeper)| sleeper.session.backlog()))
            .fold((0, 0), |(messages, bytes), (more, larger)| (messages + more, bytes + larger));
        census.messages.fetch_add(messages, Ordering::AcqRel);
        census.bytes.fetch_add(bytes, Ordering::AcqRel);
        if census.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            census.is_complete.notify_one();
        }
    }
}
