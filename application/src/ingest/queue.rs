//! The bounded queue between the transports and the writer.
//!
//! Who submits takes no lock and waits for nobody: a submission goes on a channel, and what is held in memory is counted. The
//! writer puts batches together at its own end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pocket_domain::NewTelemetry;
use pocket_ports::{BrokerChange, Refused, Submission};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

use super::owed::Owed;
use super::weight::{Held, Weight};
use super::{IngestOptions, NotStored};

/// The end of those who submit.
pub(super) struct Queue {
    options: IngestOptions,
    sender: UnboundedSender<Queued>,
    /// All that is in memory, also what is being written.
    held: Held,
    room: Notify,
    is_closed: AtomicBool,
    closing: Notify,
}

/// A submission on its way.
struct Queued {
    messages: Vec<NewTelemetry>,
    changes: Vec<BrokerChange>,
    receipt: Owed,
    weight: Weight,
    is_awaited: bool,
}

impl Queued {
    fn new(submission: Submission) -> Self {
        let (weight, is_awaited) = (Weight::of(&submission), is_awaited(&submission));
        let Submission { messages, changes, receipt } = submission;
        Self { messages, changes, receipt: Owed::new(receipt), weight, is_awaited }
    }

    fn into_submission(self) -> Submission {
        Submission { messages: self.messages, changes: self.changes, receipt: self.receipt.take_back() }
    }
}

/// Whether a submission is written as soon as the writer is idle: because somebody waits for it, or because a client was
/// told of it already. That a delivery is over can wait; forgotten, the message comes once more.
fn is_awaited(submission: &Submission) -> bool {
    let is_told = |change: &BrokerChange| {
        matches!(change, BrokerChange::SessionKept(_) | BrokerChange::SessionEnded(_) | BrokerChange::Queued(..))
    };
    submission.receipt.is_some() || submission.changes.iter().any(is_told)
}

impl Queue {
    /// A queue, and the end of its writer.
    pub(super) fn new(options: IngestOptions) -> (Arc<Self>, Intake) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Arc::new(Self {
            options,
            sender,
            held: Held::default(),
            room: Notify::new(),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
        });
        (Arc::clone(&queue), Intake { queue, receiver, batch: Batch::default() })
    }

    pub(super) fn push(&self, submission: Submission) -> Result<(), Refused> {
        if self.is_closed() {
            return Err(Refused::Closed(submission));
        }
        if !self.has_room() {
            return Err(Refused::Full(submission));
        }
        let queued = Queued::new(submission);
        let weight = queued.weight;
        // Counted before it is sent, so that the writer does not take off what is not there yet.
        self.held.add(weight);
        self.sender.send(queued).map_err(|unsent| {
            self.held.take_off(weight);
            Refused::Closed(unsent.0.into_submission())
        })
    }

    /// Waits until less is queued than allowed, or the queue is closed.
    pub(super) async fn room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.is_closed() || self.has_room() {
                return;
            }
            room.await;
        }
    }

    fn has_room(&self) -> bool {
        let held = self.held();
        held.entries() < self.options.queue && held.bytes < self.options.queue_bytes
    }

    /// The writer is done with what it took.
    pub(super) fn written(&self, batch: Weight) {
        self.held.take_off(batch);
        self.room.notify_waiters();
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.closing.notify_one();
        self.room.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// What the writer left, once it is gone.
    pub(super) fn not_stored(&self) -> NotStored {
        let Weight { messages, changes, .. } = self.held();
        NotStored { messages, changes }
    }

    /// All that waits or is being written.
    pub(super) fn held(&self) -> Weight {
        self.held.now()
    }
}

/// Who waits for the next messages and changes of a batch.
pub(super) struct Awaited {
    pub(super) messages: usize,
    pub(super) changes: usize,
    pub(super) receipt: Owed,
}

/// Messages that are written together, and who waits for which of them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<NewTelemetry>,
    pub(super) changes: Vec<BrokerChange>,
    /// Who waits for what, in order.
    pub(super) receipts: Vec<Awaited>,
    pub(super) weight: Weight,
    /// Whether some of it does not wait for the timer.
    is_awaited: bool,
    /// When the first of it was taken from the queue.
    oldest: Option<Instant>,
}

impl Batch {
    /// The most messages of one transaction; larger ones gain no speed and make the others wait.
    const MOST: usize = 10_000;
    /// The most bytes of one transaction, which the database's driver copies once or twice.
    const MOST_BYTES: usize = 8 << 20;

    fn is_whole(&self) -> bool {
        self.weight.entries() >= Self::MOST || self.weight.bytes >= Self::MOST_BYTES
    }

    fn add(&mut self, queued: Queued) {
        self.oldest.get_or_insert_with(Instant::now);
        self.weight += queued.weight;
        self.is_awaited |= queued.is_awaited;
        let (messages, changes) = (queued.messages.len(), queued.changes.len());
        self.receipts.push(Awaited { messages, changes, receipt: queued.receipt });
        if self.messages.is_empty() {
            self.messages = queued.messages;
        } else {
            self.messages.extend(queued.messages);
        }
        self.changes.extend(queued.changes);
    }
}

/// The end of the writer.
pub(super) struct Intake {
    queue: Arc<Queue>,
    receiver: UnboundedReceiver<Queued>,
    /// What the next transaction has so far.
    batch: Batch,
}

impl Intake {
    /// The next batch when it is due, with all that was queued until then, as far as one transaction takes it; `None` when the
    /// queue is closed and empty.
    pub(super) async fn next(&mut self) -> Option<Batch> {
        loop {
            let is_closed = self.queue.is_closed();
            if is_closed {
                self.receiver.close();
            }
            while !self.batch.is_whole()
                && let Ok(queued) = self.receiver.try_recv()
            {
                self.batch.add(queued);
            }
            let oldest = self.batch.oldest;
            let is_full = self.batch.weight.entries() >= self.queue.options.batch;
            if oldest.is_some() && (is_closed || is_full || self.batch.is_awaited) {
                return Some(std::mem::take(&mut self.batch));
            }
            let timer = async {
                match oldest {
                    Some(oldest) => sleep_until(oldest + self.queue.options.flush).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                queued = self.receiver.recv() => self.batch.add(queued?),
                () = self.queue.closing.notified() => {}
                () = timer => return Some(std::mem::take(&mut self.batch)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use pocket_ports::{Fate, Settled};

    use super::super::tests::message;
    use super::*;

    fn submission(given: &Arc<AtomicUsize>) -> Submission {
        let given = Arc::clone(given);
        let receipt: pocket_ports::Receipt = Box::new(move |settled| {
            assert_eq!(settled, Ok(Settled::new(&[Fate::DeviceGone])));
            given.fetch_add(1, Ordering::SeqCst);
        });
        Submission { messages: vec![message("1")], changes: Vec::new(), receipt: Some(receipt) }
    }

    /// Submits without a pause until the queue is closed; how many were taken.
    fn submit_until_closed(queue: &Queue, given: &Arc<AtomicUsize>) -> usize {
        let mut taken = 0;
        loop {
            match queue.push(submission(given)) {
                Ok(()) => taken += 1,
                Err(Refused::Full(_)) => std::thread::yield_now(),
                // Whoever gets it back has the receipt too; it must not be called.
                Err(Refused::Closed(submission)) => {
                    assert!(submission.receipt.is_some());
                    return taken;
                }
            }
        }
    }

    #[tokio::test]
    async fn what_was_taken_while_the_queue_is_closed_is_written_to_the_last() {
        for round in 0..50 {
            let (queue, mut intake) = Queue::new(IngestOptions { queue: 100, ..IngestOptions::default() });
            let given = Arc::new(AtomicUsize::new(0));
            let submit = || {
                let (queue, given) = (Arc::clone(&queue), Arc::clone(&given));
                std::thread::spawn(move || submit_until_closed(&queue, &given))
            };
            let threads = [submit(), submit(), submit()];
            let mut written = 0;
            while let Some(batch) = intake.next().await {
                written += batch.messages.len();
                for Awaited { messages, receipt, .. } in batch.receipts {
                    receipt.give(Settled::new(&vec![Fate::DeviceGone; messages]));
                }
                queue.written(batch.weight);
                if written > round * 20 {
                    queue.close();
                }
            }
            let taken: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!((taken, given.load(Ordering::SeqCst), queue.held()), (written, written, Weight::default()));
        }
    }
}
