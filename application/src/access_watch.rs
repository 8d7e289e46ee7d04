//! Spreads changes of who may be connected: at once within this process, by the access log to all others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    /// Ends of sessions that this process told its connections of, or is about to, until the log tells of them. A client that
    /// comes back meanwhile begins a new session, which must not end as well.
    ended: Mutex<VecDeque<AccessChange>>,
}

impl AccessWatch {
    /// How often the log is read, so how soon a change made by another process takes effect.
    pub const POLL: Duration = Duration::from_secs(1);
    /// Entries read at once.
    const LIMIT: u32 = 1_000;
    /// Ends of sessions that are remembered.
    const MOST_ENDED: usize = 10_000;
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

    /// The connections of this process, if it has any.
    pub(crate) fn sessions(&self) -> Option<&Arc<dyn DeviceSessions>> {
        self.sessions.get()
    }

    /// Remembers that this process is about to log the end of a session, and to announce it.
    pub(crate) fn begin_end(&self, change: AccessChange) {
        let mut ended = self.ended();
        if ended.len() >= Self::MOST_ENDED {
            ended.pop_front();
        }
        ended.push_back(change);
    }

    /// Forgets an end of a session that this process logged, or could not log; `false` when it is of another process.
    pub(crate) fn forget_end(&self, change: AccessChange) -> bool {
        let mut ended = self.ended();
        let place = ended.iter().position(|own| *own == change);
        place.is_some_and(|place| ended.remove(place).is_some())
    }

    fn ended(&self) -> MutexGuard<'_, VecDeque<AccessChange>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Reads the log for ever. Judging a connection twice is harmless, so the changes of this process come by again, but for ends of
    /// sessions.
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
            tracing::info!("the database may have been replaced; all access is checked again");
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
            let is_own = matches!(entry.change, AccessChange::Session { .. }) && self.forget_end(entry.change);
            if !is_own {
                self.announce(entry.change);
            }
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
