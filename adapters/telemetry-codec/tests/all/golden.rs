//! Chunks of each version that was ever written, which stay readable.
//!
//! Beside each chunk are its rows as lines of JSON: id, timestamp, received at, topic, payload. `POCKET_WRITE_GOLDEN=1` writes
//! files that are missing; those that are there are never changed.

use std::fs;
use std::path::{Path, PathBuf};

use pocket_telemetry_codec::{Chunk, FORMAT_VERSION, OwnedRow};

use crate::check::read_all;
use crate::samples::{HARD, chunk, rows, sensor};

fn directory(version: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}

/// Each part of the format is in one of them.
fn cases() -> Vec<(&'static str, Vec<OwnedRow>)> {
    let doubles = (1..80).map(|n| format!(r#"{{"a":{},"b":{:?}}}"#, 1e-9 / f64::from(n), 1e9 / f64::from(n)));
    let mixed =
        (0..90).map(|n| if n % 7 == 0 { r#"{"a":null,"b":1e5}"#.to_owned() } else { format!(r#"{{"a":{}}}"#, n * n) });
    let texts = (0..100).map(|n| format!(r#"{{"text":"message {} of many","on":{}}}"#, n * n, n % 3 == 0));
    let wide = (0..200u64).map(|n| {
        format!(r#"{{"small":{},"large":{},"largest":{}}}"#, n * n % 97, n * n * n * 1_000 % 999_983, n << 50)
    });
    let mut of_topics = sensor(100);
    of_topics.iter_mut().for_each(|row| row.topic = row.id as i64 % 4 - 2);
    vec![
        ("one-row", sensor(1)),
        ("sensor-64", sensor(64)),
        ("sensor-512", sensor(512)),
        ("hard-payloads", rows(HARD)),
        ("doubles", rows(doubles)),
        ("mixed-kinds", rows(mixed)),
        ("texts", rows(texts)),
        ("all-widths", rows(wide)),
        ("topics", of_topics),
    ]
}

fn lines(rows: &[OwnedRow]) -> String {
    let line = |row: &OwnedRow| {
        serde_json::to_string(&(row.id, row.timestamp, row.received_at, row.topic, &row.payload)).unwrap() + "\n"
    };
    rows.iter().map(line).collect()
}

#[test]
fn chunks_of_every_version_stay_readable() {
    if std::env::var_os("POCKET_WRITE_GOLDEN").is_some() {
        write_missing();
    }
    let mut seen = 0;
    for version in 1..=FORMAT_VERSION {
        for entry in fs::read_dir(directory(version)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "chunk") {
                let bytes = fs::read(&path).unwrap();
                let rows = read_all(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert_eq!(
                    lines(&rows),
                    fs::read_to_string(path.with_extension("rows")).unwrap(),
                    "{}",
                    path.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen >= cases().len(), "{seen} golden chunks");
}

#[test]
fn the_version_that_is_written_has_golden_files() {
    for (name, rows) in cases() {
        let bytes = chunk(&rows);
        assert_eq!(bytes[3], FORMAT_VERSION);
        let golden = fs::read(directory(bytes[3]).join(name).with_extension("chunk"))
            .unwrap_or_else(|error| panic!("version {} has no golden file {name}: {error}", bytes[3]));
        assert_eq!(golden[3], FORMAT_VERSION);
    }
}

#[test]
fn golden_leaves_stay_the_same() {
    let bytes = fs::read(directory(1).join("sensor-512.chunk")).unwrap();
    let chunk = Chunk::open(&bytes).unwrap();
    let leaves: Vec<(&str, u32, f64)> = chunk.leaves().iter().map(|leaf| (&*leaf.path, leaf.count, leaf.sum)).collect();
    assert_eq!(leaves, [("temperature", 512, 12_383.6), ("seq", 512, 130_816.0)]);
}

fn write_missing() {
    let directory = directory(FORMAT_VERSION);
    fs::create_dir_all(&directory).unwrap();
    for (name, rows) in cases() {
        let path = directory.join(name).with_extension("chunk");
        if !path.exists() {
            fs::write(&path, chunk(&rows)).unwrap();
            fs::write(path.with_extension("rows"), lines(&rows)).unwrap();
        }
    }
}
