//! The batching ingest: a bounded queue, which tenants share, in front of one writer.
//!
//! - A batch is written when it is full, when its oldest message has waited long enough, or at once when somebody waits
//!   for it; the writer then takes all that is queued, so a batch is as large as the load makes it (group commit).
//! - A full queue is back-pressure, never a loss. A tenant holds at most its share of it, and batches take from tenants in turn.
//! - A batch that the database cannot take now is tried again until it can; one that it refuses is split until the message
//!   or change at fault stands alone. The message is put aside with its reason, the change is given up, and the rest is stored.
//! - Changes of the broker's state are committed in the transaction of the messages they came with.
//! - A receipt tells what became of each message, and which changes were given up.

mod lanes;
mod owed;
mod parts;
mod queue;
mod weight;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pocket_domain::{NodeName, TenantId, TenantShare};
use pocket_ports::{Clock, Refused, Submission, TelemetryIngest, TelemetryStore, WriteStore};

use queue::Queue;
use writer::Writer;

/// When batches are written, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestOptions {
    /// Messages that make a batch full. A change of the broker's state counts as a message, here and below.
    pub batch: usize,
    /// How long a message that nobody waits for may wait.
    pub flush: Duration,
    /// Messages that may wait; reached, no more are taken. One submission of each who submits may go beyond it.
    pub queue: usize,
    /// Bytes that these may take in memory: payloads, topics and what holds them. One submission may go beyond it.
    pub queue_bytes: usize,
    /// How much of both one tenant may take.
    pub share: TenantShare,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            batch: 100,
            flush: Duration::from_secs(2),
            queue: 100_000,
            queue_bytes: 64 << 20,
            share: TenantShare::default(),
        }
    }
}

/// Where batches are written.
#[derive(Clone)]
pub struct IngestStore {
    /// Batches.
    pub write: Arc<dyn WriteStore>,
    /// Messages that the database refuses.
    pub telemetry: Arc<dyn TelemetryStore>,
    /// Under whose name; `None`: a process without a broker, of whose state nothing is stored.
    pub node: Option<NodeName>,
}

/// What the ingest did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestStats {
    /// Messages and changes of the broker's state that wait now or are being written.
    pub queued: u64,
    /// Bytes that these take.
    pub queued_bytes: u64,
    /// Messages that are committed rows.
    pub stored: u64,
    /// Messages dropped because their device was deleted meanwhile.
    pub device_gone: u64,
    /// Messages put aside because the database refuses them.
    pub set_aside: u64,
    /// Messages that could be neither stored nor put aside; none of them was acknowledged.
    pub lost: u64,
    /// Changes of the broker's state that the database refused.
    pub changes_refused: u64,
    /// Transactions.
    pub commits: u64,
    /// Commits that failed because the database was unavailable, and were retried.
    pub retries: u64,
    /// Submissions rejected because the queue was full, or the share of their tenant.
    pub queue_full: u64,
}

/// What was given up, because it could not be stored before a deadline. None of it was acknowledged as stored. What the
/// writer was at counts, though some of it may have been committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotStored {
    /// Messages.
    pub messages: usize,
    /// Changes of the broker's state, and deliveries to sessions.
    pub changes: usize,
}

impl NotStored {
    /// Whether everything was stored.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages", self.messages)?;
        match self.changes {
            0 => Ok(()),
            changes => write!(f, " and {changes} changes of sessions and retained messages"),
        }
    }
}

#[derive(Default)]
struct Counters {
    stored: AtomicU64,
    device_gone: AtomicU64,
    set_aside: AtomicU64,
    lost: AtomicU64,
    changes_refused: AtomicU64,
    commits: AtomicU64,
    retries: AtomicU64,
    queue_full: AtomicU64,
    /// Why the last attempt failed, as long as none succeeded after it.
    trouble: Mutex<Option<String>>,
}

impl Counters {
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes messages from all transports and writes them in batches.
pub struct BatchingIngest {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    writer: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl BatchingIngest {
    /// Starts the writer on the current tokio runtime.
    pub fn start(store: IngestStore, clock: Arc<dyn Clock>, options: IngestOptions) -> Self {
        let (queue, intake) = Queue::new(options);
        let counters = Arc::<Counters>::default();
        let writer = Writer { queue: Arc::clone(&queue), counters: Arc::clone(&counters), store, clock };
        Self { queue, counters, writer: tokio::sync::Mutex::new(Some(tokio::spawn(writer.run(intake)))) }
    }

    /// Takes no more and writes what is queued, until the deadline. Returns what could not be stored; those who wait for it
    /// learn that the ingest is closed.
    pub async fn drain(&self, deadline: Duration) -> NotStored {
        self.queue.close();
        if let Some(mut writer) = self.writer.lock().await.take()
            && tokio::time::timeout(deadline, &mut writer).await.is_err()
        {
            writer.abort();
            // Wait for the abort, so that nothing is written after the count.
            let _ = writer.await;
        }
        self.queue.not_stored()
    }

    /// Why nothing can be stored at present: the last attempt failed, and the next is to come. It is known only as long as
    /// there is something to store.
    pub fn trouble(&self) -> Option<String> {
        self.counters.trouble().clone()
    }

    /// What was done since the start.
    pub fn stats(&self) -> IngestStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let held = self.queue.held();
        IngestStats {
            queued: held.entries() as u64,
            queued_bytes: held.bytes as u64,
            stored: read(&self.counters.stored),
            device_gone: read(&self.counters.device_gone),
            set_aside: read(&self.counters.set_aside),
            lost: read(&self.counters.lost),
            changes_refused: read(&self.counters.changes_refused),
            commits: read(&self.counters.commits),
            retries: read(&self.counters.retries),
            queue_full: read(&self.counters.queue_full),
        }
    }
}

#[async_trait]
impl TelemetryIngest for BatchingIngest {
    fn submit(&self, submission: Submission) -> Result<(), Refused> {
        self.queue.push(submission).inspect_err(|refused| {
            if matches!(refused, Refused::Full(_)) {
                self.counters.queue_full.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    async fn room(&self, tenant: Option<TenantId>) {
        self.queue.room(tenant).await;
    }
}

#[cfg(test)]
mod tests;
