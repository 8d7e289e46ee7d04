//! How much a tenant's history takes.

use crate::Timestamp;

/// A part of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct UsagePart {
    /// Its messages.
    pub rows: u64,
    /// The bytes that they take.
    pub bytes: u64,
    /// The time of the first message.
    pub oldest: Option<Timestamp>,
    /// The time of the last message.
    pub newest: Option<Timestamp>,
}

impl UsagePart {
    /// What a message of the log takes beside its payload: keys and times, as a SQLite file has them.
    pub const LOG_ROW_BYTES: u64 = 32;

    /// Bytes of one message on average; `None` when there is none.
    pub fn bytes_per_row(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.bytes as f64 / self.rows as f64)
    }

    /// This part and another together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
            // Nothing is less than any time, so that it must not take part in the smaller one.
            oldest: [self.oldest, other.oldest].into_iter().flatten().min(),
            newest: self.newest.max(other.newest),
        }
    }
}

/// A history as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// What came lately, and is not compressed yet: payloads, and [`UsagePart::LOG_ROW_BYTES`] for each of them.
    pub log: UsagePart,
    /// What is compressed.
    pub chunks: UsagePart,
    /// Names and last values that messages share.
    pub names: NameUsage,
}

/// What is stored once for all messages that have it: names of topics, and the keys of devices with their last values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NameUsage {
    /// How many there are.
    pub count: u64,
    /// The bytes that they take, if these are worth counting.
    pub bytes: u64,
}

impl NameUsage {
    /// What a name, or a last value, takes beside its text.
    pub const NAME_BYTES: u64 = 64;
    /// Topics of a tenant, or keys and last values of a device, that take less are not counted: nobody who has a few hundred
    /// of them has to think of them.
    pub const FREE_BYTES: u64 = 65_536;

    /// So many names of topics, or keys and last values of one device, whose texts have so many bytes in all.
    pub fn new(count: u64, text_bytes: u64) -> Self {
        let bytes = text_bytes + count * Self::NAME_BYTES;
        if bytes > Self::FREE_BYTES { Self { count, bytes } } else { Self::default() }
    }

    /// These and others together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

impl Usage {
    /// All of it.
    pub fn total(&self) -> UsagePart {
        let all = self.log.and(self.chunks);
        UsagePart { bytes: all.bytes + self.names.bytes, ..all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let at = |millis| Timestamp::from_millis(millis).ok();
        let log = UsagePart { rows: 2, bytes: 100, oldest: at(5), newest: at(9) };
        let chunks = UsagePart { rows: 8, bytes: 20, oldest: at(1), newest: at(6) };
        let names = NameUsage { count: 1, bytes: 7 };
        let total = Usage { log, chunks, names }.total();
        assert_eq!(total, UsagePart { rows: 10, bytes: 127, oldest: at(1), newest: at(9) });
        assert_eq!(total.bytes_per_row(), Some(12.7));
        assert_eq!(Usage { log, ..Usage::default() }.total(), log);
        assert_eq!(NameUsage::new(100, 5_000), NameUsage::default());
        assert_eq!(NameUsage::new(1_000, 5_000), NameUsage { count: 1_000, bytes: 69_000 });
        assert_eq!(names.and(NameUsage { count: 2, bytes: 5 }), NameUsage { count: 3, bytes: 12 });
        assert_eq!(Usage::default().total().bytes_per_row(), None);
    }
}
