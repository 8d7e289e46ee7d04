//! What is known of a bridge while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pocket_domain::Timestamp;
use pocket_ports::{BridgeState, Clock};

use crate::config::BridgeConfig;

/// The most characters of an error that are kept.
const MOST_WORDS: usize = 500;

/// Counters and the last error of a bridge.
pub(crate) struct Status {
    clock: Arc<dyn Clock>,
    is_connected: AtomicBool,
    since: Mutex<Option<Timestamp>>,
    last_error: Mutex<Option<(Timestamp, String)>>,
    pub(crate) incoming: AtomicU64,
    pub(crate) outgoing: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Status {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            is_connected: AtomicBool::new(false),
            since: Mutex::default(),
            last_error: Mutex::default(),
            incoming: AtomicU64::new(0),
            outgoing: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Both sides are connected, or not any more.
    pub(crate) fn set_connected(&self, is_connected: bool) {
        if self.is_connected.swap(is_connected, Ordering::Relaxed) != is_connected {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.now());
        }
    }

    /// Something went wrong; `true` when it is not what went wrong last.
    pub(crate) fn failed(&self, error: &str) -> bool {
        let words: String = error.chars().take(MOST_WORDS).collect();
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last.as_ref().is_none_or(|(_, before)| *before != words);
        *last = Some((self.clock.now(), words));
        is_new
    }

    /// A message did not get through.
    pub(crate) fn dropped(&self, why: &str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.failed(why);
    }

    pub(crate) fn state(&self, config: &BridgeConfig) -> BridgeState {
        BridgeState {
            name: config.name.clone(),
            remote: config.remote.shown(),
            tenant_id: config.tenant_id,
            device_id: config.device_id,
            is_connected: self.is_connected.load(Ordering::Relaxed),
            since: *self.since.lock().unwrap_or_else(PoisonError::into_inner),
            messages_in: self.incoming.load(Ordering::Relaxed),
            messages_out: self.outgoing.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
