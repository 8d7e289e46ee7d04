//! The last value of each series of a device, a series being a path of its payloads on one topic.
//!
//! Values are put in from any side in any order: of two of one series the one with the later place stays.

use std::collections::BTreeMap;

use pocket_domain::{LeafPath, Payload};

use super::window::Place;

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

    /// The newest of those that are wanted, at most so many.
    pub(crate) fn newest_where(&self, is_wanted: impl Fn(&Series) -> bool, most: usize) -> Vec<(Series, Last)> {
        let mut wanted: Vec<(&Series, &Last)> = self.0.iter().filter(|(series, _)| is_wanted(series)).collect();
        if wanted.len() > most {
            wanted.select_nth_unstable_by(most, |(series, last), (other_series, other)| {
                other.place.cmp(&last.place).then_with(|| series.cmp(other_series))
            });
            wanted.truncate(most);
        }
        wanted.into_iter().map(|(series, last)| (series.clone(), last.clone())).collect()
    }

    /// The newest of these, at most so many, and whether there are more.
    pub(crate) fn newest(self, most: usize) -> (Vec<(Series, Last)>, bool) {
        let has_more = self.0.len() > most;
        let mut values: Vec<(Series, Last)> = self.0.into_iter().collect();
        if has_more {
            values.sort_unstable_by(|(series, last), (other_series, other)| {
                other.place.cmp(&last.place).then_with(|| series.cmp(other_series))
            });
            values.truncate(most);
        }
        (values, has_more)
    }
}

impl FromIterator<(Series, Last)> for LastValues {
    fn from_iter<T: IntoIterator<Item = (Series, Last)>>(values: T) -> Self {
        Self(values.into_iter().collect())
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

    #[test]
    fn the_newest_are_told() {
        let mut values = LastValues::default();
        values.see((5, 1), 7, r#"{"a":1,"b":1}"#.to_owned());
        values.see((6, 2), 8, r#"{"a":2}"#.to_owned());
        values.see((4, 3), 8, r#"{"a":3,"":4}"#.to_owned());
        let told = |most| {
            let (newest, has_more) = values.clone().newest(most);
            let told: Vec<String> =
                newest.iter().map(|((path, topic), last)| format!("{path}@{topic}={}", last.value)).collect();
            (told.join(" "), has_more)
        };
        assert_eq!(told(2), ("a@8=2 a@7=1".to_owned(), true));
        let newest =
            |most| LastValues::from_iter(values.newest_where(|(_, topic)| *topic == 7, most)).newest(9).0.len();
        assert_eq!((newest(1), newest(2), newest(3)), (1, 2, 2));
        assert_eq!(told(4), ("=4@8 a@7=1 a@8=2 b@7=1".replace("=4@8", "@8=4"), false));
    }
}
