//! Rows into a chunk.

use crate::bytes::{put_length, put_signed, put_varint};
use crate::column::{Column, Parts};
use crate::scan::Found;
use crate::shape_table::ShapeTable;
use crate::text::MAX_AREA;
use crate::{FORMAT_VERSION, MAX_ROWS, MAX_TEXT_BYTES, MAX_TIMESTAMP, MAX_VALUES, Row, integers, leaf, text};

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
    /// Their payloads have more than [`MAX_TEXT_BYTES`] or [`MAX_VALUES`]; half of the rows may do.
    #[error("the payloads are too large for a chunk")]
    TooLarge,
}

/// Makes a chunk of the rows of one device. They must be sorted by timestamp, and those of the same time by id.
///
/// # Errors
/// When there are no rows or too many, when they are not sorted, or beyond a limit.
pub fn encode(rows: &[Row<'_>]) -> Result<Vec<u8>, NotEncoded> {
    encode_with_paths(rows).map(|(chunk, _)| chunk)
}

/// Like [`encode`], and tells the path of each value in the payloads that is no object, each once: keys joined by `.`, `$` for
/// a payload that is one value. Payloads that are not JSON, and paths longer than [`MAX_PATH_BYTES`](crate::MAX_PATH_BYTES),
/// have none.
///
/// # Errors
/// As [`encode`].
pub fn encode_with_paths(rows: &[Row<'_>]) -> Result<(Vec<u8>, Vec<Box<str>>), NotEncoded> {
    check(rows)?;
    let mut shapes = ShapeTable::new();
    let mut columns = Vec::new();
    let row_shapes = read_payloads(rows, &mut shapes, &mut columns)?;
    let mut parts = Parts::default();
    let aligned = aligned(&shapes);
    for (column, aligned) in columns.iter().zip(aligned) {
        column.write(aligned, &mut parts);
    }
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
    put_length(&mut out, columns.len());
    out.append(&mut parts.directory);
    out.append(&mut body);
    out.append(&mut parts.integers);
    let checksum = checksum(&out);
    out[4..PREFIX].copy_from_slice(&checksum.to_le_bytes());
    Ok((out, shapes.live_paths()))
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

/// Fills the columns, and returns the shape of each row.
fn read_payloads<'a>(
    rows: &[Row<'a>],
    shapes: &mut ShapeTable,
    columns: &mut Vec<Column<'a>>,
) -> Result<Vec<i64>, NotEncoded> {
    let mut found: Vec<Found> = Vec::new();
    let mut row_shapes = Vec::with_capacity(rows.len());
    let mut values = 0;
    for row in rows {
        let shape = shapes.read(row.payload, &mut found);
        row_shapes.push(shape as i64);
        values += found.len();
        if values > MAX_VALUES {
            return Err(NotEncoded::TooLarge);
        }
        columns.resize_with(shapes.paths().columns(), Column::default);
        for (hole, found) in shapes.shape(shape).holes().iter().zip(&found) {
            let column = &mut columns[hole.column];
            column.values.push((found.kind, &row.payload[found.start..found.end]));
            if !hole.live {
                continue;
            }
            if let (Some(path), Some(value)) = (shapes.paths().path(hole.column), leaf::value_of(*found, row.payload)) {
                column.count(path, value);
            }
        }
    }
    Ok(row_shapes)
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
