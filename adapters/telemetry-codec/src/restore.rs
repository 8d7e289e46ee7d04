//! Rows out of a chunk.

use std::ops::Range;

use crate::chunk::Chunk;
use crate::values::Values;
use crate::{Damaged, OwnedRow};

const TOO_LONG: Damaged = Damaged::Content("payloads are longer than it says");

impl Chunk<'_> {
    /// The rows of a range, which is cut to those there are. A few rows cost most of what all rows cost, except for their
    /// texts: take [`rows_at`](Self::rows_at) for several rows that do not follow one another, not this once for each.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn rows(&self, range: Range<usize>) -> Result<Vec<OwnedRow>, Damaged> {
        self.restore(range.start.min(self.len())..range.end.min(self.len()))
    }

    /// The rows with these numbers, which are in order and each there once; numbers beyond the last row are left out. The
    /// chunk is decoded once for all of them.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn rows_at(&self, numbers: &[usize]) -> Result<Vec<OwnedRow>, Damaged> {
        debug_assert!(numbers.is_sorted_by(|one, next| one < next), "numbers of rows are in order");
        self.restore(numbers.iter().copied().filter(|row| *row < self.len()))
    }

    fn restore(&self, wanted: impl Iterator<Item = usize> + Clone) -> Result<Vec<OwnedRow>, Damaged> {
        if wanted.clone().next().is_none() {
            return Ok(Vec::new());
        }
        let (timestamps, ids, topics) = (self.timestamps()?, self.ids()?, self.row_topics()?);
        let delays = self.delays()?;
        let payloads = self.payloads(wanted.clone())?;
        let row = |(at, payload): (usize, String)| OwnedRow {
            id: ids[at],
            timestamp: timestamps[at],
            received_at: timestamps[at].wrapping_add(delays[at]),
            topic: topics[at],
            payload,
        };
        Ok(wanted.zip(payloads).map(row).collect())
    }

    /// The payloads of rows, in order.
    fn payloads(&self, wanted: impl Iterator<Item = usize> + Clone) -> Result<Vec<String>, Damaged> {
        let (shapes, row_shapes) = self.shapes()?;
        let first = wanted.clone().next().unwrap_or_default();
        let behind = wanted.clone().last().map_or(first, |last| last + 1);
        let (which, mut columns) = self.columns(first..behind)?;
        let mut left = self.text_bytes;
        // Written here and then copied: so each takes as much memory as it is long, and is not moved while it grows.
        let mut payload = String::new();
        let mut payloads = Vec::with_capacity(wanted.size_hint().1.unwrap_or_default().min(self.len()));
        let mut passed = first;
        for row in wanted {
            for shape in row_shapes.get(passed..row).unwrap_or_default() {
                let holes = shapes[*shape as usize].holes();
                holes.iter().for_each(|hole| columns[which[hole.column] as usize].skip(1));
            }
            passed = row + 1;
            let shape = &shapes[row_shapes[row] as usize];
            payload.clear();
            for (piece, hole) in shape.pieces().zip(shape.holes()) {
                payload.push_str(piece);
                columns[which[hole.column] as usize].write_next(&mut payload)?;
                // Not only at its end: many values may be one long text.
                if payload.len() > left {
                    return Err(TOO_LONG);
                }
            }
            payload.push_str(shape.tail());
            left = left.checked_sub(payload.len()).ok_or(TOO_LONG)?;
            payloads.push(payload.clone());
        }
        Ok(payloads)
    }

    /// The columns that rows of a range have values in, from the first of these values on, and which of them each column of the
    /// chunk is.
    fn columns(&self, range: Range<usize>) -> Result<(Vec<u32>, Vec<Values<'_>>), Damaged> {
        const UNUSED: u32 = u32::MAX;
        let (shapes, row_shapes) = self.shapes()?;
        let entries = &self.directory.entries;
        let (mut before, mut counts) = (vec![0u32; entries.len()], vec![0u32; entries.len()]);
        let mut which = vec![UNUSED; entries.len()];
        let mut used = Vec::new();
        for (row, shape) in row_shapes.iter().enumerate() {
            for hole in shapes[*shape as usize].holes() {
                before[hole.column] += u32::from(row < range.start);
                counts[hole.column] += 1;
                if which[hole.column] == UNUSED && range.contains(&row) {
                    which[hole.column] = used.len() as u32;
                    used.push(hole.column);
                }
            }
        }
        let texts = self.texts()?;
        let read = |column: usize| {
            let mut values = Values::read(&entries[column], counts[column] as usize, self.integers, texts)?;
            values.skip(before[column] as usize);
            Ok(values)
        };
        Ok((which, used.into_iter().map(read).collect::<Result<_, Damaged>>()?))
    }
}
