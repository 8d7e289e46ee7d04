//! Rows of devices become chunks, in memory.

use std::collections::BTreeMap;

use pocket_telemetry_codec::{NotEncoded, OwnedRow, Row, encode};

use crate::telemetry::Found;

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
}

/// Packs rows of any devices, in any order.
pub(crate) fn pack_all(rows: Vec<(i64, Found)>) -> Result<Vec<NewChunk>, NotEncoded> {
    let mut devices: BTreeMap<(i64, i64), Vec<OwnedRow>> = BTreeMap::new();
    for (tenant, Found { device, row }) in rows {
        devices.entry((tenant, device)).or_default().push(row);
    }
    let mut packed = Vec::with_capacity(devices.len());
    for ((tenant, device), rows) in devices {
        packed.extend(pack(tenant, device, rows)?);
    }
    Ok(packed)
}

/// Packs rows of one device, in any order.
pub(crate) fn pack(tenant: i64, device: i64, mut rows: Vec<OwnedRow>) -> Result<Vec<NewChunk>, NotEncoded> {
    rows.sort_unstable_by_key(|row| (row.timestamp, row.id));
    let mut packed = Vec::new();
    let borrowed: Vec<Row<'_>> = rows.iter().map(OwnedRow::as_row).collect();
    let mut parts: Vec<&[Row<'_>]> = borrowed.chunks(LARGE).rev().collect();
    while let Some(part) = parts.pop() {
        match (encode(part), part) {
            (Ok(content), [first, .., last] | [first @ last]) => packed.push(NewChunk {
                tenant,
                device,
                first_at: first.timestamp,
                last_at: last.timestamp,
                rows: i64::try_from(part.len()).unwrap_or(i64::MAX),
                content,
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
    Ok(packed)
}
