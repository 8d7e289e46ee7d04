//! The paths of values in JSON objects, and the columns they belong to.
//!
//! A path is the keys on the way to a value, without their escapes, joined by `.`; that of a payload that is a value by
//! itself is `$`. Different ways may have the same path (`{"a.b":1}`, `{"a":{"b":1}}`); they share a column.
//!
//! There may be a place for every value of a chunk, so what one takes counts: all texts stand in one buffer, and places and
//! columns of one hash are chained instead of each having a map of its own.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use crate::{MAX_PATH_BYTES, ROOT_PATH};

/// A place in objects: the keys on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// The payload itself.
    pub(crate) const ROOT: Self = Self(0);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// No place and no column.
const NONE: u32 = u32::MAX;

/// All places seen so far, and a column for each path.
pub(crate) struct Paths {
    places: Vec<Known>,
    /// The last place of each hash.
    by_key: HashMap<u64, u32>,
    columns: Vec<Column>,
    /// The last column of each hash.
    by_path: HashMap<u64, u32>,
    /// The column of values without a path.
    pathless: Option<usize>,
    /// Paths and keys.
    texts: String,
    hashes: RandomState,
}

struct Known {
    outer: Place,
    /// Its path, or its key alone when the path would be too long; the key is at the end of both.
    text: Range<u32>,
    key_bytes: u32,
    has_path: bool,
    column: u32,
    /// The place before it with the same hash.
    before: u32,
    /// The object that had it last, and its values there.
    object: u64,
    values: Range<u32>,
}

struct Column {
    /// The place whose path it has.
    place: u32,
    /// The column before it with the same hash.
    before: u32,
}

impl Paths {
    /// About the bytes of a place and of a column, beside texts, with room for growth.
    const OF_PLACE: usize = 128;
    const OF_COLUMN: usize = 48;

    pub(crate) fn new() -> Self {
        let root = Known {
            outer: Place::ROOT,
            text: 0..ROOT_PATH.len() as u32,
            key_bytes: 0,
            has_path: true,
            column: NONE,
            before: NONE,
            object: 0,
            values: 0..0,
        };
        Self {
            places: vec![root],
            by_key: HashMap::new(),
            columns: Vec::new(),
            by_path: HashMap::new(),
            pathless: None,
            texts: ROOT_PATH.into(),
            hashes: RandomState::new(),
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        2 * self.texts.len() + Self::OF_PLACE * self.places.len() + Self::OF_COLUMN * self.columns.len()
    }

    /// The place of a key inside another place.
    pub(crate) fn inside(&mut self, outer: Place, key: &str) -> Place {
        let hash = self.hashes.hash_one((outer.0, key));
        let mut place = self.by_key.get(&hash).copied().unwrap_or(NONE);
        while let Some(known) = self.places.get(place as usize) {
            if known.outer == outer && self.key(known) == key {
                return Place(place);
            }
            place = known.before;
        }
        self.add(outer, key, hash)
    }

    fn add(&mut self, outer: Place, key: &str, hash: u64) -> Place {
        let known = &self.places[outer.index()];
        let (prefix, has_path) = match known.has_path {
            _ if outer == Place::ROOT => (0..0, key.len() <= MAX_PATH_BYTES),
            true => (known.text.clone(), known.text.len() + 1 + key.len() <= MAX_PATH_BYTES),
            false => (0..0, false),
        };
        let start = self.texts.len() as u32;
        if has_path && outer != Place::ROOT {
            self.texts.extend_from_within(prefix.start as usize..prefix.end as usize);
            self.texts.push('.');
        }
        self.texts.push_str(key);
        let place = self.places.len() as u32;
        self.places.push(Known {
            outer,
            text: start..self.texts.len() as u32,
            key_bytes: key.len() as u32,
            has_path,
            column: NONE,
            before: self.by_key.insert(hash, place).unwrap_or(NONE),
            object: 0,
            values: 0..0,
        });
        Place(place)
    }

    fn key(&self, known: &Known) -> &str {
        &self.texts[(known.text.end - known.key_bytes) as usize..known.text.end as usize]
    }

    /// The path of a place; `None` when it would be too long.
    pub(crate) fn path_of(&self, place: Place) -> Option<&str> {
        let known = &self.places[place.index()];
        known.has_path.then(|| &self.texts[known.text.start as usize..known.text.end as usize])
    }

    /// Notes that an object has values at a place, and returns those it had there before: a key that stands twice.
    pub(crate) fn note(&mut self, place: Place, object: u64, values: Range<usize>) -> Option<Range<usize>> {
        let known = &mut self.places[place.index()];
        let before = std::mem::replace(&mut known.object, object);
        let values = values.start as u32..values.end as u32;
        let replaced = std::mem::replace(&mut known.values, values);
        (before == object).then_some(replaced.start as usize..replaced.end as usize)
    }

    /// The column of the values at a place.
    pub(crate) fn column(&mut self, place: Place) -> usize {
        let known = self.places[place.index()].column;
        if known != NONE {
            return known as usize;
        }
        let column = match self.path_of(place) {
            None => self.pathless(),
            Some(path) => {
                let hash = self.hashes.hash_one(path);
                self.of_path(path, hash).unwrap_or_else(|| self.add_column(place, hash))
            }
        };
        self.places[place.index()].column = column as u32;
        column
    }

    fn of_path(&self, path: &str, hash: u64) -> Option<usize> {
        let mut column = self.by_path.get(&hash).copied().unwrap_or(NONE);
        while let Some(known) = self.columns.get(column as usize) {
            if self.path(column as usize) == Some(path) {
                return Some(column as usize);
            }
            column = known.before;
        }
        None
    }

    fn add_column(&mut self, place: Place, hash: u64) -> usize {
        let column = self.columns.len();
        let before = self.by_path.insert(hash, column as u32).unwrap_or(NONE);
        self.columns.push(Column { place: place.0, before });
        column
    }

    /// The column of what has no path: values whose path is too long, payloads that are not JSON.
    pub(crate) fn pathless(&mut self) -> usize {
        *self.pathless.get_or_insert_with(|| {
            self.columns.push(Column { place: NONE, before: NONE });
            self.columns.len() - 1
        })
    }

    /// How many columns there are.
    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The path of a column.
    pub(crate) fn path(&self, column: usize) -> Option<&str> {
        let place = self.columns[column].place;
        (place != NONE).then(|| self.path_of(Place(place))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_path_is_the_same_column() {
        let mut paths = Paths::new();
        let a = paths.inside(Place::ROOT, "a");
        let (nested, dotted) = (paths.inside(a, "b"), paths.inside(Place::ROOT, "a.b"));
        assert_ne!(nested, dotted);
        assert_eq!(paths.column(nested), paths.column(dotted));
        assert_eq!(paths.path(0), Some("a.b"));
        assert_eq!(paths.columns(), 1);
    }

    #[test]
    fn a_path_has_a_longest_length() {
        let mut paths = Paths::new();
        let longest = paths.inside(Place::ROOT, &"k".repeat(MAX_PATH_BYTES));
        assert_eq!(paths.column(longest), 0);
        assert_eq!(paths.path(0).map(str::len), Some(MAX_PATH_BYTES));
        let outer = paths.inside(Place::ROOT, &"k".repeat(MAX_PATH_BYTES - 2));
        let (fits, too_long) = (paths.inside(outer, "k"), paths.inside(outer, "kk"));
        let also = paths.inside(Place::ROOT, &"k".repeat(MAX_PATH_BYTES + 1));
        assert!(paths.column(fits) != paths.column(too_long));
        assert_eq!(paths.column(too_long), paths.column(also));
        let column = paths.column(also);
        assert_eq!(paths.path(column), None);
        let deeper = paths.inside(too_long, "");
        assert_eq!(paths.column(deeper), column);
    }
}
