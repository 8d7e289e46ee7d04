//! The last values of rows that are still in the log, of devices that were asked for lately.
//!
//! What is kept holds as long as the log is sealed up to the same row and no row was removed from it before its time: until
//! then rows only come, and each answer reads those that came since the one before. Both facts are read from the database
//! with each answer, so what another process does is seen.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;

use super::last_values::LastValues;

/// What rows of the log behind the sealed ones say.
#[derive(Clone, Debug, Default)]
pub(super) struct LogPart {
    /// In which epoch of the database that was; another may have given the key of the device to another.
    pub(super) epoch: u64,
    /// Up to which row the log was sealed.
    pub(super) sealed: i64,
    /// How often rows had been removed from it.
    pub(super) removals: i64,
    /// The last row that was looked at.
    pub(super) up_to: i64,
    /// How many rows were looked at; in PostgreSQL all of the device up to the last.
    pub(super) count: i64,
    /// The numbers of the last batches of all writers then, in PostgreSQL.
    pub(super) batches: Option<Box<str>>,
    pub(super) values: LastValues,
}

/// Parts of the log by the keys of their devices.
pub(crate) struct LatestCache(Mutex<Kept>);

struct Kept {
    parts: LruCache<i64, (Arc<LogPart>, usize)>,
    bytes: usize,
}

impl Default for LatestCache {
    fn default() -> Self {
        Self(Mutex::new(Kept { parts: LruCache::new_unbounded(), bytes: 0 }))
    }
}

impl LatestCache {
    /// The most bytes of all.
    const BYTES: usize = 8 * 1024 * 1024;

    /// What is known of a device, if it still holds.
    pub(super) fn get(&self, device: i64, epoch: u64, sealed: i64, removals: i64) -> Option<Arc<LogPart>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (part, _) = kept.parts.get(&device)?;
        (part.epoch == epoch && part.sealed == sealed && part.removals == removals).then(|| Arc::clone(part))
    }

    /// Keeps what is known of a device, in place of what nobody asked for the longest. What would take the place of many is
    /// not kept.
    pub(super) fn keep(&self, device: i64, part: Arc<LogPart>) {
        let bytes = size_of::<LogPart>() + 64 + part.values.bytes() + part.batches.as_deref().map_or(0, str::len);
        if bytes > Self::BYTES / 4 {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += bytes;
        if let Some((_, bytes)) = kept.parts.insert(device, (part, bytes)) {
            kept.bytes -= bytes;
        }
        while kept.bytes > Self::BYTES
            && let Some((_, (_, bytes))) = kept.parts.remove_lru()
        {
            kept.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(payload: &str) -> Arc<LogPart> {
        let mut values = LastValues::default();
        values.see((1, 1), 1, payload.to_owned());
        Arc::new(LogPart { sealed: 1, removals: 2, values, ..LogPart::default() })
    }

    #[test]
    fn what_is_known_holds_until_the_log_is_sealed_or_rows_are_removed() {
        let cache = LatestCache::default();
        cache.keep(5, part("1"));
        assert!(cache.get(5, 0, 1, 2).is_some());
        assert!(cache.get(5, 0, 2, 2).is_none() && cache.get(5, 0, 1, 3).is_none() && cache.get(6, 0, 1, 2).is_none());
    }

    #[test]
    fn what_nobody_asks_for_makes_room() {
        let cache = LatestCache::default();
        let large = part(&format!("\"{}\"", "x".repeat(LatestCache::BYTES / 10)));
        for device in 0..20 {
            cache.keep(device, Arc::clone(&large));
            cache.keep(device, Arc::clone(&large));
            assert!(cache.get(0, 0, 1, 2).is_some(), "it is asked for again and again");
        }
        assert!(cache.get(1, 0, 1, 2).is_none() && cache.get(19, 0, 1, 2).is_some());
        assert!(cache.0.lock().unwrap_or_else(PoisonError::into_inner).bytes <= LatestCache::BYTES);
        cache.keep(30, part(&format!("\"{}\"", "x".repeat(LatestCache::BYTES / 4))));
        assert!(cache.get(30, 0, 1, 2).is_none());
    }
}
