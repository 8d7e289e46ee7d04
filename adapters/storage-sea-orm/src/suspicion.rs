//! Connections whose other side is gone without a word: a host that died, a network that forgot them.
//!
//! Who waits for an answer on one would wait for ever. So work has a limit, and whoever reaches it raises the suspicion, upon
//! which connections have to answer before they are used by the next. The server is told to be as watchful: what this side held
//! there, locks and transactions, ends when it notices.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Tells a PostgreSQL server how soon it is to notice that this side is gone, as far as it knows these settings: within a minute,
/// where the usual is two hours. In seconds, but for the last one.
pub(crate) const NOTICE_OUR_END: &str = "
    SELECT set_config(name, wanted.value, false)
    FROM (VALUES ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'),
        ('tcp_user_timeout', '60000')) AS wanted (name, value)
    JOIN pg_settings USING (name)";

/// How long connections have to answer.
const LASTS: Duration = Duration::from_secs(10);

/// The suspicion that connections do not answer.
pub(crate) struct Suspicion {
    begun: Instant,
    /// Milliseconds since then until it is over.
    until: AtomicU64,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self { begun: Instant::now(), until: AtomicU64::new(0) }
    }
}

impl Suspicion {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Somebody waited in vain.
    pub(crate) fn raise(&self) {
        self.until.store(self.now() + LASTS.as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether somebody did so lately.
    #[allow(dead_code, reason = "connections are suspected where PostgreSQL is built in")]
    pub(crate) fn is_raised(&self) -> bool {
        self.now() < self.until.load(Ordering::Relaxed)
    }
}
