//! What tenants do not keep any more is removed, again and again.
//!
//! Several processes may share a database: each asks, and storage lets one of them do it at a time.

use std::sync::Arc;
use std::time::Duration;

use pocket_ports::{Pruned, StorageError, TelemetryStore};

use crate::timekeeper::Timekeeper;

/// What happens by time.
#[derive(Clone, Copy, Debug)]
pub struct TimeOptions {
    /// How often what tenants do not keep any more is removed.
    pub prune_every: Duration,
    /// By how much the time of a message may be later than its arrival.
    pub max_ahead: Duration,
}

impl Default for TimeOptions {
    fn default() -> Self {
        Self { prune_every: Duration::from_secs(60), max_ahead: Duration::from_secs(600) }
    }
}

/// The task that removes it.
pub(crate) struct RetentionTask {
    pub(crate) store: Arc<dyn TelemetryStore>,
    pub(crate) time: Arc<Timekeeper>,
    pub(crate) every: Duration,
}

impl RetentionTask {
    /// Runs for ever.
    pub(crate) async fn run(self) {
        // The clocks are looked at before anything is removed.
        if let Err(error) = self.time.as_of().await {
            tracing::warn!(%error, "what the clock showed before cannot be read; trying again");
        }
        loop {
            tokio::time::sleep(self.every).await;
            match self.round().await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(rows, "a round of retention is over"),
                Err(error) => tracing::warn!(%error, "telemetry that is not kept could not be removed; trying again"),
            }
        }
    }

    /// Removes what is due, and tells how many messages went.
    async fn round(&self) -> Result<u64, StorageError> {
        let as_of = self.time.as_of().await?;
        let mut rows = 0;
        loop {
            let pruned = self.store.prune(as_of).await?;
            rows += pruned.rows;
            // A little that is left is left for the next time, and what another process is at is left to it.
            if pruned.is_done || pruned.rows < Pruned::MOST_LEFT {
                return Ok(rows);
            }
        }
    }
}
