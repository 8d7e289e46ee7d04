//! What tenants do not keep any more is removed, again and again.
//!
//! Several processes may share a database: each asks, and storage lets one of them do it at a time.

mod guard;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pocket_domain::Timestamp;
use pocket_ports::{Held, Pruned, PrunedTenant, StorageError, TelemetryStore};

use crate::timekeeper::Timekeeper;
use guard::{Due, Guard, Verdict};

/// What happens by time.
#[derive(Clone, Copy, Debug)]
pub struct TimeOptions {
    /// How often what tenants do not keep any more is removed.
    pub prune_every: Duration,
    /// By how much the time of a message may be later than its arrival.
    pub max_ahead: Duration,
    /// How long a removal by age waits that is out of proportion to the time that passed.
    pub removal_patience: Duration,
}

impl Default for TimeOptions {
    fn default() -> Self {
        Self {
            prune_every: Duration::from_secs(60),
            max_ahead: Duration::from_secs(600),
            removal_patience: Duration::from_secs(86_400),
        }
    }
}

/// What waits to be removed, for those who look after the platform.
#[derive(Debug, Default)]
pub struct RetentionStats {
    tenants: AtomicU64,
    rows: AtomicU64,
}

impl RetentionStats {
    /// The tenants of which a removal waits, because it is out of proportion.
    pub fn waiting_tenants(&self) -> u64 {
        self.tenants.load(Ordering::Relaxed)
    }

    /// The messages that it would remove.
    pub fn waiting_rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

/// The task that removes it.
pub(crate) struct RetentionTask {
    store: Arc<dyn TelemetryStore>,
    time: Arc<Timekeeper>,
    every: Duration,
    guard: Guard,
    stats: Arc<RetentionStats>,
}

impl RetentionTask {
    pub(crate) fn new(
        store: Arc<dyn TelemetryStore>,
        time: Arc<Timekeeper>,
        options: TimeOptions,
        stats: Arc<RetentionStats>,
    ) -> Self {
        Self { store, time, every: options.prune_every, guard: Guard::new(options.removal_patience), stats }
    }

    /// Runs for ever.
    pub(crate) async fn run(mut self) {
        // The clocks are looked at before anything is removed.
        if let Err(error) = self.time.as_of().await {
            tracing::warn!(%error, "the last known time cannot be read; trying again");
        }
        loop {
            tokio::time::sleep(self.every).await;
            match self.round().await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(rows, "a round of retention is over"),
                Err(error) => tracing::warn!(%error, "expired telemetry could not be removed; trying again"),
            }
        }
    }

    /// Removes what is due, and tells how many messages went.
    async fn round(&mut self) -> Result<u64, StorageError> {
        let as_of = self.time.as_of().await?;
        let tenants = self.store.pruned_tenants().await?;
        self.guard.forget_but(&tenants);
        let mut held = Held::new();
        for tenant in &tenants {
            if let Some(to) = self.goes_to(tenant, as_of).await? {
                held.insert(tenant.id, to);
            }
        }
        let (waiting, rows) = self.guard.waiting();
        self.stats.tenants.store(waiting, Ordering::Relaxed);
        self.stats.rows.store(rows, Ordering::Relaxed);
        let mut rows = 0;
        loop {
            let pruned = self.store.prune_within(as_of, &held).await?;
            rows += pruned.rows;
            if pruned.is_done {
                self.note(&tenants, &held).await?;
                return Ok(rows);
            }
            // A little that is left is left for the next time, and what another process is at is left to it.
            if pruned.rows < Pruned::MOST_LEFT {
                return Ok(rows);
            }
        }
    }

    /// The time up to which a tenant's messages are removed, as far as that is in proportion.
    async fn goes_to(&mut self, tenant: &PrunedTenant, as_of: Timestamp) -> Result<Option<Timestamp>, StorageError> {
        let now = Instant::now();
        let Some(Due { to, explained }) = self.guard.due(tenant, as_of, now) else { return Ok(None) };
        if to <= explained {
            self.guard.judge(tenant.id, 0, 0, now);
            return Ok(Some(to));
        }
        let (due, before) = (self.store.expired(tenant.id, to).await?, self.store.expired(tenant.id, explained).await?);
        let rows = guard::unexplained(due, before);
        let (id, all) = (tenant.id, due.of);
        match self.guard.judge(id, rows, all, now) {
            Verdict::Go => Ok(Some(to)),
            Verdict::GoAtLast => {
                self.guard.reached(tenant, to, now);
                tracing::warn!(tenant = %id, rows, all, before = %to, "a suspiciously large removal starts after its waiting time");
                Ok(Some(to))
            }
            Verdict::Wait { is_new } => {
                if is_new {
                    tracing::warn!(
                        tenant = %id, rows, all, before = %to, explained = %explained, as_of = %as_of,
                        "most of a history is due for removal, and the elapsed time does not explain it; on hold until the retention of the tenant is set again, or until the waiting time is over"
                    );
                }
                Ok(Some(explained))
            }
        }
    }

    /// Keeps how far tenants are pruned.
    async fn note(&mut self, tenants: &[PrunedTenant], held: &Held) -> Result<(), StorageError> {
        for tenant in tenants {
            let Some(to) = held.get(&tenant.id) else { continue };
            // What waits is measured by what was reached before.
            if !self.guard.is_waiting(tenant.id) && self.guard.reached(tenant, *to, Instant::now()) {
                self.store.keep_pruned(tenant.id, *to).await?;
            }
        }
        Ok(())
    }
}
