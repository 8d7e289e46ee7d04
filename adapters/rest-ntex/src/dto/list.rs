//! Lists in query parameters: the parameter is repeated, or has its entries separated by commas, or both.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// The texts of a list. `\,` is a comma within a text and `\\` a backslash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<List, A::Error> {
        let mut entries = Vec::new();
        while let Some(text) = sequence.next_element::<String>()? {
            split(&text, &mut entries);
        }
        if entries.iter().any(String::is_empty) {
            return Err(A::Error::custom("must not have an empty entry"));
        }
        Ok(List(entries))
    }
}

fn split(text: &str, entries: &mut Vec<String>) {
    let mut entry = String::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            ',' => entries.push(std::mem::take(&mut entry)),
            '\\' => entry.push(rest.next_if(|escaped| matches!(escaped, ',' | '\\')).unwrap_or('\\')),
            other => entry.push(other),
        }
    }
    entries.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_entries_unless_they_are_escaped() {
        for (text, expected) in [
            ("a", vec!["a"]),
            ("a,b.c,d e", vec!["a", "b.c", "d e"]),
            (r"a\,b,c", vec!["a,b", "c"]),
            (r"a\\,b", vec![r"a\", "b"]),
            (r"a\b\", vec![r"a\b\"]),
            ("", vec![""]),
            ("a,,b,", vec!["a", "", "b", ""]),
        ] {
            let mut entries = Vec::new();
            split(text, &mut entries);
            assert_eq!(entries, expected, "{text}");
        }
    }
}
