//! Chunks put together byte by byte from `docs/STORAGE.md`: one that is right, and some that ask for more than they are.

use pocket_telemetry_codec::{Chunk, Damaged, MAX_ROWS, MAX_TEXT_BYTES, MAX_VALUES, OwnedRow};

use crate::check::{read_all, seal};

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// An area: its content, and its two lengths.
struct Area {
    lengths: [usize; 2],
    bytes: Vec<u8>,
}

impl Area {
    fn plain(content: &[u8]) -> Self {
        Self { lengths: [content.len(), 0], bytes: content.to_vec() }
    }

    fn frame(content: &[u8]) -> Self {
        let bytes = zstd::bulk::compress(content, 1).unwrap();
        Self { lengths: [content.len(), bytes.len()], bytes }
    }
}

/// A chunk of rows at time 5 with ids 9, 10, … and topic -2, received 1 ms later; all of shape 0.
fn chunk(rows: usize, shapes: &Area, texts: &Area, directory: &[u8], integers: &[u8]) -> Vec<u8> {
    let (line, counter, zero) = ([0, 10, 0], [0, 18, 2], [0, 0, 0]);
    let head = [rows, MAX_TEXT_BYTES, 5, 0, 9, rows - 1, 1, 3, 3, 3, 3, 3];
    let mut bytes = vec![0; 8];
    for number in head.into_iter().chain(shapes.lengths).chain(texts.lengths) {
        bytes.extend(varint(number));
    }
    bytes.extend_from_slice(directory);
    for part in [&line, &[0, 2, 0], &counter, &zero] {
        bytes.extend_from_slice(part);
    }
    for part in [&*shapes.bytes, &texts.bytes, integers] {
        bytes.extend_from_slice(part);
    }
    seal(&mut bytes);
    bytes
}

#[test]
fn a_chunk_made_by_hand_is_read() {
    // One shape: one hole of column 0 that counts, `{"t":` before and `}` behind it.
    let shapes = Area::plain(b"\x01\x01\x01\x05\x01{\"t\":}");
    // One column: numbers, aligned, a leaf; form (1, 1); path `t`; smallest 20.0, largest and last 1.5 above it; sum 41.5.
    let directory = [1, 0b1_01_00, 20, 1, b't', 1, 0x90, 3, 15, 0, 15, 0xbe, 6, 0, 3];
    // Its integers: a line from 200 in steps of 15.
    let bytes = chunk(2, &shapes, &Area::plain(&[]), &directory, &[0, 0x90, 3, 30]);
    assert!(read_all(&bytes).is_err(), "the column has four bytes, not three");
    let directory = [&directory[..directory.len() - 1], &[4]].concat();
    let bytes = chunk(2, &shapes, &Area::plain(&[]), &directory, &[0, 0x90, 3, 30]);
    let row = |n: u64, payload: &str| OwnedRow {
        id: 9 + n,
        timestamp: 5,
        received_at: 6,
        topic: -2,
        payload: payload.into(),
    };
    assert_eq!(read_all(&bytes), Ok(vec![row(0, r#"{"t":20.0}"#), row(1, r#"{"t":21.5}"#)]));
    let chunk = Chunk::open(&bytes).unwrap();
    let [leaf] = chunk.leaves() else { panic!("one leaf") };
    assert_eq!((&*leaf.path, leaf.count, leaf.sum, leaf.min, leaf.max, leaf.last), ("t", 2, 41.5, 20.0, 21.5, 21.5));
}

#[test]
fn more_values_than_a_chunk_holds_are_refused() {
    let holes = MAX_VALUES / MAX_ROWS + 1;
    let mut shape = [vec![1], varint(holes)].concat();
    shape.resize(shape.len() + 2 * holes + 1, 0);
    // One column of texts without a leaf, whose texts take one byte: none.
    let directory = [1, 0b01, 1];
    let bytes = chunk(MAX_ROWS, &Area::plain(&shape), &Area::plain(&[0]), &directory, &[]);
    assert_eq!(read_all(&bytes), Err(Damaged::Content("there are more values than a chunk holds")));
}

#[test]
fn payloads_longer_than_a_chunk_holds_are_refused() {
    let long = MAX_TEXT_BYTES / 64;
    let shape = [vec![1, 0], varint(long), vec![b' '; long]].concat();
    let bytes = chunk(65, &Area::frame(&shape), &Area::plain(&[]), &[0], &[]);
    assert!(bytes.len() < 1_000);
    assert_eq!(read_all(&bytes), Err(Damaged::Content("payloads are longer than it says")));
}

#[test]
fn an_area_larger_than_it_may_be_is_not_decompressed() {
    let mut texts = Area::frame(&vec![0; 2 * MAX_TEXT_BYTES + 1]);
    let shapes = Area::plain(&[1, 0, 0]);
    let bytes = chunk(1, &shapes, &texts, &[0], &[]);
    assert_eq!(Chunk::open(&bytes).unwrap_err(), Damaged::Content("a number is beyond its limit"));
    texts.lengths[0] = 10;
    let bytes = chunk(1, &shapes, &texts, &[0], &[]);
    assert_eq!(read_all(&bytes), Err(Damaged::Content("a text area cannot be decompressed")));
}
