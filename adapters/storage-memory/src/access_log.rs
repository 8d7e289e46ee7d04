//! The log of changes of access.

use async_trait::async_trait;
use pocket_ports::{AccessLog, LoggedChange, StorageError};

use crate::Memory;

#[async_trait]
impl AccessLog for Memory {
    async fn after(&self, sequence: u64, limit: u32) -> Result<Vec<LoggedChange>, StorageError> {
        let state = self.state();
        let entries = state.log.iter().map(|(_, entry)| *entry);
        Ok(entries.filter(|entry| entry.sequence > sequence).take(limit as usize).collect())
    }

    async fn latest(&self) -> Result<u64, StorageError> {
        Ok(self.state().last_sequence)
    }
}
