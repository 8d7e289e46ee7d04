//! What a chunk says about its columns before their contents.

use std::ops::Range;

use crate::bytes::Cursor;
use crate::form::Form;
use crate::leaf::Leaf;
use crate::{Damaged, MAX_PATH_BYTES, summary};

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

/// A column as the directory describes it. The ranges are in the integers and in the texts of all columns.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Each row has one value here, which counts.
    pub(crate) aligned: bool,
    /// How numbers are written; `None` without numbers.
    pub(crate) form: Option<Form>,
    /// Which values are texts, where there are both.
    pub(crate) kinds: Option<Range<usize>>,
    pub(crate) numbers: Range<usize>,
    /// Which text of the dictionary a value is.
    pub(crate) which: Option<Range<usize>>,
    /// `None` without texts.
    pub(crate) texts: Option<Range<usize>>,
}

/// The columns of a chunk, and the leaves with the column of each.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    pub(crate) entries: Vec<Entry>,
    pub(crate) leaves: Vec<Leaf>,
    /// The column of each leaf.
    pub(crate) columns: Vec<usize>,
}

impl Directory {
    /// Reads the columns of a chunk of so many rows, and how long the integers of all of them are.
    pub(crate) fn read(cursor: &mut Cursor<'_>, rows: usize) -> Result<(Self, usize), Damaged> {
        let count = cursor.count()?;
        let mut directory = Self::default();
        let (mut integers, mut texts) = (0usize, 0usize);
        for column in 0..count {
            let tag = cursor.byte()?;
            let content = tag & CONTENT;
            if content == CONTENT || tag > (CONTENT | ALIGNED | DICTIONARY | LEAF) {
                return Err(Damaged::Content("a column is of an unknown kind"));
            }
            let is = |flag| tag & flag != 0;
            let form = (content != TEXTS).then(|| Form::of_code(cursor.at_most(usize::MAX)?)).transpose()?;
            if is(LEAF) {
                let implied = (is(ALIGNED) && content == NUMBERS).then_some(rows);
                directory.leaves.push(leaf(cursor, rows, implied)?);
                directory.columns.push(column);
            }
            let part = |cursor: &mut Cursor<'_>, end: &mut usize| -> Result<Range<usize>, Damaged> {
                let from = *end;
                // Both stay far below the end of the type: a length is never longer than it is in memory.
                *end = from.saturating_add(cursor.at_most(u32::MAX as usize)?);
                Ok(from..*end)
            };
            directory.entries.push(Entry {
                aligned: is(ALIGNED),
                form,
                kinds: (content == MIXED).then(|| part(cursor, &mut integers)).transpose()?,
                numbers: if content == TEXTS { 0..0 } else { part(cursor, &mut integers)? },
                which: is(DICTIONARY).then(|| part(cursor, &mut integers)).transpose()?,
                texts: (content != NUMBERS || is(DICTIONARY)).then(|| part(cursor, &mut texts)).transpose()?,
            });
        }
        Ok((directory, integers))
    }
}

fn leaf(cursor: &mut Cursor<'_>, rows: usize, implied: Option<usize>) -> Result<Leaf, Damaged> {
    let length = cursor.at_most(MAX_PATH_BYTES)?;
    let path = std::str::from_utf8(cursor.take(length)?).map_err(|_| Damaged::Content("a path is not UTF-8"))?;
    let count = implied.map_or_else(|| cursor.at_most(rows), Ok)?;
    summary::read(path, count, cursor)
}
