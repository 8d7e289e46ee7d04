//! What chunks cost, by their rows: `just bench-micro`.
#![allow(clippy::unwrap_used, reason = "a measurement fails at once")]

use divan::Bencher;
use divan::counter::ItemsCount;
use pocket_telemetry_codec::{Chunk, OwnedRow, Row, encode};

const ROWS: [usize; 3] = [64, 512, 4_096];

fn main() {
    divan::main();
}

#[divan::bench(args = ROWS)]
fn encode_rows(bencher: Bencher<'_, '_>, count: usize) {
    let owned = sensor(count);
    let rows: Vec<Row<'_>> = owned.iter().map(OwnedRow::as_row).collect();
    bencher.counter(ItemsCount::new(count)).bench(|| encode(&rows).unwrap());
}

#[divan::bench(args = ROWS)]
fn restore_all_rows(bencher: Bencher<'_, '_>, count: usize) {
    let chunk = chunk(count);
    bencher.counter(ItemsCount::new(count)).bench(|| Chunk::open(&chunk).unwrap().rows(0..count).unwrap());
}

/// One column is decoded, as for a mean over time.
#[divan::bench(args = ROWS)]
fn decode_a_column(bencher: Bencher<'_, '_>, count: usize) {
    let chunk = chunk(count);
    bencher.counter(ItemsCount::new(count)).bench(|| Chunk::open(&chunk).unwrap().numbers("temperature").unwrap());
}

fn chunk(count: usize) -> Vec<u8> {
    let owned = sensor(count);
    encode(&owned.iter().map(OwnedRow::as_row).collect::<Vec<_>>()).unwrap()
}

/// A sensor that reports every ten seconds, five keys in 80 bytes.
fn sensor(count: usize) -> Vec<OwnedRow> {
    let row = |n: usize| {
        let noise = n * 7_919 % 97;
        let status = if noise == 13 { "warn" } else { "ok" };
        let payload = format!(
            r#"{{"temperature":2{}.{},"humidity":4{}.{},"pressure":1013.{},"seq":{n},"status":"{status}"}}"#,
            noise % 5,
            noise % 10,
            noise % 9,
            noise / 3 % 10,
            noise % 7
        );
        let timestamp = 1_780_000_000_000 + 10_000 * n as i64 + noise as i64;
        OwnedRow { id: 41 * n as u64 + 1, timestamp, received_at: timestamp + 3, topic: 7, payload }
    };
    (0..count).map(row).collect()
}
