//! What keeping the database in shape came to, for those who watch over it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Figures since the database was opened.
#[derive(Default)]
pub(crate) struct Upkeep {
    /// For how many milliseconds something has been due that nobody does.
    pub(crate) behind: AtomicU64,
    pub(crate) dead_letters_dropped: AtomicU64,
    pub(crate) topics_removed: AtomicU64,
}

impl Upkeep {
    pub(crate) fn read(&self) -> pocket_ports::Upkeep {
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        pocket_ports::Upkeep {
            behind: Duration::from_millis(of(&self.behind)),
            dead_letters_dropped: of(&self.dead_letters_dropped),
            topics_removed: of(&self.topics_removed),
            ..Default::default()
        }
    }
}
