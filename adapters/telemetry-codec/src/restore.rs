//! Rows out of a chunk.

use std::ops::Range;

use crate::chunk::Chunk;
use crate::values::Values;
use crate::{Damaged, OwnedRow};

const TOO_LONG: Damaged = Damaged::Content("payloads are longer than it says");

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
        let (which, mut columns) = self.columns(range.clone())?;
        let mut left = self.text_bytes;
        // Written here and then copied: so each takes as much memory as it is long, and is not moved while it grows.
        let mut payload = String::new();
        let mut payloads = Vec::with_capacity(range.len());
        for shape in &row_shapes[range] {
            let shape = &shapes[*shape as usize];
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
