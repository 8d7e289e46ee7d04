//! How rows are made a chunk: what it may take in memory, and which payloads are kept as one text.
//!
//! A payload that is kept as one text comes back as any other, but has no leaves.

use std::collections::HashSet;

use crate::limits::MAX_WEIGHT;

/// How rows become a chunk.
pub struct Encoding<'a> {
    /// About how many bytes it may take to make the chunk, beside the rows themselves: see [`Encoded::weight`].
    pub max_weight: usize,
    /// Ids of rows whose payloads are kept as one text.
    pub without_leaves: &'a HashSet<u64>,
    /// The paths that payloads may have; a payload that has others beyond these is kept as one text. `None`: any.
    pub keys: Option<&'a mut KeyLimit>,
}

impl<'a> Encoding<'a> {
    /// Any paths, and [`MAX_WEIGHT`].
    pub fn new(without_leaves: &'a HashSet<u64>) -> Self {
        Self { max_weight: MAX_WEIGHT, without_leaves, keys: None }
    }
}

/// A chunk, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The chunk.
    pub content: Vec<u8>,
    /// The path of each value in the payloads that is no object, each once: keys joined by `.`, `$` for a payload that is one
    /// value. Payloads that are kept as one text, and paths longer than [`MAX_PATH_BYTES`](crate::MAX_PATH_BYTES), have none.
    pub paths: Vec<Box<str>>,
    /// About how many bytes it took to make, for its payloads, values, keys and columns. That of two chunks together is an
    /// upper bound for one chunk of all their rows.
    pub weight: usize,
    /// How many rows are kept as one text.
    pub without_leaves: usize,
}

/// The paths that a device has, and how many more it may have.
#[derive(Clone, Debug, Default)]
pub struct KeyLimit {
    known: HashSet<Box<str>>,
    room: usize,
}

impl KeyLimit {
    /// Those that it has, of at most so many.
    pub fn new(known: impl IntoIterator<Item = Box<str>>, most: usize) -> Self {
        let known: HashSet<Box<str>> = known.into_iter().collect();
        let room = most.saturating_sub(known.len());
        Self { known, room }
    }

    /// Takes the paths of a payload if there is room for those that are new.
    pub(crate) fn take<'a>(&mut self, paths: impl Iterator<Item = &'a str> + Clone) -> bool {
        let new: HashSet<&str> = paths.filter(|path| !self.known.contains(*path)).collect();
        if new.len() > self.room {
            return false;
        }
        self.room -= new.len();
        self.known.extend(new.into_iter().map(Box::from));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_paths_are_taken_while_there_is_room_for_all_of_a_payload() {
        let mut limit = KeyLimit::new(["a".into()], 3);
        assert!(limit.take(["a", "b", "b"].into_iter()));
        assert!(!limit.take(["a", "c", "d"].into_iter()));
        assert!(limit.take(["c"].into_iter()));
        assert!(!limit.take(["d"].into_iter()));
        assert!(limit.take(["a", "b", "c"].into_iter()));
        assert!(!KeyLimit::new(["a".into(), "b".into()], 1).take(["c"].into_iter()));
    }
}
