//! The one writer: takes batches from the queue and sees each message to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pocket_domain::{NewTelemetry, TelemetryId};
use pocket_ports::{Clock, Fate, StorageError};

use super::queue::{Batch, Intake, Queue};
use super::{Counters, IngestStore};

pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) counters: Arc<Counters>,
    pub(super) store: IngestStore,
    pub(super) clock: Arc<dyn Clock>,
}

impl Writer {
    pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    pub(super) async fn run(self, mut intake: Intake) {
        while let Some(batch) = intake.next().await {
            let Batch { messages, changes, receipts, weight, .. } = batch;
            let fates = self.store_with_changes(messages.into(), changes.into()).await;
            self.count(&fates);
            let mut rest = &fates[..];
            for (count, receipt) in receipts {
                let (these, others) = rest.split_at(count);
                rest = others;
                receipt.give(these);
            }
            self.queue.written(weight);
        }
    }

    /// Stores a batch whole, or else in halves until each message at fault stands alone.
    pub(super) async fn store_all(&self, messages: Arc<[NewTelemetry]>) -> Vec<Fate> {
        let mut fates = Vec::with_capacity(messages.len());
        let mut parts = vec![messages];
        while let Some(part) = parts.pop() {
            match self.append(&part).await {
                Ok(stored) => fates.extend(stored),
                Err(refusal) if part.len() == 1 => fates.push(self.set_aside(&part[0], &refusal).await),
                Err(refusal) => {
                    tracing::warn!(messages = part.len(), %refusal, "batch refused, splitting it");
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second.into());
                    parts.push(first.into());
                }
            }
        }
        fates
    }

    /// Appends as often as it takes while the database is away. The error is a refusal that stays.
    async fn append(&self, part: &Arc<[NewTelemetry]>) -> Result<Vec<Fate>, StorageError> {
        let mut pause = Self::FIRST_PAUSE;
        loop {
            match self.store.telemetry.append(Arc::clone(part)).await {
                Ok(ids) => return Ok(self.committed(ids)),
                Err(StorageError::Unavailable(cause)) => self.wait(&mut pause, &cause).await,
                Err(refusal) => return Err(refusal),
            }
        }
    }

    pub(super) fn committed(&self, ids: Vec<Option<TelemetryId>>) -> Vec<Fate> {
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        *self.counters.trouble() = None;
        ids.into_iter().map(|id| id.map_or(Fate::DeviceGone, Fate::Stored)).collect()
    }

    async fn set_aside(&self, message: &NewTelemetry, refusal: &StorageError) -> Fate {
        let reason = refusal.to_string();
        tracing::error!(device = %message.device_id, topic = %message.topic, %reason, "message put aside");
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
                    tracing::error!(%error, device = %message.device_id, ?message, "message cannot be put aside");
                    return Fate::Lost;
                }
            }
        }
    }

    pub(super) async fn wait(&self, pause: &mut Duration, cause: &str) {
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
