//! Changes of the broker's state on their way into the database.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pocket_domain::NewTelemetry;
use pocket_ports::{BrokerChange, BrokerStore, Fate, StorageError};

use super::writer::Writer;

impl Writer {
    /// Stores messages and changes in one transaction. When the database refuses that, the messages are stored for
    /// themselves first, so that none is acknowledged and missing, and then the changes.
    pub(super) async fn store_with_changes(
        &self,
        messages: Arc<[NewTelemetry]>,
        changes: Arc<[BrokerChange]>,
    ) -> Vec<Fate> {
        let Some(broker) = self.store.broker.as_ref().filter(|_| !changes.is_empty()) else {
            return self.store_all(messages).await;
        };
        match self.commit(&**broker, &messages, &changes).await {
            Ok(fates) => fates,
            Err(refusal) => {
                tracing::warn!(changes = changes.len(), %refusal, "batch refused, storing its changes apart");
                let fates = self.store_all(messages).await;
                self.apply(&**broker, changes).await;
                fates
            }
        }
    }

    /// Commits as often as it takes while the database is away. The error is a refusal that stays.
    async fn commit(
        &self,
        broker: &dyn BrokerStore,
        messages: &Arc<[NewTelemetry]>,
        changes: &Arc<[BrokerChange]>,
    ) -> Result<Vec<Fate>, StorageError> {
        let mut pause = Self::FIRST_PAUSE;
        loop {
            match broker.commit(&self.store.node, Arc::clone(messages), Arc::clone(changes)).await {
                Ok(ids) => return Ok(self.committed(ids)),
                Err(StorageError::Unavailable(cause)) => self.wait(&mut pause, &cause).await,
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Applies changes whole, or else in halves until each one at fault stands alone, which is given up.
    async fn apply(&self, broker: &dyn BrokerStore, changes: Arc<[BrokerChange]>) {
        let mut parts = vec![changes];
        while let Some(part) = parts.pop() {
            match self.commit(broker, &Arc::from([]), &part).await {
                Ok(_) => {}
                Err(refusal) if part.len() == 1 => {
                    self.counters.changes_refused.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(change = ?part[0], %refusal, "a change of the broker's state cannot be stored");
                }
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second.into());
                    parts.push(first.into());
                }
            }
        }
    }
}
