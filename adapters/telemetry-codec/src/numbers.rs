//! The numbers of a chunk at one path.

use crate::chunk::Chunk;
use crate::form::Form;
use crate::integers::Integers;
use crate::values::Values;
use crate::{Damaged, shape::Shape};

/// Numbers and the rows that have them, in the order of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    rows: Option<Vec<u32>>,
    values: Vec<f64>,
}

impl Numbers {
    /// Numbers of some rows, which are in order.
    pub fn of_rows(rows: Vec<u32>, values: Vec<f64>) -> Self {
        Self { rows: Some(rows), values }
    }

    /// Those of rows for which `is_kept` holds.
    #[must_use]
    pub fn kept(&self, is_kept: impl Fn(usize) -> bool) -> Self {
        let kept = self.iter().filter(|(row, _)| is_kept(*row));
        let (rows, values) = kept.map(|(row, value)| (row as u32, value)).unzip();
        Self::of_rows(rows, values)
    }

    /// The row of each value; `None` when every row has one, so that value `i` is that of row `i`.
    pub fn rows(&self) -> Option<&[u32]> {
        self.rows.as_deref()
    }

    /// The values.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// These and others of the same chunk. Where a row has both, the others count.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        let mut by_row: std::collections::BTreeMap<usize, f64> = self.iter().collect();
        by_row.extend(others.iter());
        let (rows, values) = by_row.into_iter().map(|(row, value)| (row as u32, value)).unzip();
        Self { rows: Some(rows), values }
    }

    /// Rows and values.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        let row = |at: usize| self.rows.as_ref().map_or(at, |rows| rows[at] as usize);
        self.values.iter().enumerate().map(move |(at, value)| (row(at), *value))
    }
}

/// How a shape's row takes part in a column.
#[derive(Clone, Copy, Default)]
struct Part {
    /// How many values the row has in it.
    values: usize,
    /// Which of them counts.
    live: Option<usize>,
}

impl Part {
    fn of(shape: &Shape, column: usize) -> Self {
        let mut part = Self::default();
        for hole in shape.holes().iter().filter(|hole| hole.column == column) {
            if hole.live {
                part.live = Some(part.values);
            }
            part.values += 1;
        }
        part
    }
}

impl Chunk<'_> {
    /// The numbers of the leaf with this path; `None` when the chunk has no such leaf.
    ///
    /// Their sum in order is [`Leaf::sum`](crate::Leaf::sum).
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn numbers(&self, path: &str) -> Result<Option<Numbers>, Damaged> {
        let Some(leaf) = self.leaves().iter().position(|leaf| &*leaf.path == path) else { return Ok(None) };
        let column = self.directory.columns[leaf] as usize;
        let entry = &self.directory.entries[column];
        if entry.is_aligned() && entry.texts().is_none() {
            let bytes = self.integers.get(entry.numbers()).unwrap_or_default();
            let form = entry.form().unwrap_or(Form::Decimals { least: 0, most: 0 });
            let values = Integers::read(bytes, self.len())?.into_values(form);
            return Ok(Some(Numbers { rows: None, values }));
        }
        let (shapes, row_shapes) = self.shapes()?;
        let parts: Vec<Part> = shapes.iter().map(|shape| Part::of(shape, column)).collect();
        let count = row_shapes.iter().map(|shape| parts[*shape as usize].values).sum();
        let texts = if entry.texts().is_some() { self.texts()? } else { &[] };
        let mut column = Values::read(entry, count, self.integers, texts)?;
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for (row, shape) in row_shapes.iter().enumerate() {
            let part = parts[*shape as usize];
            let Some(live) = part.live else {
                column.skip(part.values);
                continue;
            };
            column.skip(live);
            if let Some(value) = column.next_number()? {
                rows.push(row as u32);
                values.push(value);
            }
            column.skip(part.values - live - 1);
        }
        let every = rows.len() == self.len();
        Ok(Some(Numbers { rows: (!every).then_some(rows), values }))
    }
}
