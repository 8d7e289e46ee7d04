//! What payloads of one shape have in common, and the truth values among their values.

use std::collections::BTreeSet;

use crate::Damaged;
use crate::chunk::Chunk;
use crate::numbers::Numbers;
use crate::shape::Shape;
use crate::values::{Value, Values};

impl Chunk<'_> {
    /// A payload for each shape that is wanted, in which each value is a number: which of the shape's values it is, counted
    /// from 0. With it the shape of each row. `is_wanted` is asked with the text of a shape without its values, and whether any of
    /// its values may be other than a number.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn skeletons(&self, is_wanted: impl Fn(&str, bool) -> bool) -> Result<(Vec<Option<String>>, &[u32]), Damaged> {
        let (shapes, rows) = self.shapes()?;
        let has_texts = |shape: &Shape| shape.holes().iter().any(|hole| self.has_texts(hole.column));
        let skeleton = |shape: &Shape| is_wanted(shape.text(), has_texts(shape)).then(|| shape.with_places());
        Ok((shapes.iter().map(skeleton).collect(), rows))
    }

    /// The rows that have `true` or `false` at a place, as 1 and 0. `place` is asked which of a shape's values it is.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn truths(&self, place: impl Fn(usize) -> Option<usize>) -> Result<Option<Numbers>, Damaged> {
        let (shapes, rows) = self.shapes()?;
        let place_of = |(number, shape): (usize, &Shape)| {
            let place = place(number)?;
            let hole = shape.holes().get(place).filter(|hole| hole.live && self.has_texts(hole.column))?;
            let before = shape.holes()[..place].iter().filter(|other| other.column == hole.column).count();
            Some((hole.column, before))
        };
        let places: Vec<Option<(usize, usize)>> = shapes.iter().enumerate().map(place_of).collect();
        let columns: BTreeSet<usize> = places.iter().flatten().map(|(column, _)| *column).collect();
        let mut found: Vec<(u32, f64)> = Vec::new();
        for column in columns {
            let count_of = |shape: &Shape| shape.holes().iter().filter(|hole| hole.column == column).count();
            let counts: Vec<usize> = shapes.iter().map(count_of).collect();
            let count = rows.iter().map(|shape| counts[*shape as usize]).sum();
            let mut values = Values::read(&self.directory.entries[column], count, self.integers, self.texts()?)?;
            for (row, shape) in (0..).zip(rows) {
                let of_row = counts[*shape as usize];
                let Some((_, before)) = places[*shape as usize].filter(|(of, _)| *of == column) else {
                    values.skip(of_row);
                    continue;
                };
                values.skip(before);
                match values.next() {
                    Some(Value::Text("true")) => found.push((row, 1.0)),
                    Some(Value::Text("false")) => found.push((row, 0.0)),
                    _ => {}
                }
                values.skip(of_row - before - 1);
            }
        }
        found.sort_unstable_by_key(|(row, _)| *row);
        let (rows, values) = found.into_iter().unzip();
        let truths = Numbers::of_rows(rows, values);
        Ok((!truths.values().is_empty()).then_some(truths))
    }

    fn has_texts(&self, column: usize) -> bool {
        self.directory.entries[column].texts().is_some()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Chunk, Row, encode};

    #[test]
    fn truth_values_are_found_among_texts_and_numbers() {
        let payloads = [r#"{"a":1,"t":true}"#, r#"{"t":"true"}"#, r#"{"a":true,"t":2}"#, r#"{"t":false}"#, "true"];
        let row = |(at, payload): (usize, &&'static str)| Row {
            id: at as u64 + 1,
            timestamp: at as i64,
            received_at: at as i64,
            topic: 1,
            payload,
        };
        let rows: Vec<Row<'_>> = payloads.iter().enumerate().map(row).collect();
        let content = encode(&rows).unwrap();
        let chunk = Chunk::open(&content).unwrap();
        let (skeletons, _) = chunk.skeletons(|_, _| true).unwrap();
        let of = |key: &str| {
            let place = |shape: usize| {
                let skeleton: &str = skeletons[shape].as_ref()?;
                let (_, behind) = skeleton.split_once(&format!("\"{key}\":"))?;
                behind.trim_end_matches('}').split(',').next()?.parse().ok()
            };
            chunk.truths(place).unwrap().map(|truths| truths.iter().collect::<Vec<_>>())
        };
        assert_eq!(of("t"), Some(vec![(0, 1.0), (3, 0.0)]));
        assert_eq!(of("a"), Some(vec![(2, 1.0)]));
        assert_eq!(of("x"), None);
        let root = chunk.truths(|shape| skeletons[shape].as_deref().filter(|text| *text == "0").map(|_| 0)).unwrap();
        assert_eq!(root.unwrap().iter().collect::<Vec<_>>(), [(4, 1.0)]);
    }
}
