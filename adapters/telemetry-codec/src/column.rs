//! The values of all rows at one path, on their way into a chunk.

use crate::bytes::put_length;
use crate::directory::{ALIGNED, DICTIONARY, LEAF, MIXED, NUMBERS, TEXTS};
use crate::form::Form;
use crate::leaf::Leaf;
use crate::scan::Kind;
use crate::{integers, summary, text};

/// The values of one column in the order of rows, and within a row in the order of the text.
#[derive(Default)]
pub(crate) struct Column<'a> {
    pub(crate) values: Vec<(Kind, &'a str)>,
    /// The summary of those that count, without the path.
    pub(crate) leaf: Option<Leaf>,
}

/// Where the parts of a chunk grow.
#[derive(Default)]
pub(crate) struct Parts {
    /// What the columns are.
    pub(crate) directory: Vec<u8>,
    /// Their integers.
    pub(crate) integers: Vec<u8>,
    /// Their texts.
    pub(crate) texts: Vec<u8>,
}

impl<'a> Column<'a> {
    /// Notes a value. Most columns of payloads made to do harm have one, which takes no more than its size.
    #[inline]
    pub(crate) fn push(&mut self, kind: Kind, text: &'a str) {
        if self.values.capacity() == 0 {
            self.values.reserve_exact(1);
        }
        self.values.push((kind, text));
    }

    /// Notes a number that counts.
    #[inline]
    pub(crate) fn count(&mut self, value: f64) {
        match &mut self.leaf {
            Some(leaf) => leaf.add(value),
            None => self.leaf = Some(Leaf::new(value)),
        }
    }

    /// Appends it with its path. `aligned`: each row has one value here, which counts.
    pub(crate) fn write(&self, path: Option<&str>, aligned: bool, parts: &mut Parts) {
        let numbers = self.values.iter().filter(|(kind, _)| *kind != Kind::Text);
        let form = Form::of(numbers.map(|(kind, text)| (*kind, *text)));
        let mut numbers = Vec::with_capacity(self.values.len());
        let mut texts = Vec::new();
        let mut kinds = Vec::new();
        for (at, (kind, text)) in self.values.iter().enumerate() {
            let number = form.integer(*kind, text);
            match number {
                Some(number) => numbers.push(number),
                None => texts.push(*text),
            }
            if !kinds.is_empty() || (!texts.is_empty() && !numbers.is_empty()) {
                kinds.resize(at, i64::from(number.is_some()));
                kinds.push(i64::from(number.is_none()));
            }
        }
        let dictionary = text::dictionary(&texts);
        let content = match (numbers.is_empty(), texts.is_empty()) {
            (_, true) => NUMBERS,
            (true, false) => TEXTS,
            (false, false) => MIXED,
        };
        let flags = [(aligned, ALIGNED), (dictionary.is_some(), DICTIONARY), (self.leaf.is_some(), LEAF)];
        parts.directory.push(flags.iter().filter(|(set, _)| *set).fold(content, |tag, (_, flag)| tag | flag));
        if content != TEXTS {
            put_length(&mut parts.directory, form.code());
        }
        if let Some(leaf) = &self.leaf {
            let path = path.unwrap_or_default();
            put_length(&mut parts.directory, path.len());
            parts.directory.extend_from_slice(path.as_bytes());
            if !aligned || content != NUMBERS {
                put_length(&mut parts.directory, leaf.count as usize);
            }
            let decimals = if let Form::Decimals { most, .. } = form { most } else { 0 };
            summary::write(leaf, decimals, &mut parts.directory);
        }
        if content == MIXED {
            parts.push_integers(&kinds);
        }
        if content != TEXTS {
            parts.push_integers(&numbers);
        }
        match &dictionary {
            Some((different, which)) => {
                parts.push_integers(which);
                parts.push_texts(different);
            }
            None if content != NUMBERS => parts.push_texts(&texts),
            None => {}
        }
    }
}

impl Parts {
    fn push_integers(&mut self, integers: &[i64]) {
        let from = self.integers.len();
        integers::write(integers, &mut self.integers);
        put_length(&mut self.directory, self.integers.len() - from);
    }

    fn push_texts(&mut self, texts: &[&str]) {
        let from = self.texts.len();
        text::write(texts, &mut self.texts);
        put_length(&mut self.directory, self.texts.len() - from);
    }
}
