//! The last value of each series of a device, a series being a path of its payloads on one topic.
//!
//! Values are put in from any side in any order: of two of one series the one with the later place stays.

use std::collections::BTreeMap;

use pocket_domain::{LatestValue, LeafPath, MAX_DEVICE_KEYS, Payload};

use super::window::Place;
use crate::entity::time;
use crate::error::Error;

/// The path of a series, and the key of its topic.
pub(crate) type Series = (LeafPath, i64);

/// The last value of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) place: Place,
    /// The text of the JSON value.
    pub(crate) value: Box<str>,
}

/// Last values by their series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastValues(BTreeMap<Series, Last>);

impl LastValues {
    /// Looks at a message.
    pub(crate) fn see(&mut self, place: Place, topic: i64, payload: String) {
        for leaf in Payload::from_stored(payload).leaves() {
            let series = (leaf.path, topic);
            match self.0.get_mut(&series) {
                Some(present) if present.place >= place => {}
                Some(present) => *present = Last { place, value: leaf.value.json().into() },
                None => drop(self.0.insert(series, Last { place, value: leaf.value.json().into() })),
            }
        }
    }

    /// Takes a value unless there is a later one.
    pub(crate) fn put(&mut self, series: Series, last: Last) {
        match self.0.get_mut(&series) {
            Some(present) if present.place >= last.place => {}
            Some(present) => *present = last,
            None => drop(self.0.insert(series, last)),
        }
    }

    /// Takes all values of others.
    pub(crate) fn merge(&mut self, others: impl IntoIterator<Item = (Series, Last)>) {
        others.into_iter().for_each(|(series, last)| self.put(series, last));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Series, &Last)> {
        self.0.iter()
    }

    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let entry = |((path, _), last): (&Series, &Last)| 96 + path.as_str().len() + last.value.len();
        self.0.iter().map(entry).sum()
    }

    /// Whether all these paths have values of a later time.
    pub(super) fn have_all(&self, keys: &[String], time: i64) -> bool {
        let is_later = |key: &String| {
            let from = (LeafPath::of_leaf(key), i64::MIN);
            let same_path = self.0.range(from..).take_while(|((path, _), _)| path.as_str() == key);
            same_path.map(|(_, last)| last).any(|last| last.place.0 > time)
        };
        keys.iter().all(is_later)
    }

    /// The last value of each path, on whichever topic, as it is told outside.
    pub(crate) fn told(self) -> Result<Vec<LatestValue>, Error> {
        let mut told: Vec<(LeafPath, Last)> = Vec::new();
        for ((path, _), last) in self.0 {
            if let Some((before, present)) = told.last_mut()
                && *before == path
            {
                if present.place < last.place {
                    *present = last;
                }
            } else if told.len() == MAX_DEVICE_KEYS {
                break;
            } else {
                told.push((path, last));
            }
        }
        let value =
            |(key, last): (LeafPath, Last)| Ok(LatestValue { key, value: last.value, timestamp: time(last.place.0)? });
        told.into_iter().map(value).collect()
    }
}

impl IntoIterator for LastValues {
    type Item = (Series, Last);
    type IntoIter = std::collections::btree_map::IntoIter<Series, Last>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: LastValues) -> Vec<(String, String, u64)> {
        let told = values.told().unwrap_or_default();
        let value =
            |value: LatestValue| (value.key.to_string(), value.value.to_string(), value.timestamp.as_millis() as u64);
        told.into_iter().map(value).collect()
    }

    #[test]
    fn of_several_topics_the_last_is_told() {
        let mut values = LastValues::default();
        values.see((5, 1), 7, r#"{"a":1,"b":1}"#.to_owned());
        values.see((6, 2), 8, r#"{"a":2}"#.to_owned());
        values.see((4, 3), 8, r#"{"a":3,"":4}"#.to_owned());
        let right = [("", "4", 4), ("a", "2", 6), ("b", "1", 5)];
        assert_eq!(told(values), right.map(|(key, value, at)| (key.to_owned(), value.to_owned(), at)));
    }

    #[test]
    fn a_key_without_a_letter_is_found() {
        let mut values = LastValues::default();
        values.see((5, 1), 7, r#"{"":1,"a":1}"#.to_owned());
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert!(values.have_all(&keys(&["", "a"]), 4) && !values.have_all(&keys(&[""]), 5));
        assert!(!values.have_all(&keys(&["b"]), 0));
    }
}
