//! Parts of chunks that pages took lately, so that a page that is asked for again and again, such as the newest rows of a
//! device, is not decoded each time.
//!
//! A chunk never changes, and a SQLite file never gives its key to another: so what is here is right as long as the table has
//! the chunk, which each answer reads anew.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;
use pocket_domain::SortOrder;
use pocket_telemetry_codec::{Chunk, Damaged, OwnedRow};

use super::window::{Place, Window};

/// Rows of a chunk that follow one another.
#[derive(Debug)]
pub(crate) struct Part {
    /// The number of the first.
    first: usize,
    rows: Vec<OwnedRow>,
    /// How many rows the chunk has.
    of: usize,
}

impl Part {
    /// The rows of a chunk with these numbers, which are in an order, without gaps.
    pub(super) fn of_chunk(content: &[u8], rest: &[(Place, usize)]) -> Result<Self, Damaged> {
        let ends = [rest.first(), rest.last()].map(|end| end.map_or(0, |(_, row)| *row));
        let first = ends[0].min(ends[1]);
        let chunk = Chunk::open(content)?;
        let rows = chunk.rows(first..first + rest.len())?;
        Ok(Self { first, rows, of: chunk.len() })
    }

    /// The first rows of the chunk in the window, at most so many, the next in its order last; `None` when that takes rows
    /// that are not here.
    pub(super) fn rest(&self, window: &Window, limit: usize) -> Option<Vec<(Place, usize)>> {
        if window.topics.is_some() {
            return None;
        }
        let from = self.rows.partition_point(|row| is_before(window, place(row)));
        let to = self.rows.partition_point(|row| !is_behind(window, place(row))).max(from);
        // Whether the window begins and ends here, and not among the rows before or behind these.
        let begins = from > 0 || self.first == 0;
        let ends = to < self.rows.len() || self.first + self.rows.len() == self.of;
        let (starts, stops) = match window.order {
            SortOrder::Ascending => (begins, ends),
            SortOrder::Descending => (ends, begins),
        };
        if !starts || !stops && to - from < limit {
            return None;
        }
        let numbered = |at: usize| (place(&self.rows[at]), self.first + at);
        let count = limit.min(to - from);
        Some(match window.order {
            SortOrder::Ascending => (from..from + count).rev().map(numbered).collect(),
            SortOrder::Descending => (to - count..to).map(numbered).collect(),
        })
    }

    /// The row of a number that [`rest`](Self::rest) gave.
    pub(super) fn row(&self, number: usize) -> Option<OwnedRow> {
        self.rows.get(number.checked_sub(self.first)?).cloned()
    }

    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let row = |row: &OwnedRow| size_of::<OwnedRow>() + row.payload.len();
        size_of::<Self>() + self.rows.iter().map(row).sum::<usize>()
    }
}

fn place(row: &OwnedRow) -> Place {
    (row.timestamp, row.id.cast_signed())
}

fn is_before(window: &Window, place: Place) -> bool {
    let is_ascending = window.order == SortOrder::Ascending;
    place.0 < window.from || is_ascending && window.after.is_some_and(|after| place <= after)
}

fn is_behind(window: &Window, place: Place) -> bool {
    let is_descending = window.order == SortOrder::Descending;
    place.0 > window.to || is_descending && window.after.is_some_and(|after| place >= after)
}

/// The last parts that were asked for, by the key of their chunk.
pub(crate) struct Parts(Mutex<Kept>);

struct Kept {
    parts: LruCache<i64, Arc<Part>>,
    bytes: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Self(Mutex::new(Kept { parts: LruCache::new_unbounded(), bytes: 0 }))
    }
}

impl Parts {
    /// The most bytes of all.
    const BYTES: usize = 4 * 1024 * 1024;

    /// The part of a chunk that was asked for last.
    pub(super) fn get(&self, key: i64) -> Option<Arc<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).parts.get(&key).cloned()
    }

    /// Keeps a part in the place of another of the chunk, and of those that nobody asked for the longest. One that would take
    /// the place of many is not kept.
    pub(super) fn keep(&self, key: i64, part: Arc<Part>) {
        if part.bytes() > Self::BYTES / 8 {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += part.bytes();
        let replaced = kept.parts.insert(key, part);
        kept.bytes -= replaced.map_or(0, |part| part.bytes());
        while kept.bytes > Self::BYTES
            && let Some((_, oldest)) = kept.parts.remove_lru()
        {
            kept.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge;
    use super::*;

    /// Pairs of rows at the same time.
    fn content() -> Vec<u8> {
        let payloads: Vec<String> = (0..40).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        let row = |(n, payload): (u8, &String)| OwnedRow {
            id: u64::from(n) + 100,
            timestamp: i64::from(n / 2) * 10,
            received_at: 1_000,
            topic: 1,
            payload: payload.clone(),
        };
        let rows: Vec<OwnedRow> = (0..).zip(&payloads).map(row).collect();
        pocket_telemetry_codec::encode(&rows.iter().map(OwnedRow::as_row).collect::<Vec<_>>()).unwrap()
    }

    fn windows() -> Vec<Window> {
        let mut windows = Vec::new();
        for order in [SortOrder::Ascending, SortOrder::Descending] {
            for (from, to) in [(0, i64::MAX), (45, 130), (60, 60), (61, 69), (150, i64::MAX), (500, 600)] {
                let window = Window { from, to, after: None, order, topics: None };
                windows.push(window.clone());
                for after in [(60, 112), (60, 113), (190, 139), (0, 100)] {
                    let mut window = window.clone();
                    window.go_on_after(after);
                    windows.push(window);
                }
            }
        }
        windows
    }

    #[test]
    fn a_part_gives_what_its_chunk_gives_or_nothing() {
        let content = content();
        let mut given = 0;
        for (first, length) in [(0, 40), (0, 11), (29, 11), (10, 12), (13, 1)] {
            let wanted: Vec<(Place, usize)> = (first..first + length).map(|row| ((0, 0), row)).collect();
            let part = Part::of_chunk(&content, &wanted).unwrap();
            for window in windows() {
                for limit in [1, 3, 12, 40] {
                    let (_, right) = merge::rest(&content, &window, limit).unwrap();
                    let Some(rest) = part.rest(&window, limit) else {
                        assert!(length < 40, "a whole chunk answers everything");
                        continue;
                    };
                    assert_eq!(rest, right, "{window:?} {limit} from {first}..{length}");
                    for (place, number) in rest {
                        let row = part.row(number).unwrap();
                        assert_eq!((super::place(&row), row.payload), (place, format!(r#"{{"n":{number}}}"#)));
                    }
                    given += 1;
                }
            }
        }
        assert!(given > 400, "{given}");
    }

    #[test]
    fn those_that_nobody_asks_for_make_room() {
        let content = content();
        let wanted: Vec<(Place, usize)> = (0..40).map(|row| ((0, 0), row)).collect();
        let part = Arc::new(Part::of_chunk(&content, &wanted).unwrap());
        let fit = i64::try_from(Parts::BYTES / part.bytes()).unwrap();
        let parts = Parts::default();
        for key in 0..fit {
            parts.keep(key, Arc::clone(&part));
            parts.keep(key, Arc::clone(&part));
        }
        assert!((0..fit).all(|key| parts.get(key).is_some()));
        assert!(parts.get(0).is_some());
        parts.keep(fit, Arc::clone(&part));
        assert!(parts.get(0).is_some() && parts.get(1).is_none() && parts.get(fit).is_some());
    }
}
