//! Measures the codec on one core: bytes a row, rows encoded and restored a second, and the time a column takes.
//!
//! `cargo run --release -p pocket-telemetry-codec --example measure`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a report, of a run that may fail at once")]

use std::time::{Duration, Instant};

use pocket_telemetry_codec::{Chunk, LeafReader, OwnedRow, Row, encode};

const ROWS: usize = 1_000_000;

/// A sensor that reports every ten seconds, late by up to 40 ms and received up to 20 ms later, beside others: so ids have gaps.
fn sensor(count: usize) -> Vec<OwnedRow> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % limit
    };
    let (mut id, mut tenths) = (1_000_000, [215i64, 480, 10_132]);
    let mut rows = Vec::with_capacity(count);
    for n in 0..count as u64 {
        id += 1 + below(40);
        for value in &mut tenths {
            *value += below(5) as i64 - 2;
        }
        let timestamp = 1_780_000_000_000 + 10_000 * n as i64 + below(40) as i64;
        let tenth =
            |value: i64| format!("{}{}.{}", if value < 0 { "-" } else { "" }, value.abs() / 10, value.abs() % 10);
        let [temperature, humidity, pressure] = tenths.map(tenth);
        let status = if below(50) == 0 { "warn" } else { "ok" };
        let payload = format!(
            r#"{{"temperature":{temperature},"humidity":{humidity},"pressure":{pressure},"seq":{n},"status":"{status}"}}"#
        );
        rows.push(OwnedRow { id, timestamp, received_at: timestamp + below(20) as i64, topic: 7, payload });
    }
    rows
}

fn best<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = work();
        (start.elapsed(), result)
    };
    let runs: Vec<(Duration, T)> = (0..5).map(|_| timed()).collect();
    runs.into_iter().min_by_key(|(time, _)| *time).unwrap()
}

fn per_second(time: Duration) -> f64 {
    ROWS as f64 / time.as_secs_f64() / 1_000.0
}

fn main() {
    let owned = sensor(ROWS);
    let rows: Vec<Row<'_>> = owned.iter().map(OwnedRow::as_row).collect();
    let text: usize = rows.iter().map(|row| row.payload.len()).sum();
    println!("{:.1} bytes of JSON a row, {ROWS} rows; best of five runs", text as f64 / ROWS as f64);
    let (reading, _) = best(|| {
        let mut reader = LeafReader::new();
        rows.iter().map(|row| reader.leaves(row.payload).map(|(_, value)| value).sum::<f64>()).sum::<f64>()
    });
    println!("leaves of single payloads: {:.0} k rows/s", per_second(reading));
    for size in [64, 512, 4_096, 65_536] {
        let (encoding, chunks) = best(|| rows.chunks(size).map(|rows| encode(rows).unwrap()).collect::<Vec<_>>());
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        let (restoring, restored) = best(|| {
            let rows = |chunk: &Vec<u8>| Chunk::open(chunk).unwrap().rows(0..size).unwrap().len();
            chunks.iter().map(rows).sum::<usize>()
        });
        assert_eq!(restored, ROWS);
        let (opening, _) =
            best(|| chunks.iter().map(|chunk| Chunk::open(chunk).unwrap().leaves().len()).sum::<usize>());
        let (numbers, sum) = best(|| {
            let sum = |chunk: &Vec<u8>| -> f64 {
                Chunk::open(chunk).unwrap().numbers("temperature").unwrap().unwrap().values().iter().sum()
            };
            chunks.iter().map(sum).sum::<f64>()
        });
        let (times, _) =
            best(|| chunks.iter().map(|chunk| Chunk::open(chunk).unwrap().timestamps().unwrap().len()).sum::<usize>());
        println!(
            "{size:6} rows a chunk: {:6.3} bytes a row, encoded {:4.0} k rows/s, restored {:4.0} k rows/s; all rows: opened {:.1} ms, \
             a column decoded and summed {:.1} ms (mean {:.3}), timestamps {:.1} ms",
            bytes as f64 / ROWS as f64,
            per_second(encoding),
            per_second(restoring),
            opening.as_secs_f64() * 1_000.0,
            numbers.as_secs_f64() * 1_000.0,
            sum / ROWS as f64,
            times.as_secs_f64() * 1_000.0,
        );
    }
}
