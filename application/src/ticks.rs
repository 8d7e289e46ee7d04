//! The timer of work that is done again and again beside everything else.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Ticks at once, and then after each `period`. Work that took longer is not made up for.
pub(crate) fn ticks(period: Duration) -> Interval {
    let mut timer = interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}
