//! The door through which batches are written.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::NodeName;
use pocket_ports::{CommittedBatch, StorageError, WriteBatch, WriteStore};

use crate::append::append;
use crate::database::Database;
use crate::error::Error;
use crate::writers::WriterName;

/// Batches into a database.
pub(crate) struct Batches(pub(crate) Arc<Database>);

#[async_trait]
impl WriteStore for Batches {
    async fn commit(&self, node: Option<&NodeName>, batch: WriteBatch) -> Result<CommittedBatch, StorageError> {
        let node = node.cloned();
        self.0.run_to_its_end(move |db| async move { write(&db, node.as_ref(), &batch).await }).await
    }
}

/// Commits a batch of a node, or of this process.
pub(crate) async fn write(db: &Database, node: Option<&NodeName>, batch: &WriteBatch) -> Result<CommittedBatch, Error> {
    let mut writer = db.writers.get(node.map_or(WriterName::Process, WriterName::Node)).await;
    append(db, &mut writer, node, batch).await
}
