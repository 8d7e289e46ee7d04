//! Spreads changes of who may be connected: at once within this process, by the access log to all others.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pocket_ports::{AccessChange, AccessLog, DeviceSessions};
use tokio::time::Instant;

use crate::credential_cache::CredentialCache;
use crate::known_people::KnownPeople;
use crate::ticks::ticks;

/// Tells the connections of this process about changes made here and elsewhere.
#[derive(Default)]
pub struct AccessWatch {
    sessions: OnceLock<Arc<dyn DeviceSessions>>,
    known: Arc<CredentialCache>,
    people: Arc<KnownPeople>,
}

impl AccessWatch {
    /// How often the log is read, so how soon a change made by another process takes effect.
    pub const POLL: Duration = Duration::from_secs(1);
    /// Entries read at once.
    const LIMIT: u32 = 1_000;
    /// How far behind the newest entry the log is read again, for entries that were committed out of order.
    const OVERLAP: u64 = 256;

    /// Names the connections to tell; the first call counts.
    pub fn attach(&self, sessions: Arc<dyn DeviceSessions>) {
        if self.sessions.set(sessions).is_err() {
            tracing::warn!("connections are watched already");
        }
    }

    /// The credentials that are forgotten when they change.
    pub(crate) fn known(&self) -> Arc<CredentialCache> {
        Arc::clone(&self.known)
    }

    /// The people who are forgotten when they change.
    pub(crate) fn people(&self) -> Arc<KnownPeople> {
        Arc::clone(&self.people)
    }

    /// Tells of a change that this process made.
    pub(crate) fn announce(&self, change: AccessChange) {
        // First, so that a connection that is judged anew is not judged by what was.
        self.known.forget(change);
        self.people.forget(change);
        if let Some(sessions) = self.sessions.get() {
            sessions.access_changed(change);
        }
    }

    /// Reads the log for ever. Judging a connection twice is harmless, so the changes of this process come by again.
    pub(crate) async fn follow(&self, log: Arc<dyn AccessLog>) {
        let (mut newest, mut epoch) = (None, log.epoch());
        let mut seen = VecDeque::new();
        let mut timer = ticks(Self::POLL);
        loop {
            timer.tick().await;
            if let Err(error) = self.read(&*log, &mut newest, &mut epoch, &mut seen).await {
                tracing::warn!(%error, "cannot read the access log, trying again");
            }
        }
    }

    async fn read(
        &self,
        log: &dyn AccessLog,
        newest: &mut Option<u64>,
        of_epoch: &mut u64,
        seen: &mut VecDeque<u64>,
    ) -> Result<(), pocket_ports::StorageError> {
        let (began, epoch) = (Instant::now(), log.epoch());
        let Some(last) = *newest else {
            let latest = log.latest().await?;
            if log.epoch() == epoch {
                *newest = Some(latest);
                self.known.log_was_read(began);
            }
            return Ok(());
        };
        let entries = log.after(last.saturating_sub(Self::OVERLAP), Self::LIMIT).await;
        // Asking may be what finds another server.
        if log.epoch() != *of_epoch {
            *of_epoch = log.epoch();
            tracing::info!("the database may not be what it was; all access is judged anew");
            (*newest, *seen) = (None, VecDeque::new());
            self.announce(AccessChange::Everything);
            return Ok(());
        }
        let entries = entries?;
        let is_at_end = entries.len() < Self::LIMIT as usize;
        for entry in entries {
            if seen.contains(&entry.sequence) {
                continue;
            }
            seen.push_back(entry.sequence);
            *newest = (*newest).max(Some(entry.sequence));
            self.announce(entry.change);
        }
        if is_at_end {
            self.known.log_was_read(began);
        }
        // Twice the overlap is enough to recognise whatever is read again.
        while seen.len() as u64 > 2 * Self::OVERLAP {
            seen.pop_front();
        }
        Ok(())
    }
}
