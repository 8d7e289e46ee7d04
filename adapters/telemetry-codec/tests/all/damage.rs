//! Damage is noticed, and content made to do harm does none.

use std::path::{Path, PathBuf};

use pocket_telemetry_codec::{Chunk, Damaged, OwnedRow};
use proptest::prelude::*;

use crate::check::{check, read_all, seal};
use crate::json;
use crate::samples::{HARD, chunk, rows, sensor};

/// Chunks that have each part of the format.
fn chunks() -> Vec<Vec<u8>> {
    let texts = (0..30).map(|n| format!(r#"{{"text":"message {} of many","on":{}}}"#, n * n, n % 3 == 0));
    let mixed =
        (0..90).map(|n| if n % 7 == 0 { r#"{"a":null,"b":0.25}"#.to_owned() } else { format!(r#"{{"a":{}}}"#, n * n) });
    let mut of_topics = sensor(20);
    of_topics.iter_mut().for_each(|row| row.topic = row.id as i64 % 4);
    let all: [Vec<OwnedRow>; 6] = [sensor(1), sensor(100), rows(HARD), rows(texts), rows(mixed), of_topics];
    all.iter().map(|rows| chunk(rows)).collect()
}

#[test]
fn each_changed_byte_is_noticed() {
    for bytes in chunks() {
        for at in 0..bytes.len() {
            for change in [1, 0x10, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                let error = Chunk::open(&damaged).unwrap_err();
                let expected = match at {
                    0..3 => Damaged::NotAChunk,
                    3 => Damaged::UnknownVersion(1 ^ change),
                    _ => Damaged::Checksum,
                };
                assert_eq!(error, expected, "byte {at}");
            }
        }
    }
}

#[test]
fn each_cut_is_noticed() {
    for bytes in chunks() {
        for length in 0..bytes.len() {
            assert!(Chunk::open(&bytes[..length]).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Chunk::open(&longer).is_err());
    }
}

#[test]
fn changed_bytes_under_a_right_checksum_do_no_harm() {
    for bytes in chunks() {
        for at in 8..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                seal(&mut damaged);
                let _ = read_all(&damaged);
            }
        }
    }
}

#[test]
fn cut_and_longer_content_under_a_right_checksum_is_refused() {
    for bytes in chunks() {
        for length in 8..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            seal(&mut cut);
            assert!(read_all(&cut).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        seal(&mut longer);
        assert_eq!(read_all(&longer), Err(Damaged::Content("it is longer than it says")));
    }
}

#[test]
fn what_is_no_chunk_is_refused() {
    for bytes in [&b""[..], b"PTC", b"PTC\x01\0\0\0", b"SQLite format 3\0", &[0; 100], &[0xff; 100]] {
        assert!(matches!(Chunk::open(bytes), Err(Damaged::NotAChunk | Damaged::Checksum)), "{bytes:?}");
    }
    assert_eq!(Chunk::open(b"PTC\x02\0\0\0\0").unwrap_err(), Damaged::UnknownVersion(2));
}

#[test]
fn what_the_fuzzer_begins_with_does_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/chunks");
    let inputs: Vec<PathBuf> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty());
    inputs.iter().for_each(|input| check(&std::fs::read(input).unwrap()));
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(bytes: Vec<u8>) {
        check(&bytes);
    }

    #[test]
    fn chunks_changed_in_several_places_do_no_harm(
        payloads in json::payloads(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = chunk(&rows(payloads));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
    }

    #[test]
    fn chunks_with_pieces_of_others_do_no_harm(
        payloads in json::payloads(),
        [from, to, end] in prop::array::uniform3(any::<prop::sample::Index>()),
        other in 0..6usize,
    ) {
        let mut bytes = chunk(&rows(payloads));
        let other = &chunks()[other];
        let (from, to) = (from.index(other.len()), to.index(bytes.len()));
        let end = to + end.index(bytes.len() - to);
        bytes.splice(to..end, other[from..].iter().copied());
        check(&bytes);
    }
}
