//! The bounded queue between the transports and the writer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pocket_domain::NewTelemetry;
use pocket_ports::{BrokerChange, IngestError, Receipt, Refused, Submission};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::weight::Weight;
use super::{IngestOptions, NotStored};

/// Messages that are written together, and who waits for which of them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<NewTelemetry>,
    pub(super) changes: Vec<BrokerChange>,
    /// How many messages each receipt, in order, is about; `None` where nobody waits.
    pub(super) receipts: Vec<(usize, Option<Receipt>)>,
}

pub(super) struct Queue {
    options: IngestOptions,
    state: Mutex<State>,
    work: Notify,
    room: Notify,
}

/// Whether a submission is written as soon as the writer is idle: because somebody waits for it, or because a client was
/// told of it already. That a delivery is over can wait; forgotten, the message comes once more.
fn is_awaited(submission: &Submission) -> bool {
    let is_told = |change: &BrokerChange| {
        matches!(change, BrokerChange::SessionKept(_) | BrokerChange::SessionEnded(_) | BrokerChange::Queued(..))
    };
    submission.receipt.is_some() || submission.changes.iter().any(is_told)
}

#[derive(Default)]
struct State {
    submissions: VecDeque<Submission>,
    waiting: Weight,
    /// Submissions among them that do not wait for the timer.
    awaited: usize,
    /// When the oldest message came.
    oldest: Option<Instant>,
    /// What the writer took and has not finished.
    writing: Weight,
    closed: bool,
}

impl State {
    /// All that is in memory.
    fn held(&self) -> Weight {
        let mut held = self.waiting;
        held += self.writing;
        held
    }

    fn has_room(&self, options: &IngestOptions) -> bool {
        let held = self.held();
        held.entries() < options.queue && held.bytes < options.queue_bytes
    }
}

enum Due {
    Now,
    At(Instant),
    WhenSomethingComes,
    Never,
}

impl Queue {
    /// The most messages of one transaction; larger ones gain no speed and make the others wait.
    const MAX_TRANSACTION: usize = 10_000;
    /// The most bytes of one transaction, which the database's driver copies once or twice.
    const MAX_TRANSACTION_BYTES: usize = 8 << 20;

    pub(super) fn new(options: IngestOptions) -> Self {
        Self { options, state: Mutex::default(), work: Notify::new(), room: Notify::new() }
    }

    pub(super) fn push(&self, submission: Submission) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed(submission));
        }
        if !state.has_room(&self.options) {
            return Err(Refused::Full(submission));
        }
        let was_empty = state.submissions.is_empty();
        let was_full = state.waiting.entries() >= self.options.batch;
        let awaited = is_awaited(&submission);
        state.waiting += Weight::of(&submission);
        state.awaited += usize::from(awaited);
        if was_empty {
            state.oldest = Some(Instant::now());
        }
        state.submissions.push_back(submission);
        let is_full = state.waiting.entries() >= self.options.batch;
        drop(state);
        // The writer sleeps through messages that neither fill the batch nor are the first to be timed.
        if was_empty || awaited || (is_full && !was_full) {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Waits until less is queued than allowed, or the queue is closed.
    pub(super) async fn room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let state = self.lock();
                if state.closed || state.has_room(&self.options) {
                    return;
                }
            }
            room.await;
        }
    }

    /// The next batch when it is due; `None` when the queue is closed and empty.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            let due = self.due();
            match due {
                Due::Now => return Some(self.take()),
                Due::Never => return None,
                Due::WhenSomethingComes => self.work.notified().await,
                Due::At(deadline) => {
                    // Either way the state is looked at again.
                    let _ = tokio::time::timeout_at(deadline, self.work.notified()).await;
                }
            }
        }
    }

    fn due(&self) -> Due {
        let state = self.lock();
        match state.oldest {
            None if state.closed => Due::Never,
            None => Due::WhenSomethingComes,
            Some(_) if state.closed || state.awaited > 0 || state.waiting.entries() >= self.options.batch => Due::Now,
            Some(oldest) => {
                let deadline = oldest + self.options.flush;
                if deadline <= Instant::now() { Due::Now } else { Due::At(deadline) }
            }
        }
    }

    fn take(&self) -> Batch {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let mut taken = Weight::default();
        while let Some(submission) = state.submissions.pop_front() {
            taken += Weight::of(&submission);
            state.awaited -= usize::from(is_awaited(&submission));
            batch.receipts.push((submission.messages.len(), submission.receipt));
            if batch.messages.is_empty() {
                batch.messages = submission.messages;
            } else {
                batch.messages.extend(submission.messages);
            }
            batch.changes.extend(submission.changes);
            if taken.entries() >= Self::MAX_TRANSACTION || taken.bytes >= Self::MAX_TRANSACTION_BYTES {
                break;
            }
        }
        state.waiting -= taken;
        state.writing = taken;
        // What stays behind came later, so its time is counted from now.
        state.oldest = (!state.submissions.is_empty()).then(Instant::now);
        batch
    }

    /// The writer is done with what it took.
    pub(super) fn written(&self) {
        self.lock().writing = Weight::default();
        self.room.notify_waiters();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// Gives up what is left and tells those who wait.
    pub(super) fn abandon(&self) -> NotStored {
        let mut state = self.lock();
        let Weight { messages, changes, .. } = state.held();
        let submissions = std::mem::take(&mut *state).submissions;
        state.closed = true;
        drop(state);
        for receipt in submissions.into_iter().filter_map(|submission| submission.receipt) {
            receipt(Err(IngestError::Closed));
        }
        NotStored { messages, changes }
    }

    /// All that waits or is being written.
    pub(super) fn held(&self) -> Weight {
        self.lock().held()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
