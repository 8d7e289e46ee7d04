//! What a chunk says about its columns before their contents.

use std::ops::Range;

use crate::bytes::Cursor;
use crate::form::Form;
use crate::leaf::Leaf;
use crate::{Damaged, MAX_PATH_BYTES, MAX_VALUES, summary};

/// What a column holds; the lowest two bits of its tag.
pub(crate) const NUMBERS: u8 = 0;
pub(crate) const TEXTS: u8 = 1;
pub(crate) const MIXED: u8 = 2;
const CONTENT: u8 = 3;
/// Each row has one value here, which counts.
pub(crate) const ALIGNED: u8 = 4;
/// Each different text is there once, and a column of integers says which one a value is.
pub(crate) const DICTIONARY: u8 = 8;
/// It has a path and numbers that count.
pub(crate) const LEAF: u8 = 16;

/// A column as the directory describes it. There may be millions, so it is what the directory says and no more: the parts
/// follow one another in the integers and in the texts of all columns.
#[derive(Debug)]
pub(crate) struct Entry {
    tag: u8,
    form: u16,
    /// Where its integers begin, and how long those of each kind are.
    integers: u32,
    kinds: u32,
    numbers: u32,
    which: u32,
    /// Where its texts begin, and how long they are.
    texts_from: u32,
    texts: u32,
}

impl Entry {
    fn content(&self) -> u8 {
        self.tag & CONTENT
    }

    /// Each row has one value here, which counts.
    pub(crate) fn is_aligned(&self) -> bool {
        self.tag & ALIGNED != 0
    }

    /// How numbers are written; `None` without numbers.
    pub(crate) fn form(&self) -> Option<Form> {
        (self.content() != TEXTS).then(|| Form::of_code(usize::from(self.form)).ok()).flatten()
    }

    fn range(from: u32, length: u32) -> Range<usize> {
        from as usize..from as usize + length as usize
    }

    /// Which values are texts, where there are both. This range and the others are in the integers or texts of all columns.
    pub(crate) fn kinds(&self) -> Option<Range<usize>> {
        (self.content() == MIXED).then(|| Self::range(self.integers, self.kinds))
    }

    /// Its numbers.
    pub(crate) fn numbers(&self) -> Range<usize> {
        Self::range(self.integers + self.kinds, self.numbers)
    }

    /// Which text of the dictionary a value is.
    pub(crate) fn which(&self) -> Option<Range<usize>> {
        (self.tag & DICTIONARY != 0).then(|| Self::range(self.integers + self.kinds + self.numbers, self.which))
    }

    /// `None` without texts.
    pub(crate) fn texts(&self) -> Option<Range<usize>> {
        let has_texts = self.content() != NUMBERS || self.tag & DICTIONARY != 0;
        has_texts.then(|| Self::range(self.texts_from, self.texts))
    }
}

/// The columns of a chunk, and the leaves with the column of each.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    pub(crate) entries: Vec<Entry>,
    pub(crate) leaves: Vec<Leaf>,
    /// The column of each leaf.
    pub(crate) columns: Vec<u32>,
}

impl Directory {
    /// Reads the columns of a chunk of so many rows, and how long the integers of all of them are.
    pub(crate) fn read(cursor: &mut Cursor<'_>, rows: usize) -> Result<(Self, usize), Damaged> {
        // Each takes two bytes or more, and has a value or more.
        let count = cursor.at_most(MAX_VALUES.min(cursor.rest().len() / 2))?;
        let mut directory = Self::default();
        let (mut integers, mut texts) = (0, 0);
        for column in 0..count {
            let tag = cursor.byte()?;
            let content = tag & CONTENT;
            if content == CONTENT || tag > (CONTENT | ALIGNED | DICTIONARY | LEAF) {
                return Err(Damaged::Content("a column is of an unknown kind"));
            }
            let is = |flag| tag & flag != 0;
            let form = if content == TEXTS { 0 } else { cursor.at_most(u16::MAX.into())? };
            if content != TEXTS {
                Form::of_code(form)?;
            }
            if is(LEAF) {
                let implied = (is(ALIGNED) && content == NUMBERS).then_some(rows);
                directory.leaves.push(leaf(cursor, rows, implied)?);
                directory.columns.push(column as u32);
            }
            let mut part = |is_there: bool, end: &mut u32| -> Result<u32, Damaged> {
                let length = if is_there { cursor.at_most(u32::MAX as usize)? as u32 } else { 0 };
                *end = end.checked_add(length).ok_or(Damaged::Content("a number is beyond its limit"))?;
                Ok(length)
            };
            let (integers_from, texts_from) = (integers, texts);
            directory.entries.push(Entry {
                tag,
                form: form as u16,
                integers: integers_from,
                kinds: part(content == MIXED, &mut integers)?,
                numbers: part(content != TEXTS, &mut integers)?,
                which: part(is(DICTIONARY), &mut integers)?,
                texts_from,
                texts: part(content != NUMBERS || is(DICTIONARY), &mut texts)?,
            });
        }
        Ok((directory, integers as usize))
    }
}

fn leaf(cursor: &mut Cursor<'_>, rows: usize, implied: Option<usize>) -> Result<Leaf, Damaged> {
    let length = cursor.at_most(MAX_PATH_BYTES)?;
    let path = std::str::from_utf8(cursor.take(length)?).map_err(|_| Damaged::Content("a path is not UTF-8"))?;
    let count = implied.map_or_else(|| cursor.at_most(rows), Ok)?;
    summary::read(path, count, cursor)
}
