//! How much one transaction does, so that an append never waits long for its end.

use std::time::Duration;

/// A transaction that ends sooner may do more,
const SHORT: Duration = Duration::from_millis(5);
/// and one that takes longer must do less.
const LONG: Duration = Duration::from_millis(10);

/// The rows of a transaction, by how long the last one took: machines and disks differ by more than any constant allows for.
#[derive(Debug)]
pub(super) struct Pace {
    rows: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rows: Self::LEAST * 4 }
    }
}

impl Pace {
    /// The fewest rows, and the most.
    const LEAST: i64 = 500;
    const MOST: i64 = 50_000;

    /// How many rows the next transaction takes.
    pub(super) fn rows(&self) -> i64 {
        self.rows
    }

    /// Notes how long a transaction held the database.
    pub(super) fn took(&mut self, time: Duration) {
        if time < SHORT {
            self.rows = (self.rows * 5 / 4).min(Self::MOST);
        } else if time > LONG {
            self.rows = (self.rows / 2).max(Self::LEAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_transactions_grow_and_long_ones_shrink_within_bounds() {
        let mut pace = Pace::default();
        pace.took(Duration::from_millis(7));
        assert_eq!(pace.rows(), Pace::default().rows());
        (0..100).for_each(|_| pace.took(Duration::from_millis(4)));
        assert_eq!(pace.rows(), Pace::MOST);
        pace.took(Duration::from_millis(11));
        assert_eq!(pace.rows(), Pace::MOST / 2);
        (0..100).for_each(|_| pace.took(Duration::from_secs(1)));
        assert_eq!(pace.rows(), Pace::LEAST);
    }
}
