//! Storage in memory: the reference implementation of the storage ports.
//!
//! One lock around plain collections, so that each method is as short as its contract. For tests, examples and
//! embedders who keep nothing: all is lost when the last clone of the [`Storage`] is dropped, and
//! the history grows until the process has no memory left.
//!
//! Architecture invariant: no method waits, so the lock is never held across an `.await`.

mod access_log;
mod access_rules;
mod aggregate;
mod broker;
mod dead_letters;
mod device_logins;
mod devices;
mod import;
mod latest;
mod name_pattern;
mod presence;
mod retention;
mod scan;
mod state;
mod telemetry;
mod tenants;
mod topic_rules;
mod users;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pocket_ports::{Storage, StorageError, StorageHealth};

use crate::state::State;

/// An empty storage.
pub fn storage() -> Storage {
    let memory = Arc::new(Memory::default());
    Storage {
        tenants: memory.clone(),
        users: memory.clone(),
        devices: memory.clone(),
        device_logins: memory.clone(),
        presence: memory.clone(),
        access_rules: memory.clone(),
        topic_rules: memory.clone(),
        write: memory.clone(),
        telemetry: memory.clone(),
        dead_letters: memory.clone(),
        broker: Some(memory.clone()),
        sessions: Some(memory.clone()),
        access_log: memory.clone(),
        health: memory,
    }
}

#[derive(Default)]
struct Memory(Mutex<State>);

impl Memory {
    /// The state. One that a panic left behind is still used: every method checks before it changes anything.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StorageHealth for Memory {
    async fn check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn damaged_chunks(&self) -> u64 {
        0
    }

    async fn close(&self) {}
}
