//! What goes in comes out, and its leaves are those of a JSON library.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use pocket_domain::LeafPath;
use pocket_telemetry_codec::{Chunk, Damaged, Encoding, OwnedRow, encode_with, leaves_of};
use proptest::prelude::*;

use crate::samples::{HARD, chunk, rows, sensor};
use crate::{check, json, naive};

fn restored(rows: &[OwnedRow]) -> Result<Vec<OwnedRow>, Damaged> {
    Chunk::open(&chunk(rows))?.rows(0..rows.len())
}

#[test]
fn hard_payloads_come_back_alone_and_together() {
    let all = rows(HARD);
    assert_eq!(restored(&all), Ok(all.clone()));
    for row in all {
        assert_eq!(restored(std::slice::from_ref(&row)), Ok(vec![row]));
    }
}

#[test]
fn a_payload_of_64_kib_and_a_hundred_levels_comes_back() {
    let deep = format!("{}1.50{}", r#"{"a":"#.repeat(100), "}".repeat(100));
    let arrays = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let long = format!(r#"{{"text":"{}","a":1}}"#, "x".repeat(65_500));
    let wide = format!("{{{}}}", (0..4_000).map(|n| format!(r#""k{n}":{n}.5"#)).collect::<Vec<_>>().join(","));
    let many = rows([deep.as_str(), &arrays, &long, &wide, &deep, &wide]);
    assert_eq!(restored(&many), Ok(many.clone()));
    let bytes = chunk(&many);
    let chunk = Chunk::open(&bytes).unwrap();
    let leaf = chunk.leaves().iter().find(|leaf| &*leaf.path == "k3999").unwrap();
    assert_eq!((leaf.count, leaf.sum), (2, 7_999.0));
    assert!(chunk.leaves().iter().any(|leaf| leaf.path.len() == 199), "the path of the hundredth level");
}

#[test]
fn a_payload_that_is_not_json_comes_back() {
    for text in ["", "{", "{]", r#"{"a":1}{"#, "21.5 C", "\u{0}", "\"", "[", "1 2", "{\"a\":01}", "\u{feff}{}"] {
        let single = rows([text]);
        assert_eq!(restored(&single), Ok(single.clone()), "{text}");
        assert_eq!(leaves_of(text), []);
    }
}

#[test]
fn every_column_of_rows_comes_back() {
    let mut rows = sensor(300);
    for (n, row) in (0..).zip(&mut rows) {
        row.topic = [3, i64::MIN, i64::MAX][n % 3];
        row.received_at = [row.timestamp, i64::MIN, i64::MAX, -1][n % 4];
    }
    rows[299].id = i64::MAX as u64;
    rows[0].timestamp = 0;
    rows[299].timestamp = 253_402_300_799_999;
    assert_eq!(restored(&rows), Ok(rows.clone()));
    let bytes = chunk(&rows);
    let chunk = Chunk::open(&bytes).unwrap();
    assert_eq!(chunk.len(), 300);
    assert_eq!(chunk.time_range(), 0..=253_402_300_799_999);
    assert_eq!(chunk.id_range(), 100..=i64::MAX as u64);
    assert_eq!(chunk.topics(), [i64::MIN, 3, i64::MAX]);
    let column = |of: fn(&OwnedRow) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    assert_eq!(chunk.timestamps(), Ok(column(|row| row.timestamp)));
    assert_eq!(chunk.received_at(), Ok(column(|row| row.received_at)));
    assert_eq!(chunk.row_topics(), Ok(column(|row| row.topic)));
    assert_eq!(chunk.ids(), Ok(rows.iter().map(|row| row.id).collect()));
}

#[test]
fn any_range_of_rows_can_be_read_alone() {
    let mut payloads: Vec<String> = sensor(40).into_iter().map(|row| row.payload).collect();
    payloads.extend(HARD.iter().map(|payload| (*payload).to_owned()));
    let rows = rows(payloads);
    let bytes = chunk(&rows);
    let chunk = Chunk::open(&bytes).unwrap();
    for start in 0..rows.len() {
        for end in [start, start + 1, rows.len()] {
            assert_eq!(chunk.rows(start..end), Ok(rows[start..end.min(rows.len())].to_vec()));
        }
    }
    assert_eq!(chunk.rows(50..usize::MAX), Ok(rows[50..].to_vec()));
}

#[test]
fn leaves_are_read_without_their_columns() {
    let rows = rows([r#"{"t":21.5,"n":1}"#, r#"{"t":-3.5,"n":2}"#, r#"{"t":"off"}"#, r#"{"t":7.0}"#]);
    let bytes = chunk(&rows);
    let chunk = Chunk::open(&bytes).unwrap();
    let [t, n] = chunk.leaves() else { panic!("two leaves") };
    assert_eq!((&*t.path, t.count, t.sum, t.min, t.max, t.first, t.last), ("t", 3, 25.0, -3.5, 21.5, 21.5, 7.0));
    assert_eq!((&*n.path, n.count, n.sum, n.min, n.max, n.first, n.last), ("n", 2, 3.0, 1.0, 2.0, 1.0, 2.0));
    let t = chunk.numbers("t").unwrap().unwrap();
    assert_eq!((t.rows(), t.values()), (Some(&[0, 1, 3][..]), &[21.5, -3.5, 7.0][..]));
    assert_eq!(chunk.numbers("status"), Ok(None));
}

#[test]
fn numbers_of_every_row_need_no_row_numbers() {
    let bytes = chunk(&sensor(500));
    let numbers = Chunk::open(&bytes).unwrap().numbers("seq").unwrap().unwrap();
    assert_eq!(numbers.rows(), None);
    assert_eq!(numbers.values(), (0..500).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn chunks_of_usual_sizes_are_small() {
    for (count, limit) in [(64, 9), (512, 5), (4_096, 3)] {
        let bytes = chunk(&sensor(count)).len() as u64;
        assert!(bytes <= limit * count, "{bytes} bytes for {count} rows");
    }
}

/// The paths that a chunk of these payloads has.
fn paths(payloads: &[String]) -> Vec<Box<str>> {
    let rows = rows(payloads);
    let none = HashSet::new();
    encode_with(&rows.iter().map(OwnedRow::as_row).collect::<Vec<_>>(), Encoding::new(&none)).unwrap().paths
}

/// A path without the wrapper that the domain takes off.
fn unwrapped(path: &str) -> &str {
    LeafPath::unwrapped(path).unwrap_or(path)
}

/// A path of the domain as chunks name it: they do not tell the key `$` of an object from a payload that is no object.
fn in_chunk(path: &LeafPath) -> String {
    path.member().unwrap_or(LeafPath::ROOT).to_owned()
}

proptest! {
    #[test]
    fn any_payloads_come_back(payloads in json::payloads()) {
        let rows = rows(payloads);
        prop_assert_eq!(restored(&rows), Ok(rows));
    }

    #[test]
    fn payloads_cut_anywhere_come_back(payloads in json::payloads(), cut in 0.0..1.0) {
        let cut = |text: &String| {
            let mut at = (text.len() as f64 * cut) as usize;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text[..at].to_owned()
        };
        let rows = rows(payloads.iter().map(cut));
        prop_assert_eq!(restored(&rows), Ok(rows));
    }

    #[test]
    fn leaves_of_a_payload_are_those_of_a_json_library(payload in json::value()) {
        let found = leaves_of(&payload);
        let by_path: BTreeMap<String, f64> = found.iter().cloned().collect();
        prop_assert_eq!(found.len(), by_path.len());
        let bits = |leaves: &BTreeMap<String, f64>| {
            leaves.iter().map(|(path, value)| (path.clone(), value.to_bits())).collect::<Vec<_>>()
        };
        prop_assert_eq!(bits(&by_path), bits(&naive::leaves(&payload)));
    }

    #[test]
    fn paths_of_payloads_are_those_of_the_domain(payloads in proptest::collection::vec(json::value(), 1..20)) {
        let paths = paths(&payloads);
        let found: BTreeSet<&str> = paths.iter().map(|path| unwrapped(path)).collect();
        prop_assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
        let payloads: Vec<_> = payloads.into_iter().map(pocket_domain::Payload::from_stored).collect();
        let leaves: Vec<_> = payloads.iter().flat_map(pocket_domain::Payload::leaves).collect();
        let expected: BTreeSet<String> = leaves.iter().map(|leaf| in_chunk(&leaf.path)).collect();
        prop_assert_eq!(found, expected.iter().map(String::as_str).collect::<BTreeSet<_>>());
    }

    #[test]
    fn leaves_of_a_payload_are_those_of_the_domain(payload in json::value()) {
        // What stands within `values` takes the place of what stands beside it under the same name.
        let paths = paths(std::slice::from_ref(&payload));
        let within: BTreeSet<&str> = paths.iter().filter_map(|path| LeafPath::unwrapped(path)).collect();
        let found: BTreeMap<String, u64> = leaves_of(&payload)
            .into_iter()
            .filter(|(path, _)| LeafPath::unwrapped(path).is_some() || !within.contains(path.as_str()))
            .map(|(path, value)| (unwrapped(&path).to_owned(), value.to_bits()))
            .collect();
        let payload = pocket_domain::Payload::from_stored(payload);
        let number = |leaf: pocket_domain::Leaf<'_>| Some((in_chunk(&leaf.path), leaf.value.number()?.to_bits()));
        prop_assert_eq!(found, payload.leaves().into_iter().filter_map(number).collect::<BTreeMap<_, _>>());
    }

    #[test]
    fn leaves_of_a_chunk_are_those_of_its_payloads(payloads in json::payloads()) {
        let bytes = chunk(&rows(&payloads));
        let chunk = Chunk::open(&bytes).unwrap();
        let mut expected: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
        for (row, payload) in payloads.iter().enumerate() {
            for (path, value) in naive::leaves(payload) {
                expected.entry(path).or_default().push((row, value));
            }
        }
        prop_assert_eq!(chunk.leaves().len(), expected.len());
        for (path, expected) in expected {
            let bits = |values: &[(usize, f64)]| values.iter().map(|(row, value)| (*row, value.to_bits())).collect::<Vec<_>>();
            let numbers = chunk.numbers(&path).unwrap().unwrap();
            prop_assert_eq!(bits(&numbers.iter().collect::<Vec<_>>()), bits(&expected), "{}", path);
            let leaf = chunk.leaves().iter().find(|leaf| *leaf.path == *path).unwrap();
            let values: Vec<f64> = expected.iter().map(|(_, value)| *value).collect();
            let fold = |of: fn(f64, f64) -> f64| values[1..].iter().fold(values[0], |all, value| of(all, *value));
            let smaller = |all: f64, value: f64| if value < all { value } else { all };
            let larger = |all: f64, value: f64| if value > all { value } else { all };
            let summary = [fold(|all, value| all + value), fold(smaller), fold(larger), values[0], values[values.len() - 1]];
            prop_assert_eq!(leaf.count as usize, values.len());
            prop_assert_eq!([leaf.sum, leaf.min, leaf.max, leaf.first, leaf.last].map(f64::to_bits), summary.map(f64::to_bits));
        }
    }

    #[test]
    fn any_text_passes_the_check_of_the_fuzzer(text: String) {
        check::check(text.as_bytes());
    }
}
