//! A chunk that is made to do harm takes no more memory than its limits allow. Each test is a process of its own where
//! `cargo nextest` runs them.

use pocket_telemetry_codec::{Chunk, MAX_TEXT_BYTES, MAX_VALUES};

use crate::check::{read_all, seal};

const MIB: usize = 1 << 20;

/// The most bytes that this process ever had in RAM; `None` where the system does not tell.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kibibytes| kibibytes * 1_024)
}

/// Checks that something takes no more memory than so many bytes.
fn takes_at_most(bytes: usize, what: impl FnOnce()) {
    let before = peak();
    what();
    let (Some(before), Some(after)) = (before, peak()) else { return };
    let taken = after.saturating_sub(before);
    assert!(taken <= bytes, "{} MiB were taken, at most {} were due", taken / MIB, bytes / MIB);
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A part of a chunk: how long it is, how long zstd made it, and its bytes.
fn compressed(area: &[u8]) -> (usize, usize, Vec<u8>) {
    let small = zstd::bulk::compress(area, 3).unwrap();
    (area.len(), small.len(), small)
}

/// A chunk of one row with these shapes, texts, and columns with their directory.
fn chunk(shapes: &[u8], texts: &[u8], columns: usize, directory: &[u8], text_bytes: usize) -> Vec<u8> {
    let mut out = vec![0; 8];
    // One row, its payload, times and ids from 1 to 1, and the topic 1.
    for value in [1, text_bytes, 1, 0, 1, 0, 1, 2] {
        varint(&mut out, value);
    }
    // A line of one integer is a tag, the integer and the step.
    for length in [3, 3, 3, 3] {
        varint(&mut out, length);
    }
    let areas = [compressed(shapes), compressed(texts)];
    for (length, small, _) in &areas {
        varint(&mut out, *length);
        varint(&mut out, *small);
    }
    varint(&mut out, columns);
    out.extend_from_slice(directory);
    for first in [2, 0, 2, 0] {
        out.extend_from_slice(&[0, first, 0]);
    }
    areas.iter().for_each(|(_, _, bytes)| out.extend_from_slice(bytes));
    seal(&mut out);
    out
}

/// A shape of one row with holes of these columns, and no text.
fn shape(holes: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
    let mut out = vec![1];
    let count = holes.len();
    varint(&mut out, count);
    holes.for_each(|column| varint(&mut out, column << 1));
    out.resize(out.len() + count + 1, 0);
    out
}

#[test]
fn columns_have_a_number() {
    // Columns of texts without any; two bytes each.
    let directory = |count| [1, 0].repeat(count);
    let all = chunk(&shape([0; 0].into_iter()), &[], MAX_VALUES, &directory(MAX_VALUES), 0);
    takes_at_most(96 * MIB, || assert!(Chunk::open(&all).is_ok()));
    let more = 3 * MAX_VALUES;
    let more = chunk(&shape([0; 0].into_iter()), &[], more, &directory(more), 0);
    takes_at_most(MIB, || assert!(Chunk::open(&more).is_err()));
}

#[test]
fn values_of_as_many_columns_take_what_they_are() {
    // A text of no bytes in each column: one text, of length 0.
    let texts = [1, 0].repeat(MAX_VALUES);
    let made = chunk(&shape(0..MAX_VALUES), &texts, MAX_VALUES, &[1, 2].repeat(MAX_VALUES), 0);
    takes_at_most(704 * MIB, || {
        let chunk = Chunk::open(&made).unwrap();
        assert_eq!(chunk.rows(0..1).unwrap()[0].payload, "");
    });
}

#[test]
fn a_long_text_that_many_values_have_is_not_written_beyond_the_end() {
    // Half as long as the payload may be, in a dictionary of one text.
    let long = MAX_TEXT_BYTES / 2;
    let mut texts = vec![1];
    varint(&mut texts, long);
    texts.resize(texts.len() + long, b'x');
    let mut directory = vec![1 | 8, 3];
    varint(&mut directory, texts.len());
    let mut made = chunk(&shape([0; 10_000].into_iter()), &texts, 1, &directory, MAX_TEXT_BYTES);
    // The line of indices, all 0.
    made.extend_from_slice(&[0, 0, 0]);
    seal(&mut made);
    takes_at_most(256 * MIB, || {
        let chunk = Chunk::open(&made).unwrap();
        assert!(chunk.rows(0..1).unwrap_err().to_string().contains("longer than it says"));
    });
}

#[test]
fn areas_that_say_too_much_are_refused() {
    let made = chunk(&vec![0; 2 * MAX_TEXT_BYTES + 1], &[], 0, &[], 0);
    takes_at_most(MIB, || assert!(read_all(&made).is_err()));
}
