//! Where the values of a JSON text are: numbers, strings, words and whole arrays, but not objects, which are looked into.
//!
//! What is inside an array is not checked further than its brackets and strings; its text is kept whatever it is.

use crate::number::{self, Decimal};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A number that its digits describe.
    Decimal(Decimal),
    /// Any other number.
    Number,
    /// A string, `true`, `false`, `null`, an array; or a payload that is not JSON.
    Text,
}

/// A value and where its text stands in the payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
}

impl Found {
    /// No text.
    pub(crate) const EMPTY: Self = Self { start: 0, end: 0, kind: Kind::Text };
}

/// The value that begins at `start`; `None` when there is none, or an object.
#[inline]
pub(crate) fn value(text: &[u8], start: usize) -> Option<Found> {
    let (end, kind) = match text.get(start)? {
        b'-' | b'0'..=b'9' => {
            let (end, decimal) = number::read(text, start)?;
            (end, decimal.map_or(Kind::Number, Kind::Decimal))
        }
        b'"' => (string(text, start)?, Kind::Text),
        b'[' => (array(text, start)?, Kind::Text),
        b't' => (word(text, start, b"true")?, Kind::Text),
        b'f' => (word(text, start, b"false")?, Kind::Text),
        b'n' => (word(text, start, b"null")?, Kind::Text),
        _ => return None,
    };
    Some(Found { start, end, kind })
}

/// The end of the string whose opening quote is at `start`.
pub(crate) fn string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += text.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn array(text: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = start;
    loop {
        match text.get(at)? {
            b'"' => at = string(text, at)? - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn word(text: &[u8], start: usize, word: &[u8]) -> Option<usize> {
    text[start..].starts_with(word).then_some(start + word.len())
}

/// The first byte from `start` on that is not white space.
pub(crate) fn skip_space(text: &[u8], start: usize) -> usize {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    start + text.get(start..).map_or(0, |rest| rest.iter().take_while(|byte| space(byte)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Option<usize> {
        value(text.as_bytes(), 0).map(|found| found.end)
    }

    #[test]
    fn a_value_ends_where_its_text_does() {
        for text in ["12.5", "-0", "1E5", r#""""#, r#""a\"b\\""#, r#"[1,"]",{"a":[]}]"#, "true", "false", "null", "[]"]
        {
            assert_eq!(end(&format!("{text},1")), Some(text.len()), "{text}");
            assert_eq!(end(text), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_is_no_value() {
        for text in ["", "-", "\"", r#""\"#, r#""a\""#, "[", "[[]", r#"["]"#, "tru", "nul", "{}", "x", "]"] {
            assert_eq!(end(text), None, "{text}");
        }
    }
}
