//! Rows of devices become chunks, in memory.
//!
//! What it takes is bounded: a chunk by its weight, the chunks that wait to be written by their bytes. Rows that do not fit
//! together are packed in halves, a row that takes too much by itself without leaves, and one that no chunk takes is told.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use pocket_telemetry_codec::{
    Chunk, Damaged, Encoded, Encoding, KeyLimit, MAX_WEIGHT, NotEncoded, OwnedRow, Row, encode_with,
};

use super::batch::Batch;
use super::halvings;
use crate::telemetry::LastValues;

/// Rows of a chunk that is large enough.
pub(crate) const LARGE: usize = 4_096;

/// A chunk that is not yet in the table.
#[derive(Debug)]
pub(crate) struct NewChunk {
    pub(crate) tenant: i64,
    pub(crate) device: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    /// When the first and the last of its rows were received.
    pub(crate) received: (i64, i64),
    pub(crate) rows: i64,
    pub(crate) content: Vec<u8>,
    /// The keys of its payloads.
    pub(crate) keys: Vec<Box<str>>,
    /// The topics of its rows, each once.
    pub(crate) topics: Vec<i64>,
    /// About how many bytes of memory it takes to make it.
    pub(crate) weight: usize,
    /// How many rows have no leaves.
    pub(crate) without_leaves: usize,
    /// The last value of each series in it, where it is made of rows of the log.
    pub(crate) last: LastValues,
}

impl NewChunk {
    fn of(tenant: i64, device: i64, rows: &[Row<'_>], encoded: Encoded) -> Option<Self> {
        let (first, last) = (rows.first()?, rows.last()?);
        let Encoded { content, paths, weight, without_leaves, .. } = encoded;
        Some(Self {
            tenant,
            device,
            first_at: first.timestamp,
            last_at: last.timestamp,
            received: received(rows)?,
            rows: i64::try_from(rows.len()).unwrap_or(i64::MAX),
            content,
            keys: paths,
            topics: rows.iter().map(|row| row.topic).collect::<BTreeSet<_>>().into_iter().collect(),
            weight,
            without_leaves,
            last: LastValues::default(),
        })
    }

    /// About how many bytes it takes until it is written.
    fn bytes(&self) -> usize {
        self.content.len() + self.keys.iter().map(|key| key.len() + 2 * size_of::<Box<str>>()).sum::<usize>()
    }

    /// The same with only such keys as a limit leaves room for. Other payloads have no leaves then.
    pub(crate) fn with_keys(self, keys: &mut KeyLimit) -> Result<Self, String> {
        let (rows, without_leaves) = rows_of(&self.content).map_err(|error| error.to_string())?;
        let rows: Vec<Row<'_>> = rows.iter().map(OwnedRow::as_row).collect();
        let encoding = Encoding { max_weight: usize::MAX, keys: Some(keys), ..Encoding::new(&without_leaves) };
        let encoded = encode_with(&rows, encoding).map_err(|error| error.to_string())?;
        match Self::of(self.tenant, self.device, &rows, encoded) {
            Some(chunk) => Ok(Self { last: last_values(&chunk.content, &rows), ..chunk }),
            None => Ok(self),
        }
    }
}

/// When the first and the last of some rows were received.
fn received(rows: &[Row<'_>]) -> Option<(i64, i64)> {
    let times = || rows.iter().map(|row| row.received_at);
    Some((times().min()?, times().max()?))
}

/// The rows of a chunk, and the ids of those that have no leaves.
pub(crate) fn rows_of(content: &[u8]) -> Result<(Vec<OwnedRow>, HashSet<u64>), Damaged> {
    let chunk = Chunk::open(content)?;
    let rows = chunk.rows(0..chunk.len())?;
    let without_leaves = chunk.rows_without_leaves()?.into_iter().filter_map(|row| Some(rows.get(row)?.id)).collect();
    Ok((rows, without_leaves))
}

/// How much is packed at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    /// The most weight of a chunk.
    pub(super) weight: usize,
    /// Whether payloads have leaves.
    pub(super) has_leaves: bool,
}

impl Portion {
    /// Bytes of chunks at which they are written before others are made.
    const BYTES: usize = 4_000_000;

    /// That of rows which failed so often, each time with half as many.
    pub(super) fn halved(halvings: u32) -> Self {
        Self { weight: MAX_WEIGHT >> halvings.min(8), has_leaves: halvings < halvings::MOST }
    }
}

/// A row that no chunk takes.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) id: u64,
    pub(super) error: NotEncoded,
}

/// A part of what a batch becomes.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) chunks: Vec<NewChunk>,
    pub(super) refused: Vec<Refused>,
}

/// Packs a batch, a portion at a time.
pub(super) struct Packer {
    batch: Batch,
    portion: Portion,
    /// Rows of a device each, the next last.
    parts: Vec<Range<usize>>,
}

impl Packer {
    pub(super) fn new(mut batch: Batch, portion: Portion) -> Self {
        let mut parts: Vec<Range<usize>> = Vec::new();
        for device in batch.sort() {
            parts.extend(device.clone().step_by(LARGE).map(|from| from..device.end.min(from + LARGE)));
        }
        parts.reverse();
        Self { batch, portion, parts }
    }

    /// Whether all is packed.
    pub(super) fn is_done(&self) -> bool {
        self.parts.is_empty()
    }

    /// Packs the next portion.
    pub(super) fn pack(&mut self) -> Packed {
        let (mut packed, mut bytes) = (Packed::default(), 0);
        while bytes < Portion::BYTES
            && let Some(part) = self.parts.pop()
        {
            let Some(((tenant, device), rows)) = self.batch.rows(part.clone()) else { continue };
            match encode_part(&rows, self.portion) {
                Ok(encoded) => {
                    let chunk = NewChunk::of(tenant, device, &rows, encoded);
                    let chunk = chunk.map(|chunk| NewChunk { last: last_values(&chunk.content, &rows), ..chunk });
                    bytes += chunk.as_ref().map_or(0, NewChunk::bytes);
                    packed.chunks.extend(chunk);
                }
                // Payloads that are very long or have very many values make a chunk of fewer rows.
                Err(_) if part.len() > 1 => {
                    let middle = part.start + part.len() / 2;
                    self.parts.extend([middle..part.end, part.start..middle]);
                }
                Err(error) => packed.refused.extend(rows.iter().map(|row| Refused { id: row.id, error })),
            }
        }
        packed
    }
}

/// Makes a chunk of rows, without leaves where these take too much of a single row.
fn encode_part(rows: &[Row<'_>], portion: Portion) -> Result<Encoded, NotEncoded> {
    let none = HashSet::new();
    if portion.has_leaves {
        let encoding = Encoding { max_weight: portion.weight, ..Encoding::new(&none) };
        match encode_with(rows, encoding) {
            Err(NotEncoded::TooLarge) if rows.len() == 1 => {}
            encoded => return encoded,
        }
    }
    let all = rows.iter().map(|row| row.id).collect();
    // A row by itself takes what its text takes, which has a limit of its own.
    let max_weight = if rows.len() == 1 { usize::MAX } else { portion.weight };
    encode_with(rows, Encoding { max_weight, ..Encoding::new(&all) })
}

/// Packs rows of one device, in any order, which are in chunks: some of them without leaves.
pub(crate) fn pack(
    tenant: i64,
    device: i64,
    mut rows: Vec<OwnedRow>,
    without_leaves: &HashSet<u64>,
) -> Result<Vec<NewChunk>, NotEncoded> {
    rows.sort_unstable_by_key(|row| (row.timestamp, row.id));
    let borrowed: Vec<Row<'_>> = rows.iter().map(OwnedRow::as_row).collect();
    let mut packed = Vec::new();
    let mut parts: Vec<&[Row<'_>]> = borrowed.chunks(LARGE).rev().collect();
    while let Some(part) = parts.pop() {
        // A row that was in a chunk by itself takes as much as it did there.
        let max_weight = if part.len() > 1 { MAX_WEIGHT } else { usize::MAX };
        match encode_with(part, Encoding { max_weight, ..Encoding::new(without_leaves) }) {
            Ok(encoded) => packed.extend(NewChunk::of(tenant, device, part, encoded)),
            Err(_) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(packed)
}

/// The last values of rows, found by the shapes that their chunk has. A payload that has no leaves there has no values.
fn last_values(content: &[u8], rows: &[Row<'_>]) -> LastValues {
    let mut values = LastValues::default();
    // It was made just now, so it can be read.
    let last = Chunk::open(content).and_then(|chunk| chunk.last_of_each_kind()).unwrap_or_default();
    for Row { id, timestamp, topic, payload, .. } in last.into_iter().filter_map(|row| rows.get(row)) {
        values.see((*timestamp, id.cast_signed()), *topic, (*payload).to_owned());
    }
    values
}
