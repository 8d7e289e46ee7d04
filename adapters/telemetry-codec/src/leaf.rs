//! The numbers of payloads by their paths: what a leaf is, and its summary over a chunk.

use crate::scan::{Found, Kind};
use crate::shape_table::ShapeTable;

/// All numbers of a chunk at one path, in the order of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The keys on the way to it, joined by `.`; `$` for payloads that are a number by themselves.
    pub path: Box<str>,
    /// How many rows have it.
    pub count: u32,
    /// The sum, added in the order of the rows from the first on.
    pub sum: f64,
    /// The smallest; of equal ones (0 and -0) the first.
    pub min: f64,
    /// The largest; of equal ones the first.
    pub max: f64,
    /// That of the first row that has it.
    pub first: f64,
    /// That of the last row that has it.
    pub last: f64,
}

impl Leaf {
    /// One without its path, which is known where it is written.
    pub(crate) fn new(value: f64) -> Self {
        Self { path: Box::default(), count: 1, sum: value, min: value, max: value, first: value, last: value }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if value < self.min {
            self.min = value;
        }
        if value > self.max {
            self.max = value;
        }
        self.last = value;
    }
}

/// The value that a leaf has for a value of JSON, if it is a number within the range of a double.
#[inline]
pub(crate) fn value_of(found: Found, payload: &str) -> Option<f64> {
    match found.kind {
        Kind::Decimal(decimal) => Some(decimal.value()),
        Kind::Number => payload[found.start..found.end].parse().ok().filter(|value: &f64| value.is_finite()),
        Kind::Text => None,
    }
}

/// Finds the leaves of payloads one by one, by the same rules as a chunk has: the numbers inside objects, not those in
/// arrays; of a key that stands twice, and of two keys with the same path, the last value counts, even if it is no
/// number; a payload that is a number by itself has the path `$`. What is not JSON, or has more than
/// [`MAX_PAYLOAD_VALUES`](crate::MAX_PAYLOAD_VALUES), has no leaves.
///
/// It remembers shapes, so that reading many payloads of one kind is fast.
pub struct LeafReader {
    shapes: ShapeTable,
    found: Vec<Found>,
}

impl LeafReader {
    /// Bytes of shapes and places, about; beyond, all are forgotten.
    const REMEMBERED: usize = 1024 * 1024;

    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self { shapes: ShapeTable::new(), found: Vec::new() }
    }

    /// The leaves of a payload, in the order of its text.
    pub fn leaves<'a>(&'a mut self, payload: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        if self.shapes.size() > Self::REMEMBERED {
            self.shapes = ShapeTable::new();
        }
        let shape = self.shapes.read(payload, &mut self.found, None);
        let holes = self.shapes.shape(shape).holes().iter().zip(&self.found).filter(|(hole, _)| hole.live);
        holes.filter_map(|(hole, found)| Some((self.shapes.paths().path(hole.column)?, value_of(*found, payload)?)))
    }
}

impl Default for LeafReader {
    fn default() -> Self {
        Self::new()
    }
}

/// The leaves of one payload; see [`LeafReader`].
pub fn leaves_of(payload: &str) -> Vec<(String, f64)> {
    LeafReader::new().leaves(payload).map(|(path, value)| (path.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(payload: &str) -> Vec<(String, f64)> {
        leaves_of(payload)
    }

    fn one(path: &str, value: f64) -> Vec<(String, f64)> {
        vec![(path.to_owned(), value)]
    }

    #[test]
    fn numbers_inside_objects_are_leaves() {
        let found = leaves(r#" { "t" : 21.5, "b" : { "mv" : -3, "ok" : true } , "s" : "1", "l" : [4], "n" : null } "#);
        assert_eq!(found, [one("t", 21.5), one("b.mv", -3.0)].concat());
    }

    #[test]
    fn a_payload_that_is_a_number_has_the_path_of_the_root() {
        assert_eq!(leaves("21.5"), one("$", 21.5));
        assert_eq!(leaves(r#"{"$":1}"#), one("$", 1.0));
        assert_eq!(leaves(r#"{"":1}"#), one("", 1.0));
        assert_eq!(leaves(r#"{"":{"":1}}"#), one(".", 1.0));
    }

    #[test]
    fn the_last_value_of_a_key_counts() {
        assert_eq!(leaves(r#"{"a":1,"a":2}"#), one("a", 2.0));
        assert_eq!(leaves(r#"{"a":1,"\u0061":2}"#), one("a", 2.0));
        assert_eq!(leaves(r#"{"a":1,"a":"x"}"#), []);
        assert_eq!(leaves(r#"{"a":1,"a":{}}"#), []);
        assert_eq!(leaves(r#"{"a":{"b":1},"a":{"c":2}}"#), one("a.c", 2.0));
        assert_eq!(leaves(r#"{"a":{"b":1},"x":{"a":3},"a":{"b":2}}"#), [one("x.a", 3.0), one("a.b", 2.0)].concat());
    }

    #[test]
    fn of_two_ways_to_one_path_the_last_counts() {
        assert_eq!(leaves(r#"{"a.b":1,"a":{"b":2}}"#), one("a.b", 2.0));
        assert_eq!(leaves(r#"{"a":{"b":2},"a.b":"x"}"#), []);
    }

    #[test]
    fn what_is_not_json_has_no_leaves() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        for payload in ["", "{", r#"{"a":1"#, r#"{"a":1}}"#, r#"{"a":1,}"#, r#"{"a" 1}"#, r#"{"\x":1}"#, "1 2", &deep] {
            assert_eq!(leaves(payload), [], "{payload}");
        }
        assert_eq!(leaves(r#"{"a":1e999}"#), []);
        assert_eq!(leaves(r#"{"\ud800":1}"#), []);
        assert_eq!(leaves(r#"{"\ud83d\ude00\/\n":1}"#), one("😀/\n", 1.0));
    }

    #[test]
    fn a_reader_that_has_seen_much_forgets() {
        let mut reader = LeafReader::new();
        for n in 0..LeafReader::REMEMBERED / 200 {
            let payload = format!(r#"{{"k{n}":{n}}}"#);
            let found: Vec<_> = reader.leaves(&payload).map(|(path, value)| (path.to_owned(), value)).collect();
            assert_eq!(found, one(&format!("k{n}"), n as f64));
        }
        assert!(reader.shapes.shapes().len() < 4_000, "{}", reader.shapes.shapes().len());
    }
}
