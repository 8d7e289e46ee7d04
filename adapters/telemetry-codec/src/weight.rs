//! About how many bytes of memory the rows of a chunk take while it is made.

use crate::shape_table::ShapeTable;
use crate::{Chunk, Damaged};

/// A value: its kind and where it is, and what the column has room for.
const OF_VALUE: usize = 80;
/// A column, its summary, and its parts as they are written.
const OF_COLUMN: usize = 240;
/// A place and its path, about, where it is not known how many there are.
const OF_PLACE: usize = 192;

/// The weight of payloads with so many bytes, values and columns, and shapes and places of some size.
pub(crate) fn of(texts: usize, values: usize, columns: usize, shapes: usize) -> usize {
    texts + OF_VALUE * values + OF_COLUMN * columns + shapes
}

impl Chunk<'_> {
    /// About the [`weight`](crate::Encoded::weight) that it had when it was made, for chunks of which that is not known.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn weight(&self) -> Result<usize, Damaged> {
        let (shapes, rows) = self.shapes()?;
        let values = rows.iter().map(|shape| shapes[*shape as usize].holes().len()).sum();
        let of_shape = |shape: &crate::shape::Shape| {
            shape.text_bytes() + ShapeTable::OF_SHAPE + ShapeTable::OF_HOLE * shape.holes().len()
        };
        let columns = self.directory.entries.len();
        let shapes = shapes.iter().map(of_shape).sum::<usize>() + OF_PLACE * columns;
        Ok(of(self.text_bytes, values, columns, shapes))
    }
}
