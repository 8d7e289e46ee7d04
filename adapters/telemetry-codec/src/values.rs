//! The values of a column, out of a chunk, one after the other.

use crate::directory::Entry;
use crate::form::Form;
use crate::integers::Integers;
use crate::{Damaged, number, text};

/// The values of a column from some place on.
pub(crate) struct Values<'a> {
    form: Form,
    /// 0 for a number, 1 for a text; `None` when all are the same.
    kinds: Option<Vec<i64>>,
    numbers: Vec<i64>,
    texts: Vec<&'a str>,
    /// Which text each is; `None` when each is there in its turn.
    which: Option<Vec<i64>>,
    /// How many values, numbers and texts have been passed.
    at: usize,
    number: usize,
    text: usize,
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Number(i64),
    Text(&'a str),
}

const MISSING: Damaged = Damaged::Content("a column has too few values");

impl<'a> Values<'a> {
    /// Reads so many values.
    pub(crate) fn read(entry: &Entry, count: usize, integers: &[u8], texts: &'a [u8]) -> Result<Self, Damaged> {
        let part = |range: &std::ops::Range<usize>| integers.get(range.clone()).ok_or(MISSING);
        let kinds = match &entry.kinds() {
            Some(range) => Some(Integers::read(part(range)?, count)?.into_vec()),
            None => None,
        };
        let of_text = match &kinds {
            Some(kinds) if kinds.iter().all(|kind| matches!(kind, 0 | 1)) => kinds.iter().sum::<i64>() as usize,
            Some(_) => return Err(Damaged::Content("a value is neither a number nor a text")),
            None if entry.form().is_some() => 0,
            None => count,
        };
        let numbers = Integers::read(part(&entry.numbers())?, count - of_text)?.into_vec();
        let read_texts = match &entry.texts() {
            Some(range) => text::read(texts.get(range.clone()).ok_or(MISSING)?, of_text)?,
            None => Vec::new(),
        };
        let which = match &entry.which() {
            Some(range) => Some(Integers::read(part(range)?, of_text)?.into_vec()),
            None => None,
        };
        let there = match &which {
            Some(which) => {
                which.iter().all(|index| usize::try_from(*index).is_ok_and(|index| index < read_texts.len()))
            }
            None => read_texts.len() == of_text,
        };
        if !there {
            return Err(MISSING);
        }
        let form = entry.form().unwrap_or(Form::Decimals { least: 0, most: 0 });
        Ok(Self { form, kinds, numbers, texts: read_texts, which, at: 0, number: 0, text: 0 })
    }

    /// Passes over values.
    pub(crate) fn skip(&mut self, count: usize) {
        let of_text = match &self.kinds {
            Some(kinds) => kinds[self.at..].iter().take(count).sum::<i64>() as usize,
            None if self.numbers.is_empty() => count,
            None => 0,
        };
        self.at += count;
        self.text += of_text;
        self.number += count - of_text;
    }

    /// The next value.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Value<'a>> {
        let is_text = match &self.kinds {
            Some(kinds) => *kinds.get(self.at)? == 1,
            None => self.numbers.is_empty(),
        };
        self.at += 1;
        if is_text {
            let text = match &self.which {
                Some(which) => *which.get(self.text)? as usize,
                None => self.text,
            };
            self.text += 1;
            self.texts.get(text).copied().map(Value::Text)
        } else {
            self.number += 1;
            self.numbers.get(self.number - 1).copied().map(Value::Number)
        }
    }

    /// Appends the text of the next value.
    #[inline]
    pub(crate) fn write_next(&mut self, out: &mut String) -> Result<(), Damaged> {
        match self.next().ok_or(MISSING)? {
            Value::Number(number) => self.form.write(number, out),
            Value::Text(text) => out.push_str(text),
        }
        Ok(())
    }

    /// The next value as a number; `None` when it is none.
    #[inline]
    pub(crate) fn next_number(&mut self) -> Result<Option<f64>, Damaged> {
        Ok(match self.next().ok_or(MISSING)? {
            Value::Number(number) => Some(self.form.value(number)),
            Value::Text(text) => number::value_of(text),
        })
    }
}
