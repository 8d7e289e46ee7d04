//! What payloads have in common: their text without the values, and which column each value belongs to.

use crate::Damaged;
use crate::bytes::{Cursor, put_length};
use crate::scan::{self, Found};

/// A place in a shape where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) column: usize,
    /// Whether it is what a reader of the JSON finds at its path: of a key that stands twice, the last counts.
    pub(crate) live: bool,
}

/// The text around values, and the values' columns. There is one more piece of text than there are holes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    text: Box<str>,
    /// Where each piece of text but the last ends.
    ends: Box<[usize]>,
    holes: Box<[Hole]>,
}

/// The text before each value of a payload, and behind the last.
pub(crate) fn around<'a>(payload: &'a str, found: &'a [Found]) -> impl Iterator<Item = &'a str> {
    let starts = std::iter::once(0).chain(found.iter().map(|value| value.end));
    let ends = found.iter().map(|value| value.start).chain([payload.len()]);
    starts.zip(ends).map(|(start, end)| &payload[start..end])
}

impl Shape {
    /// The shape of a payload whose values were found.
    pub(crate) fn new(payload: &str, found: &[Found], holes: Box<[Hole]>) -> Self {
        let mut text = String::with_capacity(payload.len());
        let mut ends = Vec::with_capacity(found.len());
        let mut from = 0;
        for value in found {
            text.push_str(&payload[from..value.start]);
            ends.push(text.len());
            from = value.end;
        }
        text.push_str(&payload[from..]);
        Self { text: text.into(), ends: ends.into(), holes }
    }

    /// Whether it is the text around the values of a payload.
    pub(crate) fn is_around(&self, payload: &str, found: &[Found]) -> bool {
        self.ends.len() == found.len() && self.pieces().chain([self.tail()]).eq(around(payload, found))
    }

    /// Whether it is that of payloads which are kept as one text without leaves.
    pub(crate) fn is_whole(&self) -> bool {
        self.text.is_empty() && matches!(self.holes[..], [Hole { live: false, .. }])
    }

    /// The text without values.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A payload that has it, with the numbers from 0 on as its values.
    pub(crate) fn with_places(&self) -> String {
        let mut payload = String::with_capacity(self.text.len() + 2 * self.holes.len());
        for (place, piece) in self.pieces().enumerate() {
            payload.push_str(piece);
            payload.push_str(&place.to_string());
        }
        payload.push_str(self.tail());
        payload
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// The text before each hole.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }

    /// The text behind the last hole.
    pub(crate) fn tail(&self) -> &str {
        &self.text[self.ends.last().copied().unwrap_or(0)..]
    }

    /// Whether a payload has this shape; its values then.
    #[inline]
    pub(crate) fn matches(&self, payload: &[u8], found: &mut Vec<Found>) -> bool {
        found.clear();
        let text = self.text.as_bytes();
        let (mut at, mut from) = (0, 0);
        for &end in &self.ends {
            let piece = &text[from..end];
            if !payload[at..].starts_with(piece) {
                return false;
            }
            let Some(value) = scan::value(payload, at + piece.len()) else { return false };
            at = value.end;
            from = end;
            found.push(value);
        }
        payload[at..] == text[from..]
    }

    /// Appends it to a chunk.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_length(out, self.holes.len());
        for hole in &self.holes {
            put_length(out, hole.column << 1 | usize::from(hole.live));
        }
        for piece in self.pieces() {
            put_length(out, piece.len());
        }
        put_length(out, self.tail().len());
        out.extend_from_slice(self.text.as_bytes());
    }

    /// Reads one with at most so many holes of a chunk with so many columns.
    pub(crate) fn read(cursor: &mut Cursor<'_>, limit: usize, columns: usize) -> Result<Self, Damaged> {
        let count = cursor.at_most(limit.min(cursor.rest().len()))?;
        let mut holes = Vec::with_capacity(count);
        for _ in 0..count {
            let hole = cursor.varint()?;
            let column = usize::try_from(hole >> 1).unwrap_or(usize::MAX);
            if column >= columns {
                return Err(Damaged::Content("a shape names a column that is not there"));
            }
            holes.push(Hole { column, live: hole & 1 == 1 });
        }
        let mut ends = Vec::with_capacity(count);
        let mut length = 0usize;
        for _ in 0..count {
            length = length.saturating_add(cursor.count()?);
            ends.push(length);
        }
        let tail = cursor.count()?;
        let text = cursor.take(length.saturating_add(tail))?;
        let text = std::str::from_utf8(text).map_err(|_| Damaged::Content("a shape is not UTF-8"))?;
        if !ends.iter().all(|end| text.is_char_boundary(*end)) {
            return Err(Damaged::Content("a shape is cut inside a character"));
        }
        Ok(Self { text: text.into(), ends: ends.into(), holes: holes.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape_table::ShapeTable;

    #[test]
    fn a_shape_comes_back_from_its_bytes() {
        let mut table = ShapeTable::new();
        for payload in [r#"{"a":1,"é":"x"}"#, "21.5", "{}", r#"{"a":1,"a":[2]} "#, "not JSON"] {
            let shape = table.read(payload, &mut Vec::new(), None);
            let mut out = Vec::new();
            table.shape(shape).write(&mut out);
            let mut cursor = Cursor::new(&out);
            assert_eq!(Shape::read(&mut cursor, 2, table.paths().columns()).unwrap(), *table.shape(shape));
            assert!(cursor.rest().is_empty());
        }
    }

    #[test]
    fn a_shape_that_contradicts_itself_is_refused() {
        let read = |bytes: &[u8]| Shape::read(&mut Cursor::new(bytes), 1, 1);
        assert!(read(&[0, 1, b'x']).is_ok());
        assert!(read(&[2, 0, 0, 0, 0, 0]).is_err(), "more holes than there can be");
        assert!(read(&[1, 0b11, 0, 0]).is_err(), "column 1 of 1");
        assert!(read(&[0, 2, b'x']).is_err(), "shorter than it says");
        assert!(read(&[1, 0b01, 1, 1, 0xc3, 0xa9]).is_err(), "cut inside é");
        assert!(read(&[0, 1, 0xff]).is_err(), "not UTF-8");
        assert!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err(), "2^64 - 1 holes");
    }
}
