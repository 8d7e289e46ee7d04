//! Batches: nothing is ever lost on the way, so a number is a count.

use async_trait::async_trait;
use pocket_domain::NodeName;
use pocket_ports::{BatchNumber, CommittedBatch, StorageError, WriteBatch, WriteStore};

use crate::Memory;

#[async_trait]
impl WriteStore for Memory {
    async fn commit(&self, node: Option<&NodeName>, batch: WriteBatch) -> Result<CommittedBatch, StorageError> {
        let mut state = self.state();
        let ids = batch.messages.iter().map(|message| state.append(message)).collect();
        if let Some(node) = node {
            let broker = state.brokers.entry(node.clone()).or_default();
            for change in batch.changes.iter() {
                broker.apply(change);
            }
        }
        let last = state.batches.entry(node.cloned()).or_default();
        *last += 1;
        let number = BatchNumber::MIN.saturating_add(*last - 1);
        Ok(CommittedBatch::new(number, ids))
    }
}
