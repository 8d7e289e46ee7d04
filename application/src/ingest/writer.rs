//! The one writer: takes batches from the queue and sees each message to its end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pocket_domain::{Excerpt, NewTelemetry, NodeName, TelemetryId};
use pocket_ports::{Clock, Fate, Settled, StorageError, WriteBatch};

use super::parts::{Part, Split};
use super::queue::{Awaited, Batch, Intake, Queue};
use super::{Counters, IngestStore};

/// The beginning of a text for the log: a refusal may repeat what a client sent.
struct Brief<'a>(&'a str);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 512;
        let mut chars = self.0.chars();
        for character in chars.by_ref().take(MOST) {
            write!(f, "{}", character.escape_debug())?;
        }
        if chars.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// What became of a batch.
#[derive(Default)]
struct Stored {
    /// Of each message, in order.
    fates: Vec<Fate>,
    /// The places of changes that were given up, in growing order.
    refused_changes: Vec<usize>,
}

pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) counters: Arc<Counters>,
    pub(super) store: IngestStore,
    pub(super) clock: Arc<dyn Clock>,
}

impl Writer {
    const FIRST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    pub(super) async fn run(self, mut intake: Intake) {
        while let Some(batch) = intake.next().await {
            let Batch { messages, changes, receipts, owners, .. } = batch;
            let Stored { fates, refused_changes } =
                self.store(WriteBatch::of_messages(messages).with_changes(changes)).await;
            self.count(&fates);
            let (mut fates, mut refused, mut first) = (&fates[..], &refused_changes[..], 0);
            for Awaited { messages, changes, receipt } in receipts {
                let (these, others) = fates.split_at(messages);
                fates = others;
                let count = refused.iter().take_while(|place| **place < first + changes).count();
                let (mine, of_others) = refused.split_at(count);
                refused = of_others;
                let mine: Vec<usize> = mine.iter().map(|place| place - first).collect();
                first += changes;
                receipt.give(Settled::new(these).without_changes(&mine));
            }
            self.queue.written(owners);
        }
    }

    /// Stores a batch whole, or else in parts until each message or change at fault stands alone.
    async fn store(&self, batch: WriteBatch) -> Stored {
        let mut stored = Stored::default();
        let mut parts = vec![Part::whole(batch)];
        while let Some(part) = parts.pop() {
            let refusal = match self.commit(&part.batch).await {
                Ok(fates) => {
                    stored.fates.extend(fates);
                    continue;
                }
                Err(refusal) => refusal,
            };
            match part.split() {
                Split::Parts(first, second) => {
                    tracing::warn!(
                        messages = first.batch.messages.len() + second.batch.messages.len(),
                        changes = first.batch.changes.len() + second.batch.changes.len(),
                        refusal = %Brief(&refusal.to_string()), "batch refused, splitting it"
                    );
                    parts.push(second);
                    parts.push(first);
                }
                Split::Message(message) => stored.fates.push(self.set_aside(&message, &refusal).await),
                Split::Change(place, change) => {
                    self.counters.changes_refused.fetch_add(1, Ordering::Relaxed);
                    let (change, refusal) = (format!("{change:?}"), refusal.to_string());
                    tracing::error!(
                        change = %Brief(&change), refusal = %Brief(&refusal),
                        "a change of the broker's state cannot be stored"
                    );
                    stored.refused_changes.push(place);
                }
                Split::Nothing => {}
            }
        }
        stored
    }

    /// Commits as often as it takes while the database is away, or while another process has the name of this one. The error is
    /// a refusal that stays.
    async fn commit(&self, batch: &WriteBatch) -> Result<Vec<Fate>, StorageError> {
        let mut pause = Self::FIRST_PAUSE;
        let mut is_told = false;
        while !batch.is_empty() {
            match self.store.write.commit(self.store.node.as_ref(), batch.clone()).await {
                Ok(committed) => return Ok(self.committed(committed.ids)),
                Err(StorageError::Unavailable(cause)) => self.wait(&mut pause, &cause).await,
                Err(StorageError::Conflict(conflict)) => {
                    if !is_told {
                        let node = self.store.node.as_ref().map(NodeName::as_str);
                        tracing::error!(node, %conflict, "nothing can be stored any more; nothing is acknowledged");
                        is_told = true;
                    }
                    self.wait(&mut pause, &conflict.to_string()).await;
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(Vec::new())
    }

    fn committed(&self, ids: Vec<Option<TelemetryId>>) -> Vec<Fate> {
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        *self.counters.trouble() = None;
        ids.into_iter().map(|id| id.map_or(Fate::DeviceGone, Fate::Stored)).collect()
    }

    async fn set_aside(&self, message: &NewTelemetry, refusal: &StorageError) -> Fate {
        let reason = refusal.to_string();
        tracing::error!(device = %message.device_id, topic = %Excerpt(message.topic.as_str()), %reason, "message moved to the dead letters");
        let mut pause = Self::FIRST_PAUSE;
        loop {
            match self.store.telemetry.set_aside(message, &reason, self.clock.now()).await {
                Ok(()) => {
                    *self.counters.trouble() = None;
                    return Fate::SetAside;
                }
                // A device that is deleted meanwhile takes its dead letters along.
                Err(StorageError::NotFound) => return Fate::DeviceGone,
                Err(StorageError::Unavailable(cause)) => self.wait(&mut pause, &cause).await,
                Err(error) => {
                    tracing::error!(%error, device = %message.device_id, ?message, "message could not be moved to the dead letters");
                    return Fate::Lost;
                }
            }
        }
    }

    async fn wait(&self, pause: &mut Duration, cause: &str) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        *self.counters.trouble() = Some(cause.to_owned());
        tracing::warn!(%cause, retry_in = ?*pause, queued = self.queue.held().entries(), "cannot store, trying again");
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(Self::LONGEST_PAUSE);
    }

    fn count(&self, fates: &[Fate]) {
        let (mut stored, mut gone, mut aside, mut lost) = (0, 0, 0, 0);
        for fate in fates {
            match fate {
                Fate::Stored(_) => stored += 1,
                Fate::DeviceGone => gone += 1,
                Fate::SetAside => aside += 1,
                Fate::Lost => lost += 1,
            }
        }
        self.counters.stored.fetch_add(stored, Ordering::Relaxed);
        self.counters.device_gone.fetch_add(gone, Ordering::Relaxed);
        self.counters.set_aside.fetch_add(aside, Ordering::Relaxed);
        self.counters.lost.fetch_add(lost, Ordering::Relaxed);
    }
}
