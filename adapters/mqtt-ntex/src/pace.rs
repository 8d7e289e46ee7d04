//! How fast a client takes what is sent to it.
//!
//! A client that is merely slow loses messages; one that stays behind for longer than the limit is to be disconnected. Two
//! things tell: its queue of QoS 1 and 2 overflows and does not recover, or its socket takes not a byte of what waits.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What was seen of one client.
pub(crate) struct Pace {
    /// Bytes that were given to the socket's buffer.
    written: Cell<u64>,
    /// Those of them that the socket had taken at the last progress.
    taken: Cell<u64>,
    progress: Cell<Instant>,
    overflow: Cell<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { written: Cell::new(0), taken: Cell::new(0), progress: Cell::new(now), overflow: Cell::new(None) }
    }

    /// Bytes were given to the socket's buffer.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes as u64);
    }

    /// A message was dropped because the queue is full.
    pub(crate) fn overflowed(&self) {
        if self.overflow.get().is_none() {
            self.overflow.set(Some(Instant::now()));
        }
    }

    /// Looks at the client: `unsent` bytes are still in the buffer, and the queue has recovered or not. Returns whether it
    /// has been behind for `limit`.
    pub(crate) fn is_behind(&self, unsent: usize, has_recovered: bool, now: Instant, limit: Duration) -> bool {
        let taken = self.written.get() - (unsent as u64).min(self.written.get());
        if unsent == 0 || taken != self.taken.get() {
            self.taken.set(taken);
            self.progress.set(now);
        }
        if has_recovered {
            self.overflow.set(None);
        }
        let is_over = |since: Instant| now.saturating_duration_since(since) >= limit;
        is_over(self.progress.get()) || self.overflow.get().is_some_and(is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_socket_that_takes_nothing_is_behind_at_the_limit() {
        let start = Instant::now();
        let pace = Pace::new(start);
        pace.wrote(100);
        assert!(!pace.is_behind(40, true, start, LIMIT));
        // More is written, nothing is taken.
        pace.wrote(100);
        assert!(!pace.is_behind(140, true, after(start, 9), LIMIT));
        assert!(pace.is_behind(140, true, after(start, 10), LIMIT));
    }

    #[test]
    fn a_socket_that_takes_a_little_is_not_behind() {
        let start = Instant::now();
        let pace = Pace::new(start);
        pace.wrote(100);
        assert!(!pace.is_behind(100, true, start, LIMIT));
        // As much is written as is taken: the buffer is as full as before.
        pace.wrote(1);
        assert!(!pace.is_behind(100, true, after(start, 9), LIMIT));
        assert!(!pace.is_behind(100, true, after(start, 18), LIMIT));
        assert!(pace.is_behind(100, true, after(start, 19), LIMIT));
    }

    #[test]
    fn a_client_that_has_nothing_to_take_is_not_behind() {
        let start = Instant::now();
        let pace = Pace::new(start);
        pace.wrote(100);
        assert!(!pace.is_behind(0, true, after(start, 100), LIMIT));
        assert!(!pace.is_behind(0, true, after(start, 200), LIMIT));
    }

    #[test]
    fn a_queue_that_overflowed_must_recover_within_the_limit() {
        let start = Instant::now();
        let pace = Pace::new(start);
        pace.overflow.set(Some(start));
        assert!(!pace.is_behind(0, false, after(start, 9), LIMIT));
        assert!(pace.is_behind(0, false, after(start, 10), LIMIT));
        assert!(!pace.is_behind(0, true, after(start, 10), LIMIT));
        assert!(!pace.is_behind(0, false, after(start, 30), LIMIT));
    }
}
