//! Rows into a chunk.

use std::collections::HashSet;

use crate::bytes::{put_length, put_signed, put_varint};
use crate::column::{Column, Parts};
use crate::encoding::{Encoded, Encoding};
use crate::scan::Found;
use crate::shape_table::ShapeTable;
use crate::text::MAX_AREA;
use crate::{FORMAT_VERSION, MAX_ROWS, MAX_TEXT_BYTES, MAX_TIMESTAMP, MAX_VALUES, Row, integers, leaf, text, weight};

/// The first three bytes of a chunk; the version follows, then the checksum.
pub(crate) const MAGIC: [u8; 3] = *b"PTC";

/// Magic, version and checksum.
pub(crate) const PREFIX: usize = 8;

/// Why rows do not make a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotEncoded {
    /// There are none, or more than [`MAX_ROWS`].
    #[error("a chunk has 1 to {MAX_ROWS} rows, not {0}")]
    Rows(usize),
    /// The row at this place comes before the one ahead of it by time, or by id at the same time.
    #[error("row {0} is out of order")]
    OutOfOrder(usize),
    /// The row at this place has an id or a timestamp that is not allowed.
    #[error("row {0} has an id or a time out of range")]
    OutOfRange(usize),
    /// Their payloads have more than [`MAX_TEXT_BYTES`] or [`MAX_VALUES`], or take more memory than is allowed; half of the rows
    /// may do.
    #[error("the payloads are too large for a chunk")]
    TooLarge,
}

/// Makes a chunk of the rows of one device. They must be sorted by timestamp, and those of the same time by id.
///
/// # Errors
/// When there are no rows or too many, when they are not sorted, or beyond a limit.
pub fn encode(rows: &[Row<'_>]) -> Result<Vec<u8>, NotEncoded> {
    let none = HashSet::new();
    let encoding = Encoding { max_weight: usize::MAX, ..Encoding::new(&none) };
    encode_with(rows, encoding).map(|encoded| encoded.content)
}

/// Like [`encode`], in as much memory as is allowed, and tells more of the chunk. The memory is estimated as payloads are read,
/// and before columns are written; what is written may take a fraction of it once more.
///
/// # Errors
/// As [`encode`], and [`NotEncoded::TooLarge`] when it would take more memory; half of the rows may do.
pub fn encode_with(rows: &[Row<'_>], encoding: Encoding<'_>) -> Result<Encoded, NotEncoded> {
    check(rows)?;
    let mut reading =
        Reading { shapes: ShapeTable::new(), columns: Vec::new(), values: 0, texts: 0, without_leaves: 0 };
    let row_shapes = reading.read(rows, encoding)?;
    let weight = reading.weight();
    let Reading { shapes, columns, without_leaves, .. } = reading;
    let mut parts = Parts::default();
    let aligned = aligned(&shapes);
    for (at, (column, aligned)) in columns.iter().zip(aligned).enumerate() {
        column.write(shapes.paths().path(at), aligned, &mut parts);
    }
    let count = columns.len();
    drop(columns);
    let mut shape_text = Vec::new();
    put_length(&mut shape_text, shapes.shapes().len());
    shapes.shapes().iter().for_each(|shape| shape.write(&mut shape_text));
    if shape_text.len().max(parts.texts.len()) > MAX_AREA {
        return Err(NotEncoded::TooLarge);
    }

    let mut out = Vec::with_capacity(PREFIX + parts.integers.len() + parts.directory.len() + rows.len() * 4);
    out.extend_from_slice(&MAGIC);
    out.push(FORMAT_VERSION);
    out.extend_from_slice(&[0; 4]);
    let mut body = Vec::new();
    write_head(rows, &row_shapes, &mut out, &mut body);
    for area in [&shape_text, &parts.texts] {
        let (lengths, bytes) = text::compress(area);
        lengths.iter().for_each(|length| put_length(&mut out, *length));
        body.extend_from_slice(&bytes);
    }
    put_length(&mut out, count);
    out.append(&mut parts.directory);
    out.append(&mut body);
    out.append(&mut parts.integers);
    let checksum = checksum(&out);
    out[4..PREFIX].copy_from_slice(&checksum.to_le_bytes());
    Ok(Encoded { content: out, paths: shapes.live_paths(), weight, without_leaves })
}

/// CRC-32C of everything but itself.
pub(crate) fn checksum(chunk: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&chunk[..4]), &chunk[PREFIX..])
}

fn check(rows: &[Row<'_>]) -> Result<(), NotEncoded> {
    if rows.is_empty() || rows.len() > MAX_ROWS {
        return Err(NotEncoded::Rows(rows.len()));
    }
    let order = |row: &Row<'_>| (row.timestamp, row.id);
    if let Some(at) = rows.windows(2).position(|pair| order(&pair[1]) < order(&pair[0])) {
        return Err(NotEncoded::OutOfOrder(at + 1));
    }
    let allowed = |row: &Row<'_>| row.id <= i64::MAX as u64 && (0..=MAX_TIMESTAMP).contains(&row.timestamp);
    match rows.iter().position(|row| !allowed(row)) {
        Some(at) => Err(NotEncoded::OutOfRange(at)),
        None if rows.iter().map(|row| row.payload.len()).sum::<usize>() > MAX_TEXT_BYTES => Err(NotEncoded::TooLarge),
        None => Ok(()),
    }
}

/// What is known of payloads while they are read.
struct Reading<'a> {
    shapes: ShapeTable,
    columns: Vec<Column<'a>>,
    /// Values, and bytes of payloads.
    values: usize,
    texts: usize,
    without_leaves: usize,
}

impl<'a> Reading<'a> {
    /// Fills the columns, and returns the shape of each row.
    fn read(&mut self, rows: &[Row<'a>], mut encoding: Encoding<'_>) -> Result<Vec<i64>, NotEncoded> {
        let mut found: Vec<Found> = Vec::new();
        let mut row_shapes = Vec::with_capacity(rows.len());
        for row in rows {
            let shape = if !encoding.without_leaves.is_empty() && encoding.without_leaves.contains(&row.id) {
                self.shapes.read_whole(row.payload, &mut found)
            } else {
                self.shapes.read(row.payload, &mut found, encoding.keys.as_deref_mut())
            };
            row_shapes.push(shape as i64);
            self.without_leaves += usize::from(self.shapes.is_whole(shape));
            self.values += found.len();
            self.texts += row.payload.len();
            if self.values > MAX_VALUES || self.weight() > encoding.max_weight {
                return Err(NotEncoded::TooLarge);
            }
            self.take(row.payload, shape, &found);
        }
        Ok(row_shapes)
    }

    /// Adds the values of a row to their columns.
    fn take(&mut self, payload: &'a str, shape: usize, found: &[Found]) {
        self.columns.resize_with(self.shapes.paths().columns(), Column::default);
        for (hole, found) in self.shapes.shape(shape).holes().iter().zip(found) {
            let column = &mut self.columns[hole.column];
            column.push(found.kind, &payload[found.start..found.end]);
            if hole.live
                && self.shapes.paths().path(hole.column).is_some()
                && let Some(value) = leaf::value_of(*found, payload)
            {
                column.count(value);
            }
        }
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        weight::of(self.texts, self.values, self.shapes.paths().columns(), self.shapes.size())
    }
}

/// For each column, whether every row has one value in it, which counts.
fn aligned(shapes: &ShapeTable) -> Vec<bool> {
    let mut once = vec![0; shapes.paths().columns()];
    let mut more = vec![false; shapes.paths().columns()];
    let mut seen = vec![usize::MAX; shapes.paths().columns()];
    for (at, shape) in shapes.shapes().iter().enumerate() {
        for hole in shape.holes() {
            more[hole.column] |= !hole.live || seen[hole.column] == at;
            seen[hole.column] = at;
            once[hole.column] += 1;
        }
    }
    once.iter().zip(more).map(|(once, more)| *once == shapes.shapes().len() && !more).collect()
}

/// What all rows have, and the columns of it.
fn write_head(rows: &[Row<'_>], row_shapes: &[i64], out: &mut Vec<u8>, body: &mut Vec<u8>) {
    let ids: Vec<i64> = rows.iter().map(|row| row.id as i64).collect();
    let timestamps: Vec<i64> = rows.iter().map(|row| row.timestamp).collect();
    let delays: Vec<i64> = rows.iter().map(|row| row.received_at.wrapping_sub(row.timestamp)).collect();
    let mut topics: Vec<i64> = rows.iter().map(|row| row.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    put_length(out, rows.len());
    put_length(out, rows.iter().map(|row| row.payload.len()).sum());
    let (first, last) = (timestamps[0], timestamps[rows.len() - 1]);
    put_varint(out, first as u64);
    put_varint(out, (last - first) as u64);
    let (smallest, largest) = ids.iter().fold((i64::MAX, 0), |(s, l), &id| (s.min(id), l.max(id)));
    put_varint(out, smallest as u64);
    put_varint(out, (largest - smallest) as u64);
    put_length(out, topics.len());
    let mut before = 0;
    for topic in &topics {
        put_signed(out, topic.wrapping_sub(before));
        before = *topic;
    }
    let mut column = |integers: &[i64]| {
        let from = body.len();
        integers::write(integers, body);
        put_length(out, body.len() - from);
    };
    column(&timestamps);
    column(&delays);
    column(&ids);
    if topics.len() > 1 {
        let which = |row: &Row<'_>| topics.binary_search(&row.topic).unwrap_or_default() as i64;
        column(&rows.iter().map(which).collect::<Vec<_>>());
    }
    column(row_shapes);
}
