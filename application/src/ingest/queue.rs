//! The bounded queue between the transports and the writer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pocket_domain::NewTelemetry;
use pocket_ports::{BrokerChange, IngestError, Receipt, Refused, Submission};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::IngestOptions;

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

/// What a submission takes of the queue: its messages, its changes, and each delivery of a change.
fn weight(submission: &Submission) -> usize {
    let of_change = |change: &BrokerChange| match change {
        BrokerChange::Queued(_, deliveries) => 1 + deliveries.len(),
        _ => 1,
    };
    submission.messages.len() + submission.changes.iter().map(of_change).sum::<usize>()
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
    /// Their weight, as the bounds count it.
    waiting: usize,
    /// Submissions among them that do not wait for the timer.
    awaited: usize,
    /// When the oldest message came.
    oldest: Option<Instant>,
    /// The weight of what the writer took and has not finished.
    writing: usize,
    closed: bool,
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

    pub(super) fn new(options: IngestOptions) -> Self {
        Self { options, state: Mutex::default(), work: Notify::new(), room: Notify::new() }
    }

    pub(super) fn push(&self, submission: Submission) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed(submission));
        }
        if state.waiting + state.writing >= self.options.queue {
            return Err(Refused::Full(submission));
        }
        let was_empty = state.waiting == 0;
        let was_full = state.waiting >= self.options.batch;
        let awaited = is_awaited(&submission);
        state.waiting += weight(&submission);
        state.awaited += usize::from(awaited);
        if was_empty {
            state.oldest = Some(Instant::now());
        }
        state.submissions.push_back(submission);
        let is_full = state.waiting >= self.options.batch;
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
                if state.closed || state.waiting + state.writing < self.options.queue {
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
            Some(_) if state.closed || state.awaited > 0 || state.waiting >= self.options.batch => Due::Now,
            Some(oldest) => {
                let deadline = oldest + self.options.flush;
                if deadline <= Instant::now() { Due::Now } else { Due::At(deadline) }
            }
        }
    }

    fn take(&self) -> Batch {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let mut taken = 0;
        while let Some(submission) = state.submissions.pop_front() {
            taken += weight(&submission);
            state.awaited -= usize::from(is_awaited(&submission));
            batch.receipts.push((submission.messages.len(), submission.receipt));
            if batch.messages.is_empty() {
                batch.messages = submission.messages;
            } else {
                batch.messages.extend(submission.messages);
            }
            batch.changes.extend(submission.changes);
            if taken >= Self::MAX_TRANSACTION {
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
        self.lock().writing = 0;
        self.room.notify_waiters();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// Gives up what is left and tells those who wait; returns how many messages it was.
    pub(super) fn abandon(&self) -> usize {
        let mut state = self.lock();
        let left = state.waiting + state.writing;
        let submissions = std::mem::take(&mut *state).submissions;
        state.closed = true;
        drop(state);
        for receipt in submissions.into_iter().filter_map(|submission| submission.receipt) {
            receipt(Err(IngestError::Closed));
        }
        left
    }

    pub(super) fn len(&self) -> usize {
        let state = self.lock();
        state.waiting + state.writing
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
