//! Both sides of each limit.

use std::collections::HashSet;

use pocket_telemetry_codec::{
    Chunk, Encoding, KeyLimit, MAX_PAYLOAD_VALUES, MAX_ROWS, MAX_TEXT_BYTES, MAX_TIMESTAMP, MAX_VALUES, NotEncoded,
    Row, encode, encode_with, leaves_of,
};

const ROW: Row<'_> = Row { id: 1, timestamp: 1, received_at: 1, topic: 1, payload: r#"{"a":1}"# };

#[test]
fn a_chunk_has_rows_but_not_too_many() {
    assert_eq!(encode(&[]), Err(NotEncoded::Rows(0)));
    let bytes = encode(&vec![ROW; MAX_ROWS]).unwrap();
    assert!(bytes.len() < 200, "{} bytes for rows that are all the same", bytes.len());
    assert_eq!(Chunk::open(&bytes).unwrap().rows(0..MAX_ROWS).unwrap().len(), MAX_ROWS);
    assert_eq!(encode(&vec![ROW; MAX_ROWS + 1]), Err(NotEncoded::Rows(MAX_ROWS + 1)));
}

#[test]
fn rows_must_be_sorted_by_time_and_id() {
    let at = |timestamp, id| Row { timestamp, id, ..ROW };
    assert!(encode(&[at(1, 9), at(1, 9), at(2, 3)]).is_ok());
    assert_eq!(encode(&[at(1, 1), at(2, 3), at(1, 4)]), Err(NotEncoded::OutOfOrder(2)));
    assert_eq!(encode(&[at(1, 2), at(1, 1)]), Err(NotEncoded::OutOfOrder(1)));
}

#[test]
fn ids_and_times_have_a_range() {
    for row in [Row { id: 1 << 63, ..ROW }, Row { timestamp: -1, ..ROW }, Row { timestamp: MAX_TIMESTAMP + 1, ..ROW }] {
        assert_eq!(encode(&[row]), Err(NotEncoded::OutOfRange(0)));
    }
    assert!(encode(&[Row { id: 0, timestamp: 0, ..ROW }]).is_ok());
    assert!(encode(&[Row { id: (1 << 63) - 1, timestamp: MAX_TIMESTAMP, ..ROW }]).is_ok());
}

#[test]
fn payloads_have_a_size_together() {
    let text = format!("\"{}\"", "x".repeat(65_534));
    let rows = vec![Row { payload: &text, ..ROW }; MAX_TEXT_BYTES / 65_536 + 1];
    assert_eq!(encode(&rows), Err(NotEncoded::TooLarge));
    let bytes = encode(&rows[1..]).unwrap();
    assert_eq!(Chunk::open(&bytes).unwrap().text_bytes(), MAX_TEXT_BYTES);
    assert_eq!(Chunk::open(&bytes).unwrap().rows(9..10).unwrap()[0].payload, text);
}

#[test]
fn payloads_have_a_number_of_values_together() {
    let members: Vec<String> = (0..MAX_VALUES / 1_024).map(|n| format!(r#""{n}":1"#)).collect();
    let payload = format!("{{{}}}", members.join(","));
    let mut rows = vec![Row { payload: &payload, ..ROW }; 1_024];
    assert!(encode(&rows).is_ok());
    rows.push(ROW);
    assert_eq!(encode(&rows), Err(NotEncoded::TooLarge));
}

/// `{"0":1,"1":1,…}` with so many keys from a first on.
fn object(first: usize, keys: usize) -> String {
    let members: Vec<String> = (first..first + keys).map(|n| format!(r#""{n}":1"#)).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn a_payload_has_leaves_up_to_a_number_of_values() {
    for (keys, leaves) in [(MAX_PAYLOAD_VALUES, MAX_PAYLOAD_VALUES), (MAX_PAYLOAD_VALUES + 1, 0)] {
        let payload = object(0, keys);
        assert_eq!(leaves_of(&payload).len(), leaves);
        let bytes = encode(&[ROW, Row { id: 2, payload: &payload, ..ROW }]).unwrap();
        let chunk = Chunk::open(&bytes).unwrap();
        assert_eq!(chunk.rows(1..2).unwrap()[0].payload, payload);
        assert_eq!(chunk.leaves().len(), leaves + 1, "and `a` of the other row");
        assert_eq!(chunk.rows_without_leaves().unwrap().len(), usize::from(leaves == 0));
    }
    let empty = format!(r#"{{"a":1{}}}"#, r#","b":{}"#.repeat(MAX_PAYLOAD_VALUES));
    assert_eq!(leaves_of(&empty), [], "keys count, not only values");
}

#[test]
fn a_chunk_is_made_in_as_much_memory_as_is_allowed() {
    let payloads: Vec<String> = (0..64).map(|n| object(1_000 * n, 1_000)).collect();
    let of = |payload| Row { payload, ..ROW };
    let rows: Vec<Row<'_>> = payloads.iter().map(|payload| of(payload)).collect();
    let none = HashSet::new();
    let with = |max_weight| Encoding { max_weight, ..Encoding::new(&none) };
    let weight = encode_with(&rows, with(usize::MAX)).unwrap().weight;
    assert!(weight > 64 * 1_000 * 300, "{weight}");
    assert!(encode_with(&rows, with(weight)).is_ok());
    assert_eq!(encode_with(&rows, with(weight - 1)), Err(NotEncoded::TooLarge));
    let halves: usize = rows.chunks(32).map(|half| encode_with(half, with(weight)).unwrap().weight).sum();
    assert!((weight..weight + weight / 10).contains(&halves), "{halves} of halves, {weight} of all");
}

#[test]
fn the_weight_of_a_chunk_is_about_what_it_was_when_it_was_made() {
    let same: Vec<Row<'_>> =
        (0..1_000).map(|id| Row { id, payload: r#"{"temperature":21.5,"state":"on"}"#, ..ROW }).collect();
    let new: Vec<String> = (0..32).map(|n| object(1_000 * n, 1_000)).collect();
    let new: Vec<Row<'_>> = new.iter().map(|payload| Row { payload, ..ROW }).collect();
    let none = HashSet::new();
    for rows in [same, new] {
        let encoded = encode_with(&rows, Encoding::new(&none)).unwrap();
        let told = Chunk::open(&encoded.content).unwrap().weight().unwrap();
        assert!((encoded.weight / 2..encoded.weight * 2).contains(&told), "{told} and {}", encoded.weight);
    }
}

#[test]
fn rows_kept_without_leaves_come_back() {
    let rows: Vec<Row<'_>> = (0..10).map(|id| Row { id, payload: r#"{"a":1}"#, ..ROW }).collect();
    let without = HashSet::from([3, 7]);
    let encoded = encode_with(&rows, Encoding::new(&without)).unwrap();
    let chunk = Chunk::open(&encoded.content).unwrap();
    assert_eq!((chunk.rows_without_leaves().unwrap(), encoded.without_leaves), (vec![3, 7], 2));
    assert_eq!(chunk.leaves()[0].count, 8);
    assert!(chunk.rows(0..10).unwrap().iter().all(|row| row.payload == ROW.payload));
}

#[test]
fn payloads_with_keys_beyond_a_limit_are_kept_without_leaves() {
    let payloads = [r#"{"a":1,"b":1}"#, r#"{"c":1}"#, r#"{"d":1}"#, r#"{"c":2,"d":2}"#, r#"{"a":1,"c":3}"#];
    let rows: Vec<Row<'_>> = payloads.iter().map(|payload| Row { payload, ..ROW }).collect();
    let (none, mut keys) = (HashSet::new(), KeyLimit::new(["a".into(), "b".into()], 3));
    let encoding = Encoding { keys: Some(&mut keys), ..Encoding::new(&none) };
    let encoded = encode_with(&rows, encoding).unwrap();
    assert_eq!(encoded.paths, ["a".into(), "b".into(), "c".into()] as [Box<str>; 3]);
    let chunk = Chunk::open(&encoded.content).unwrap();
    assert_eq!(chunk.rows_without_leaves().unwrap(), [2, 3]);
    assert!(chunk.rows(0..5).unwrap().iter().zip(payloads).all(|(row, payload)| row.payload == payload));
}
