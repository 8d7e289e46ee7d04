//! Rows out of a chunk.

use std::ops::Range;

use crate::chunk::Chunk;
use crate::values::Values;
use crate::{Damaged, OwnedRow};

impl Chunk<'_> {
    /// The rows of a range, which is cut to those there are. What few rows cost is mostly what all cost, but for their
    /// texts.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn rows(&self, range: Range<usize>) -> Result<Vec<OwnedRow>, Damaged> {
        let range = range.start.min(self.len())..range.end.min(self.len());
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (timestamps, ids, topics) = (self.timestamps()?, self.ids()?, self.row_topics()?);
        let delays = self.delays()?;
        let payloads = self.payloads(range.clone())?;
        let row = |(at, payload): (usize, String)| OwnedRow {
            id: ids[at],
            timestamp: timestamps[at],
            received_at: timestamps[at].wrapping_add(delays[at]),
            topic: topics[at],
            payload,
        };
        Ok(range.zip(payloads).map(row).collect())
    }

    fn payloads(&self, range: Range<usize>) -> Result<Vec<String>, Damaged> {
        let (shapes, row_shapes) = self.shapes()?;
        let (mut before, mut counts) = (vec![0; self.directory.entries.len()], vec![0; self.directory.entries.len()]);
        for (row, shape) in row_shapes.iter().enumerate() {
            for hole in shapes[*shape].holes() {
                before[hole.column] += usize::from(row < range.start);
                counts[hole.column] += 1;
            }
        }
        let texts = self.texts.read()?;
        let mut columns = Vec::with_capacity(counts.len());
        for ((entry, count), before) in self.directory.entries.iter().zip(counts).zip(before) {
            let mut values = Values::read(entry, count, self.integers, &texts)?;
            values.skip(before);
            columns.push(values);
        }
        let mut left = self.text_bytes;
        // Written here and then copied: so each takes as much memory as it is long, and is not moved while it grows.
        let mut payload = String::new();
        let mut payloads = Vec::with_capacity(range.len());
        for shape in &row_shapes[range] {
            let shape = &shapes[*shape];
            payload.clear();
            for (piece, hole) in shape.pieces().zip(shape.holes()) {
                payload.push_str(piece);
                columns[hole.column].write_next(&mut payload)?;
            }
            payload.push_str(shape.tail());
            left = left.checked_sub(payload.len()).ok_or(Damaged::Content("payloads are longer than it says"))?;
            payloads.push(payload.clone());
        }
        Ok(payloads)
    }
}
