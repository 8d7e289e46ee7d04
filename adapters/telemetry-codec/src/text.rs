//! Texts one after the other, and areas of a chunk that zstd makes smaller.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::bytes::{Cursor, put_length};
use crate::{Damaged, MAX_TEXT_BYTES};

const LEVEL: i32 = 3;

/// Shorter than this, zstd's frame costs more than it gains.
const TOO_SHORT: usize = 48;

/// Bytes of an area: of the payloads, and of what says where their parts are.
pub(crate) const MAX_AREA: usize = 2 * MAX_TEXT_BYTES;

/// Appends texts: how many, the length of each, and all of them without anything between.
pub(crate) fn write(texts: &[&str], out: &mut Vec<u8>) {
    put_length(out, texts.len());
    texts.iter().for_each(|text| put_length(out, text.len()));
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

/// Reads at most so many texts out of all of the bytes.
pub(crate) fn read(bytes: &[u8], limit: usize) -> Result<Vec<&str>, Damaged> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.at_most(limit.min(bytes.len()))?;
    let mut lengths = cursor;
    let mut all = 0usize;
    for _ in 0..count {
        all = all.saturating_add(cursor.count()?);
    }
    let wrong = Damaged::Content("texts are not as long as they say");
    let mut rest = std::str::from_utf8(cursor.rest()).map_err(|_| Damaged::Content("texts are not UTF-8"))?;
    if all != rest.len() {
        return Err(wrong);
    }
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let (text, behind) = rest.split_at_checked(lengths.count()?).ok_or(wrong)?;
        texts.push(text);
        rest = behind;
    }
    Ok(texts)
}

/// The different texts in the order of their first appearance, and which one each is; `None` when more than half differ,
/// so that it gains nothing, or there are none.
pub(crate) fn dictionary<'a>(texts: &[&'a str]) -> Option<(Vec<&'a str>, Vec<i64>)> {
    let mut known = HashMap::new();
    let mut different: Vec<&str> = Vec::new();
    let mut which: Vec<i64> = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        if at > 0 && texts[at - 1] == *text {
            which.push(which[at - 1]);
            continue;
        }
        let next = different.len() as i64;
        let index = *known.entry(*text).or_insert(next);
        if index == next {
            different.push(text);
            if different.len() * 2 > texts.len() {
                return None;
            }
        }
        which.push(index);
    }
    (!texts.is_empty()).then_some((different, which))
}

/// An area as a chunk has it: its length and the compressed length, which is 0 where it is kept as it is, and its bytes.
pub(crate) fn compress(area: &[u8]) -> ([usize; 2], Cow<'_, [u8]>) {
    if area.len() >= TOO_SHORT {
        // Compression fails only for want of memory; the area is then kept as it is.
        if let Some(small) = zstd::bulk::compress(area, LEVEL).ok().filter(|small| small.len() < area.len()) {
            return ([area.len(), small.len()], small.into());
        }
    }
    ([area.len(), 0], area.into())
}

/// An area as the directory describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area<'a> {
    length: usize,
    compressed: bool,
    bytes: &'a [u8],
}

impl<'a> Area<'a> {
    /// Reads the two lengths; the bytes follow later.
    pub(crate) fn lengths(cursor: &mut Cursor<'_>) -> Result<[usize; 2], Damaged> {
        Ok([cursor.at_most(MAX_AREA)?, cursor.count()?])
    }

    /// Takes its bytes.
    pub(crate) fn take([length, small]: [usize; 2], cursor: &mut Cursor<'a>) -> Result<Self, Damaged> {
        let bytes = cursor.take(if small == 0 { length } else { small })?;
        Ok(Self { length, compressed: small != 0, bytes })
    }

    /// What is in it.
    pub(crate) fn read(self) -> Result<Cow<'a, [u8]>, Damaged> {
        if !self.compressed {
            return Ok(self.bytes.into());
        }
        let wrong = Damaged::Content("a text area cannot be decompressed");
        // A frame that does not say its length would have all of the declared length allocated.
        if zstd::zstd_safe::get_frame_content_size(self.bytes).ok().flatten() != Some(self.length as u64) {
            return Err(wrong);
        }
        let area = zstd::bulk::decompress(self.bytes, self.length).map_err(|_| wrong)?;
        if area.len() == self.length { Ok(area.into()) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for texts in [&["a", "", "é\0"][..], &[], &[""]] {
            let mut out = Vec::new();
            write(texts, &mut out);
            assert_eq!(read(&out, texts.len()).unwrap(), texts);
            assert!(texts.is_empty() || read(&out, texts.len() - 1).is_err());
        }
    }

    #[test]
    fn texts_that_are_not_as_long_as_they_say_are_refused() {
        for bytes in [&[][..], &[1], &[1, 2, b'a'], &[1, 1, b'a', b'b'], &[2, 1, 1, 0xc3, 0xa9], &[1, 1, 0xff], &[9, 0]]
        {
            assert!(read(bytes, 9).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_dictionary_is_made_when_texts_repeat() {
        assert_eq!(dictionary(&["a", "b", "a", "a"]), Some((vec!["a", "b"], vec![0, 1, 0, 0])));
        assert_eq!(dictionary(&["a", "b", "c", "a"]), None);
    }

    fn area(lengths: [usize; 2], bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
        Area::take(lengths, &mut Cursor::new(bytes))?.read().map(Cow::into_owned)
    }

    #[test]
    fn an_area_comes_back_compressed_or_not() {
        for text in [vec![], vec![b'a'; 20], vec![b'a'; 10_000]] {
            let (lengths, bytes) = compress(&text);
            assert_eq!(area(lengths, &bytes), Ok(text));
        }
    }

    #[test]
    fn an_area_of_another_length_is_refused() {
        let (mut lengths, bytes) = compress(&[b'a'; 10_000]);
        for length in [9_999, 10_001, MAX_AREA] {
            lengths[0] = length;
            assert!(area(lengths, &bytes).is_err());
        }
        assert!(Area::lengths(&mut Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])).is_err());
    }
}
