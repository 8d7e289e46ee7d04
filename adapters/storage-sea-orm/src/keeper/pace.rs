//! How much one transaction does, so that an append never waits long for its end.

use std::time::Duration;

/// A transaction that ends sooner may do more,
const SHORT: Duration = Duration::from_millis(3);
/// and one that takes longer must do less.
const LONG: Duration = Duration::from_millis(6);

/// How many rows or chunks a transaction takes, by how long the last one took: machines and disks differ by more than any
/// constant allows for.
#[derive(Debug)]
pub(super) struct Pace {
    count: usize,
    least: usize,
    most: usize,
}

impl Pace {
    /// That of rows of the log.
    pub(super) const ROWS: Self = Self { count: 2_000, least: 500, most: 50_000 };
    /// That of chunks, whose bytes have a limit of their own.
    pub(super) const CHUNKS: Self = Self { count: 128, least: 32, most: 512 };

    /// How many the next transaction takes.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Notes how long a transaction held the database.
    pub(super) fn took(&mut self, time: Duration) {
        if time < SHORT {
            self.count = (self.count * 5 / 4).min(self.most);
        } else if time > LONG {
            self.count = (self.count / 2).max(self.least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_transactions_grow_and_long_ones_shrink_within_bounds() {
        for mut pace in [Pace::ROWS, Pace::CHUNKS] {
            let Pace { count, least, most } = pace;
            pace.took(Duration::from_millis(5));
            assert_eq!(pace.count(), count);
            (0..100).for_each(|_| pace.took(Duration::from_millis(2)));
            assert_eq!(pace.count(), most);
            pace.took(Duration::from_millis(11));
            assert_eq!(pace.count(), most / 2);
            (0..100).for_each(|_| pace.took(Duration::from_secs(1)));
            assert_eq!(pace.count(), least);
        }
    }
}
