//! Rows of devices become chunks, in memory.

use std::collections::BTreeSet;

use pocket_telemetry_codec::{NotEncoded, OwnedRow, Row, encode_with_paths};

use super::batch::Batch;

/// Rows of a chunk that is large enough.
pub(crate) const LARGE: usize = 4_096;

/// A chunk that is not yet in the table.
#[derive(Debug)]
pub(crate) struct NewChunk {
    pub(crate) tenant: i64,
    pub(crate) device: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) rows: i64,
    pub(crate) content: Vec<u8>,
    /// The keys of its payloads.
    pub(crate) keys: Vec<Box<str>>,
    /// The topics of its rows, each once.
    pub(crate) topics: Vec<i64>,
}

/// Packs rows of any devices.
pub(crate) fn pack_all(mut batch: Batch) -> Result<Vec<NewChunk>, NotEncoded> {
    let mut packed = Vec::new();
    for ((tenant, device), rows) in batch.devices() {
        pack_ordered(tenant, device, &rows, &mut packed)?;
    }
    Ok(packed)
}

/// Packs rows of one device, in any order.
pub(crate) fn pack(tenant: i64, device: i64, mut rows: Vec<OwnedRow>) -> Result<Vec<NewChunk>, NotEncoded> {
    rows.sort_unstable_by_key(|row| (row.timestamp, row.id));
    let borrowed: Vec<Row<'_>> = rows.iter().map(OwnedRow::as_row).collect();
    let mut packed = Vec::new();
    pack_ordered(tenant, device, &borrowed, &mut packed)?;
    Ok(packed)
}

fn pack_ordered(tenant: i64, device: i64, rows: &[Row<'_>], packed: &mut Vec<NewChunk>) -> Result<(), NotEncoded> {
    let mut parts: Vec<&[Row<'_>]> = rows.chunks(LARGE).rev().collect();
    while let Some(part) = parts.pop() {
        match (encode_with_paths(part), part) {
            (Ok((content, keys)), [first, .., last] | [first @ last]) => packed.push(NewChunk {
                tenant,
                device,
                first_at: first.timestamp,
                last_at: last.timestamp,
                rows: i64::try_from(part.len()).unwrap_or(i64::MAX),
                content,
                keys,
                topics: part.iter().map(|row| row.topic).collect::<BTreeSet<_>>().into_iter().collect(),
            }),
            // Payloads that are very long or have very many values make a chunk of fewer rows.
            (Err(_), [_, _, ..]) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            (Err(error), _) => return Err(error),
            (Ok(_), []) => {}
        }
    }
    Ok(())
}
