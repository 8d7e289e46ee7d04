//! Who connects and who leaves, in the log.
//!
//! Each connection and each end is a line, as long as there are few. Of more than [`VisitLog::MAX_TOLD`] in a while the others are
//! counted and summed up: a fleet that comes back after a power cut must not fill a disk.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::{Excerpt, Peer, Principal, TenantId};
use tokio::time::Instant;

use crate::ticks::ticks;

/// What was said of connections lately.
#[derive(Debug)]
pub(crate) struct VisitLog {
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    told: usize,
    opened: u64,
    closed: u64,
}

impl Default for VisitLog {
    fn default() -> Self {
        Self { window: Mutex::new(Window { began: Instant::now(), told: 0, opened: 0, closed: 0 }) }
    }
}

impl VisitLog {
    /// Lines in a window.
    const MAX_TOLD: usize = 60;
    const WINDOW: Duration = Duration::from_secs(60);

    /// A connection was opened.
    pub(crate) fn opened(&self, tenant: TenantId, principal: Principal, peer: &Peer) {
        if self.has_line(|window| &mut window.opened) {
            let (address, protocol) = (address(peer), &peer.protocol);
            tracing::info!(
                %tenant, client = %principal, client_id = %Excerpt(&peer.client_id), address, %protocol,
                "client connected"
            );
        }
    }

    /// A connection is gone.
    pub(crate) fn closed(&self, tenant: TenantId, principal: Principal, peer: &Peer, reason: &str) {
        if self.has_line(|window| &mut window.closed) {
            let address = address(peer);
            tracing::info!(
                %tenant, client = %principal, client_id = %Excerpt(&peer.client_id), address, reason,
                "client disconnected"
            );
        }
    }

    /// Whether there is a line left for one; otherwise it is counted.
    fn has_line(&self, count: impl FnOnce(&mut Window) -> &mut u64) -> bool {
        let mut window = self.lock();
        let is_told = window.told < Self::MAX_TOLD;
        if is_told {
            window.told += 1;
        } else {
            *count(&mut window) += 1;
        }
        is_told
    }

    /// Sums up what had no line, when a window is over.
    pub(crate) fn sum_up(&self) {
        let mut window = self.lock();
        if window.began.elapsed() < Self::WINDOW {
            return;
        }
        let (connected, disconnected) = (window.opened, window.closed);
        *window = Window { began: Instant::now(), told: 0, opened: 0, closed: 0 };
        drop(window);
        if connected + disconnected > 0 {
            tracing::info!(connected, disconnected, "more clients connected and disconnected within a minute");
        }
    }

    /// Sums up for ever.
    pub(crate) async fn run(&self) {
        let mut timer = ticks(Self::WINDOW / 12);
        loop {
            timer.tick().await;
            self.sum_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(peer: &Peer) -> String {
    peer.address.map_or_else(|| "in this process".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_have_a_line_each_and_the_others_are_summed_up() {
        let log = VisitLog::default();
        for _ in 0..VisitLog::MAX_TOLD {
            assert!(log.has_line(|window| &mut window.opened));
        }
        assert!(!log.has_line(|window| &mut window.opened));
        assert!(!log.has_line(|window| &mut window.closed));
        let counts = || {
            let window = log.lock();
            (window.opened, window.closed)
        };
        log.sum_up();
        assert_eq!(counts(), (1, 1), "the window is not over");
        tokio::time::advance(VisitLog::WINDOW).await;
        log.sum_up();
        assert!(log.has_line(|window| &mut window.opened));
        assert_eq!(counts(), (0, 0));
    }
}
