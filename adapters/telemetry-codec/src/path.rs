//! The paths of values in JSON objects, and the columns they belong to.
//!
//! A path is the keys on the way to a value, without their escapes, joined by `.`; that of a payload that is a value by
//! itself is `$`. Different ways may have the same path (`{"a.b":1}`, `{"a":{"b":1}}`); they share a column.

use std::collections::HashMap;
use std::ops::Range;

use crate::{MAX_PATH_BYTES, ROOT_PATH};

/// A place in objects: the keys on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

impl Place {
    /// The payload itself.
    pub(crate) const ROOT: Self = Self(0);
}

/// All places seen so far, and a column for each path.
pub(crate) struct Paths {
    places: Vec<Known>,
    by_path: HashMap<Box<str>, usize>,
    columns: Vec<Option<Box<str>>>,
    /// The column of values without a path.
    pathless: Option<usize>,
}

struct Known {
    inner: HashMap<Box<str>, usize>,
    /// `None` when it would be too long.
    path: Option<Box<str>>,
    column: Option<usize>,
    /// The object that had it last, and its values there.
    last: (u64, Range<usize>),
}

impl Known {
    fn new(path: Option<Box<str>>) -> Self {
        Self { inner: HashMap::new(), path, column: None, last: (0, 0..0) }
    }
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self {
            places: vec![Known::new(Some(ROOT_PATH.into()))],
            by_path: HashMap::new(),
            columns: Vec::new(),
            pathless: None,
        }
    }

    /// How much there is to remember.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The place of a key inside another place.
    pub(crate) fn inside(&mut self, outer: Place, key: &str) -> Place {
        let known = &self.places[outer.0];
        if let Some(&place) = known.inner.get(key) {
            return Place(place);
        }
        let path: Option<Box<str>> = match &known.path {
            _ if outer == Place::ROOT && key.len() <= MAX_PATH_BYTES => Some(key.into()),
            Some(path) if outer != Place::ROOT && path.len() + 1 + key.len() <= MAX_PATH_BYTES => {
                Some(format!("{path}.{key}").into())
            }
            _ => None,
        };
        let place = self.places.len();
        self.places.push(Known::new(path));
        self.places[outer.0].inner.insert(key.into(), place);
        Place(place)
    }

    /// Notes that an object has values at a place, and returns those it had there before: a key that stands twice.
    pub(crate) fn note(&mut self, place: Place, object: u64, values: Range<usize>) -> Option<Range<usize>> {
        let (before, replaced) = std::mem::replace(&mut self.places[place.0].last, (object, values));
        (before == object).then_some(replaced)
    }

    /// The column of the values at a place.
    pub(crate) fn column(&mut self, place: Place) -> usize {
        if let Some(column) = self.places[place.0].column {
            return column;
        }
        let column = match self.places[place.0].path.clone() {
            None => self.pathless(),
            Some(path) => match self.by_path.get(&path) {
                Some(&column) => column,
                None => {
                    self.columns.push(Some(path.clone()));
                    self.by_path.insert(path, self.columns.len() - 1);
                    self.columns.len() - 1
                }
            },
        };
        self.places[place.0].column = Some(column);
        column
    }

    /// The column of what has no path: values whose path is too long, payloads that are not JSON.
    pub(crate) fn pathless(&mut self) -> usize {
        *self.pathless.get_or_insert_with(|| {
            self.columns.push(None);
            self.columns.len() - 1
        })
    }

    /// How many columns there are.
    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The path of a column.
    pub(crate) fn path(&self, column: usize) -> Option<&str> {
        self.columns[column].as_deref()
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
