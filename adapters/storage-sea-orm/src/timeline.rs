//! Whether the database is still the one that was read before.
//!
//! A server that fails over to a copy, or that is started on an older one, has forgotten what was committed last, and gives the
//! same keys to other things. What is cached holds for one life of one server. So each new connection tells which life it
//! meets, and a writer that finds its row behind what it committed says so as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What tells one life of a server, of a database and of its tables from another.
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "a SQLite file has no server"))]
pub(crate) const LIFE: &str = "SELECT concat_ws('/', extract(epoch FROM pg_postmaster_start_time()),
        (SELECT oid FROM pg_database WHERE datname = current_database()), to_regclass('telemetry')::oid) AS life";

/// The lives of the database that this process met.
#[derive(Default)]
pub(crate) struct Timeline {
    life: Mutex<Option<String>>,
    epoch: AtomicU64,
}

impl Timeline {
    /// Grows whenever what was known of the database may be wrong. What was read holds as long as it is the same as before the
    /// reading began.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A connection was opened to this life of the database.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "a SQLite file has no server"))]
    pub(crate) fn meets(&self, life: String) {
        let mut known = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| *known != life) {
            tracing::info!("the database server was restarted or replaced; caches cleared");
            self.turn();
        }
        *known = Some(life);
    }

    /// What is known may be wrong.
    pub(crate) fn turn(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}
