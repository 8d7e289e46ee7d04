//! What a payload holds, apart: each value that is no object, with the path of keys that leads to it.
//!
//! Charts, latest values and columns of numbers are made of leaves. A path is text as people write it, `a.b.c`, so the key
//! `a.b` and the key `b` within `a` have the same one. An array is one leaf: its elements are not looked at. The keys of an
//! object `values`, in which many devices wrap their readings, are those of the payload itself: `{"values":{"t":1}}` and
//! `{"t":1}` have the leaf `t`. A payload that is no object has the path `$`; the key `$` of an object has the path `$.$`, so
//! that `1` and `{"$":1}` are told apart.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::MAX_DEPTH;
use crate::{Invalid, Payload};

/// Where a leaf is in its payload: keys of objects, joined by `.`; of at most 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafPath(Box<str>);

impl LeafPath {
    /// The most bytes.
    pub const MAX_BYTES: usize = 255;
    /// The path of a payload that is no object.
    pub const ROOT: &str = "$";

    /// Takes a path as people write it.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if (1..=Self::MAX_BYTES).contains(&text.len()) {
            Ok(Self::unwrapped(text).map_or_else(|| Self(text.into()), Self::of_member))
        } else {
            Err(Invalid::new("key", format!("must be 1 to {} bytes", Self::MAX_BYTES)))
        }
    }

    /// The path that a leaf has, as it was stored. A leaf may have the empty path, that of the key `""`.
    pub fn of_leaf(path: &str) -> Self {
        Self(Self::unwrapped(path).unwrap_or(path).into())
    }

    /// The path of a value within an object, whose keys are joined by `.`.
    pub fn of_member(path: &str) -> Self {
        if Self::is_of_roots(path) { Self(format!("{}.{path}", Self::ROOT).into()) } else { Self(path.into()) }
    }

    /// The keys of an object, joined by `.`, that have this path; `None` for the path of a payload that is no object.
    pub fn member(&self) -> Option<&str> {
        if &*self.0 == Self::ROOT {
            return None;
        }
        let inner = self.0.strip_prefix("$.").filter(|inner| Self::is_of_roots(inner));
        Some(inner.unwrap_or(&self.0))
    }

    /// Whether it is `$`, or some of these joined by `.`.
    fn is_of_roots(path: &str) -> bool {
        path.starts_with(Self::ROOT) && path.split('.').all(|key| key == Self::ROOT)
    }

    /// What comes before the path of a value that is wrapped.
    pub const WRAPPER: &str = "values.";

    /// The path without the object `values` around it; `None` when there is none.
    pub fn unwrapped(path: &str) -> Option<&str> {
        path.strip_prefix(Self::WRAPPER).filter(|rest| !rest.is_empty())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeafPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LeafPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A value within a payload that is no object.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf<'a> {
    /// Where it is.
    pub path: LeafPath,
    /// What it is.
    pub value: LeafValue<'a>,
}

/// What a leaf is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LeafValue<'a> {
    /// A number: the nearest double, and the text, which may have more digits.
    Number(f64, &'a str),
    /// A string, as its JSON text with the quotation marks.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
    /// An array, as its JSON text.
    Array(&'a str),
}

impl<'a> LeafValue<'a> {
    /// The JSON text, as it was published.
    pub fn json(self) -> &'a str {
        match self {
            Self::Number(_, text) | Self::Text(text) | Self::Array(text) => text,
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Null => "null",
        }
    }

    /// What it counts as in numbers over time: a number as itself, true as 1, false as 0.
    pub fn point(self) -> Option<f64> {
        match self {
            Self::Number(number, _) => Some(number),
            Self::Bool(truth) => Some(f64::from(u8::from(truth))),
            _ => None,
        }
    }

    /// The number that it is, if it is one.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Number(number, _) => Some(number),
            _ => None,
        }
    }

    /// Takes one JSON value that is no object; `None` when the text is something else.
    fn read(text: &'a str) -> Option<Self> {
        Some(match text.as_bytes().first()? {
            b'"' => Self::Text(text),
            b'[' => Self::Array(text),
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'n' => Self::Null,
            // Rust's own parser gives the nearest double (IEEE 754, 5.12), for texts of any length.
            _ => Self::Number(text.parse().ok()?, text),
        })
    }
}

impl Payload {
    /// The leaves, in the order of the text. A payload that is no object is one leaf of the path `$`.
    ///
    /// Where a path is there within `values` and beside it, the one within counts. Of a key that occurs twice in an object the last one counts, and so does the last of several leaves of one path. An
    /// object without keys is no leaf. What has a longer path than [`LeafPath::MAX_BYTES`] is left out. A text that is not JSON,
    /// or nested deeper than payloads may be, has no leaves; only a damaged database holds such.
    pub fn leaves(&self) -> Vec<Leaf<'_>> {
        let mut leaves = Vec::new();
        let complete = serde_json::from_str::<&RawValue>(self.as_str())
            .ok()
            .and_then(|whole| gather(whole.get(), None, MAX_DEPTH, &mut leaves));
        if complete.is_none() {
            return Vec::new();
        }
        let mut leaves = last_of_each(unwrap(leaves), |leaf| leaf.path.as_str());
        if Self::is_object(self.as_str()) {
            for leaf in leaves.iter_mut().filter(|leaf| LeafPath::is_of_roots(&leaf.path.0)) {
                leaf.path = LeafPath::of_member(&leaf.path.0);
            }
        }
        leaves
    }

    /// Whether the text of a payload is a JSON object.
    pub fn is_object(text: &str) -> bool {
        text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
    }
}

/// Adds the leaves of a value at a path; `None` when it cannot be read.
fn gather<'a>(text: &'a str, path: Option<&str>, depth: usize, leaves: &mut Vec<Leaf<'a>>) -> Option<()> {
    if !text.starts_with('{') {
        let path = LeafPath(path.unwrap_or(LeafPath::ROOT).into());
        leaves.push(Leaf { path, value: LeafValue::read(text)? });
        return Some(());
    }
    let depth = depth.checked_sub(1)?;
    let Members(members) = serde_json::from_str(text).ok()?;
    for (key, value) in last_of_each(members, |(key, _)| key) {
        let path = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
        if path.len() <= LeafPath::MAX_BYTES {
            gather(value.get(), Some(&path), depth, leaves)?;
        }
    }
    Some(())
}

/// Names leaves within `values` as if they stood beside it, and leaves out those of the same name that do.
fn unwrap(leaves: Vec<Leaf<'_>>) -> Vec<Leaf<'_>> {
    if !leaves.iter().any(|leaf| LeafPath::unwrapped(&leaf.path.0).is_some()) {
        return leaves;
    }
    let mut within = BTreeSet::new();
    let renamed: Vec<(Leaf<'_>, bool)> = leaves
        .into_iter()
        .map(|leaf| match LeafPath::unwrapped(&leaf.path.0) {
            Some(path) => {
                let path = LeafPath(path.into());
                within.insert(path.clone());
                (Leaf { path, ..leaf }, true)
            }
            None => (leaf, false),
        })
        .collect();
    renamed
        .into_iter()
        .filter(|(leaf, is_within)| *is_within || !within.contains(&leaf.path))
        .map(|(leaf, _)| leaf)
        .collect()
}

/// The last of those that have the same name, in the order in which they stand.
fn last_of_each<T>(items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let mut names = BTreeSet::new();
    let mut last: Vec<bool> = items.iter().rev().map(|item| names.insert(name(item))).collect();
    last.reverse();
    items.into_iter().zip(last).filter_map(|(item, last)| last.then_some(item)).collect()
}

/// The keys of an object with the texts of their values, in order, repeated ones among them.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests;
