//! Both sides of each limit.

use pocket_telemetry_codec::{Chunk, MAX_ROWS, MAX_TEXT_BYTES, MAX_TIMESTAMP, MAX_VALUES, NotEncoded, Row, encode};

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
