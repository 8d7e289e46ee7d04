//! What must hold for any bytes; the fuzz target `chunks` includes this file.

use pocket_telemetry_codec::{Chunk, Damaged, LeafReader, OwnedRow, Row, encode};

/// How many leaves and single rows are looked at; all of them take too long where there are tens of thousands.
const SOME: usize = 8;

/// Any bytes, as they are, as the content of a chunk whose checksum is right, and as payloads.
pub(crate) fn check(data: &[u8]) {
    let _ = read_all(data);
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    let _ = read_all(&sealed);
    if let Ok(text) = std::str::from_utf8(data) {
        come_back(&text.split('\u{1}').collect::<Vec<_>>());
    }
}

/// Makes the first bytes those of a chunk, and the checksum right.
pub(crate) fn seal(bytes: &mut [u8]) {
    if bytes.len() >= 8 {
        bytes[..4].copy_from_slice(b"PTC\x01");
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Reads all there is of a chunk in every way.
pub(crate) fn read_all(bytes: &[u8]) -> Result<Vec<OwnedRow>, Damaged> {
    let chunk = Chunk::open(bytes)?;
    let every = 0..chunk.len();
    for leaf in chunk.leaves().iter().take(SOME) {
        if let Some(numbers) = chunk.numbers(&leaf.path)? {
            assert!(numbers.values().len() <= chunk.len());
            assert!(numbers.iter().all(|(row, _)| every.contains(&row)));
        }
    }
    let (timestamps, ids, topics) = (chunk.timestamps()?, chunk.ids()?, chunk.row_topics()?);
    let rows = chunk.rows(every.clone())?;
    assert!([timestamps.len(), ids.len(), topics.len(), rows.len()].iter().all(|length| *length == chunk.len()));
    assert!(rows.iter().map(|row| row.payload.len()).sum::<usize>() <= chunk.text_bytes());
    for at in every.clone().step_by(chunk.len().div_ceil(SOME)) {
        assert_eq!(chunk.rows(at..at + 1)?, rows[at..=at]);
    }
    assert_eq!(chunk.rows(chunk.len()..usize::MAX)?, []);
    let borrowed: Vec<Row<'_>> = rows.iter().map(OwnedRow::as_row).collect();
    if let Ok(again) = encode(&borrowed) {
        assert_eq!(Chunk::open(&again)?.rows(every)?, rows);
    }
    Ok(rows)
}

/// Texts as payloads come back, and their leaves are the same alone and in a chunk.
pub(crate) fn come_back(payloads: &[&str]) {
    let row = |(n, payload): (usize, &&str)| OwnedRow {
        id: n as u64,
        timestamp: n as i64 / 2,
        received_at: n as i64,
        topic: n as i64 % 3,
        payload: (*payload).to_owned(),
    };
    let rows: Vec<OwnedRow> = payloads.iter().enumerate().map(row).collect();
    let borrowed: Vec<Row<'_>> = rows.iter().map(OwnedRow::as_row).collect();
    let bytes = encode(&borrowed).expect("rows in order");
    let chunk = Chunk::open(&bytes).expect("a chunk that was just made");
    assert_eq!(chunk.rows(0..rows.len()), Ok(rows));
    let mut reader = LeafReader::new();
    let mut leaves: Vec<Vec<(String, f64)>> = Vec::new();
    for payload in payloads {
        leaves.push(reader.leaves(payload).map(|(path, value)| (path.to_owned(), value)).collect());
    }
    for leaf in chunk.leaves().iter().take(SOME) {
        let of_row =
            |leaves: &Vec<(String, f64)>| leaves.iter().find(|(path, _)| **path == *leaf.path).map(|(_, v)| *v);
        let alone: Vec<(usize, f64)> =
            leaves.iter().enumerate().filter_map(|(row, leaves)| Some((row, of_row(leaves)?))).collect();
        let numbers = chunk.numbers(&leaf.path).expect("a chunk that was just made").expect("a leaf that is there");
        assert_eq!(numbers.iter().collect::<Vec<_>>(), alone);
        let sum = alone.iter().skip(1).fold(alone[0].1, |sum, (_, value)| sum + value);
        assert_eq!(leaf.sum.to_bits(), sum.to_bits());
        assert_eq!((leaf.count as usize, leaf.first, leaf.last), (alone.len(), alone[0].1, alone[alone.len() - 1].1));
    }
}
