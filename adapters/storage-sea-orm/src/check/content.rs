//! All that a chunk says, against itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use pocket_domain::{Payload, PayloadError, PayloadPolicy, Timestamp};
use pocket_telemetry_codec::{Chunk, Damaged, Leaf, LeafReader, OwnedRow};

use crate::json_rows::text;

/// Rows, or leaves, times leaves whose numbers are read column by column; the rest is compared by summary alone. A chunk with tens of
/// thousands of leaves would take minutes.
const MOST_NUMBERS: usize = 4_000_000;

/// What a chunk says.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) times: RangeInclusive<i64>,
    pub(super) ids: RangeInclusive<u64>,
    pub(super) topics: Vec<i64>,
    /// The keys of its payloads, as they are stored.
    pub(super) keys: BTreeSet<String>,
    /// What contradicts itself.
    pub(super) wrong: Vec<String>,
}

/// Decodes all of a chunk.
pub(super) fn read(content: &[u8]) -> Result<Content, Damaged> {
    let chunk = Chunk::open(content)?;
    let rows = chunk.rows(0..chunk.len())?;
    let (times, ids, topics, received) = (chunk.timestamps()?, chunk.ids()?, chunk.row_topics()?, chunk.received_at()?);
    let mut wrong = Vec::new();
    let is_same = |(n, row): (usize, &OwnedRow)| {
        (row.timestamp, row.id, row.topic, row.received_at) == (times[n], ids[n], topics[n], received[n])
    };
    if rows.len() != chunk.len() || !rows.iter().enumerate().all(is_same) {
        wrong.push("its rows are not what its columns say".to_owned());
    }
    if rows.windows(2).any(|pair| (pair[0].timestamp, pair[0].id) > (pair[1].timestamp, pair[1].id)) {
        wrong.push("its rows are not in the order of time and id".to_owned());
    }
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < ids.len() {
        wrong.push(format!("{} of its rows have the id of another", ids.len() - distinct.len()));
    }
    if rows.iter().map(|row| row.payload.len()).sum::<usize>() != chunk.text_bytes() {
        wrong.push("its payloads are not as long as it says".to_owned());
    }
    let of_rows = rows.iter().map(|row| wrong_with(row.received_at, &row.payload));
    wrong.extend(first_of(rows.iter().map(|row| row.id).zip(of_rows)));
    wrong.extend(wrong_leaves(&chunk, &rows)?);
    let mut keys = BTreeSet::new();
    let without_leaves: HashSet<usize> = chunk.rows_without_leaves()?.into_iter().collect();
    for row in chunk.last_of_each_shape()?.into_iter().filter(|row| !without_leaves.contains(row)) {
        let payload = Payload::from_stored(rows.get(row).map_or("", |row| &row.payload));
        keys.extend(payload.leaves().into_iter().map(|leaf| text(leaf.path.as_str())));
    }
    Ok(Content {
        rows: rows.len(),
        bytes: content.len(),
        times: chunk.time_range(),
        ids: chunk.id_range(),
        topics: chunk.topics().to_vec(),
        keys,
        wrong,
    })
}

/// What is wrong with a message by itself.
pub(super) fn wrong_with(received_at: i64, payload: &str) -> Option<String> {
    match Payload::read_again(payload.as_bytes(), PayloadPolicy::Json, usize::MAX) {
        Err(error @ PayloadError::NotJson(_)) => Some(error.to_string()),
        _ if Timestamp::from_millis(received_at).is_err() => Some(format!("it was received at {received_at} ms")),
        _ => None,
    }
}

/// The first of rows with which something is wrong, and how many others there are: a damaged column would fill pages.
fn first_of(mut rows: impl Iterator<Item = (u64, Option<String>)>) -> Option<String> {
    let (id, what) = rows.find_map(|(id, wrong)| Some((id, wrong?)))?;
    let others = rows.filter(|(_, wrong)| wrong.is_some()).count();
    let others = if others > 0 { format!("; and {others} others") } else { String::new() };
    Some(format!("row {id}: {what}{others}"))
}

/// Where the numbers and summaries of a chunk are not those of its payloads.
fn wrong_leaves(chunk: &Chunk<'_>, rows: &[OwnedRow]) -> Result<Vec<String>, Damaged> {
    let mut reader = LeafReader::new();
    let mut of_texts: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
    let without_leaves: HashSet<usize> = chunk.rows_without_leaves()?.into_iter().collect();
    for (n, row) in rows.iter().enumerate().filter(|(n, _)| !without_leaves.contains(n)) {
        for (path, value) in reader.leaves(&row.payload) {
            match of_texts.get_mut(path) {
                Some(points) => points.push((n, value)),
                None => drop(of_texts.insert(path.to_owned(), vec![(n, value)])),
            }
        }
    }
    let mut wrong = Vec::new();
    // What one costs grows with the rows, and with the places of all leaves in their shapes.
    let some = (MOST_NUMBERS / rows.len().max(chunk.leaves().len()).max(1)).max(1);
    for (n, leaf) in chunk.leaves().iter().enumerate() {
        let Some(points) = of_texts.remove(&*leaf.path) else {
            wrong.push(format!("no payload has its leaf {:?}", leaf.path));
            continue;
        };
        if !is_summary(leaf, &points) {
            wrong.push(format!("the summary of its leaf {:?} is not that of its payloads", leaf.path));
        }
        if n < some {
            let numbers = chunk.numbers(&leaf.path)?;
            let bits = |(row, value): (usize, f64)| (row, value.to_bits());
            let is_same = numbers.is_some_and(|numbers| numbers.iter().map(bits).eq(points.iter().copied().map(bits)));
            if !is_same {
                wrong.push(format!("the numbers of its leaf {:?} are not those of its payloads", leaf.path));
            }
        }
    }
    wrong.extend(of_texts.keys().min().map(|path| format!("it lacks the leaf {path:?} of its payloads")));
    Ok(wrong)
}

/// Whether a summary is that of these points, bit by bit.
fn is_summary(leaf: &Leaf, points: &[(usize, f64)]) -> bool {
    let [(_, first), rest @ ..] = points else { return false };
    let (mut sum, mut min, mut max, mut last) = (*first, *first, *first, *first);
    for (_, value) in rest {
        sum += value;
        // Of equal ones the first: 0 and -0 are equal.
        min = if *value < min { *value } else { min };
        max = if *value > max { *value } else { max };
        last = *value;
    }
    let told = [leaf.sum, leaf.min, leaf.max, leaf.first, leaf.last].map(f64::to_bits);
    leaf.count as usize == points.len() && told == [sum, min, max, *first, last].map(f64::to_bits)
}

#[cfg(test)]
mod tests {
    use pocket_telemetry_codec::{Row, encode};

    use super::*;

    fn chunk(payloads: &[&str]) -> Vec<u8> {
        let row = |(n, payload): (usize, &&'static str)| Row {
            id: n as u64,
            timestamp: n as i64,
            received_at: n as i64,
            topic: 1,
            payload,
        };
        let payloads: Vec<&'static str> = payloads.iter().map(|text| &*Box::leak(Box::from(*text))).collect();
        encode(&payloads.iter().enumerate().map(row).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_sound_chunk_has_nothing_wrong() {
        let content = read(&chunk(&[r#"{"a":1.5,"b":{"c":"x"}}"#, "-0", r#"{"a":0,"a":null}"#, "0.0", "[1]"])).unwrap();
        assert_eq!(content.wrong, [""; 0]);
        assert_eq!(content.keys.into_iter().collect::<Vec<_>>(), ["$", "a", "b.c"]);
        assert_eq!((content.rows, content.times, content.ids, content.topics), (5, 0..=4, 0..=4, vec![1]));
    }

    #[test]
    fn payloads_that_are_not_json_are_told_with_the_first() {
        let content = read(&chunk(&["1", "{\"a\":", "2", "x"])).unwrap();
        assert_eq!(content.wrong.len(), 1);
        assert!(content.wrong[0].starts_with("row 1: payload is not JSON"), "{:?}", content.wrong);
        assert!(content.wrong[0].ends_with("; and 1 others"), "{:?}", content.wrong);
    }

    #[test]
    fn rows_of_one_id_are_told() {
        let row = |timestamp| Row { id: 7, timestamp, received_at: 0, topic: 1, payload: "1" };
        let content = read(&encode(&[row(1), row(2), row(3)]).unwrap()).unwrap();
        assert_eq!(content.wrong, ["2 of its rows have the id of another"]);
    }

    #[test]
    fn a_time_beyond_all_times_is_told() {
        let row = Row { id: 7, timestamp: 1, received_at: -5, topic: 1, payload: "1" };
        assert_eq!(read(&encode(&[row]).unwrap()).unwrap().wrong, ["row 7: it was received at -5 ms"]);
    }

    #[test]
    fn a_summary_is_compared_bit_by_bit() {
        let bytes = chunk(&["1.5", "-2", "0.25"]);
        let leaf = Chunk::open(&bytes).unwrap().leaves()[0].clone();
        let points = [(0, 1.5), (1, -2.0), (2, 0.25)];
        assert!(is_summary(&leaf, &points));
        assert!(!is_summary(&leaf, &points[..2]));
        for wrong in [
            Leaf { sum: -0.250_000_1, ..leaf.clone() },
            Leaf { min: -2.5, ..leaf.clone() },
            Leaf { max: 1.0, ..leaf.clone() },
            Leaf { first: 1.0, ..leaf.clone() },
            Leaf { last: 1.0, ..leaf.clone() },
            Leaf { count: 2, ..leaf },
        ] {
            assert!(!is_summary(&wrong, &points));
        }
    }
}
