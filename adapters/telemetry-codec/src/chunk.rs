//! A chunk whose checksum is right and whose head is read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use crate::bytes::Cursor;
use crate::directory::Directory;
use crate::encode::{MAGIC, PREFIX, checksum};
use crate::integers::Integers;
use crate::leaf::Leaf;
use crate::shape::Shape;
use crate::text::Area;
use crate::{Damaged, FORMAT_VERSION, MAX_ROWS, MAX_TEXT_BYTES, MAX_TIMESTAMP, MAX_VALUES};

/// A chunk whose checksum is right. What its head says is there at once; columns are decoded when they are asked for.
#[derive(Debug)]
pub struct Chunk<'a> {
    rows: usize,
    /// Bytes of all payloads.
    pub(crate) text_bytes: usize,
    times: RangeInclusive<i64>,
    id_range: RangeInclusive<u64>,
    topics: Vec<i64>,
    timestamps: &'a [u8],
    delays: &'a [u8],
    ids: &'a [u8],
    which_topic: &'a [u8],
    which_shape: &'a [u8],
    shapes: Area<'a>,
    texts: Area<'a>,
    /// What is in these areas, once somebody asked for it.
    read_shapes: OnceLock<Result<Shapes, Damaged>>,
    read_texts: OnceLock<Result<Cow<'a, [u8]>, Damaged>>,
    pub(crate) directory: Directory,
    /// The integers of all columns of payloads.
    pub(crate) integers: &'a [u8],
}

/// The shapes of payloads, and the shape of each row.
type Shapes = (Vec<Shape>, Vec<u32>);

impl<'a> Chunk<'a> {
    /// Checks the checksum and reads the head.
    ///
    /// # Errors
    /// When it is no chunk, of an unknown format, or damaged.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let Some((prefix, content)) = bytes.split_at_checked(PREFIX) else { return Err(Damaged::NotAChunk) };
        if prefix[..3] != MAGIC {
            return Err(Damaged::NotAChunk);
        }
        if prefix[3] != FORMAT_VERSION {
            return Err(Damaged::UnknownVersion(prefix[3]));
        }
        if prefix[4..] != checksum(bytes).to_le_bytes() {
            return Err(Damaged::Checksum);
        }
        let mut cursor = Cursor::new(content);
        let cursor = &mut cursor;
        let rows = cursor.at_most(MAX_ROWS)?;
        if rows == 0 {
            return Err(Damaged::Content("it has no rows"));
        }
        let text_bytes = cursor.at_most(MAX_TEXT_BYTES)?;
        let times = span(cursor, MAX_TIMESTAMP as u64)?;
        let id_range = span(cursor, i64::MAX as u64)?;
        let topics = topics(cursor, rows)?;
        let [timestamps, delays, ids] = [cursor.count()?, cursor.count()?, cursor.count()?];
        let which_topic = if topics.len() > 1 { cursor.count()? } else { 0 };
        let which_shape = cursor.count()?;
        let [shapes, texts] = [Area::lengths(cursor)?, Area::lengths(cursor)?];
        let (directory, integers) = Directory::read(cursor, rows)?;
        let chunk = Self {
            rows,
            text_bytes,
            times: *times.start() as i64..=*times.end() as i64,
            id_range,
            topics,
            timestamps: cursor.take(timestamps)?,
            delays: cursor.take(delays)?,
            ids: cursor.take(ids)?,
            which_topic: cursor.take(which_topic)?,
            which_shape: cursor.take(which_shape)?,
            shapes: Area::take(shapes, cursor)?,
            texts: Area::take(texts, cursor)?,
            read_shapes: OnceLock::new(),
            read_texts: OnceLock::new(),
            directory,
            integers: cursor.take(integers)?,
        };
        if cursor.rest().is_empty() { Ok(chunk) } else { Err(Damaged::Content("it is longer than it says")) }
    }

    /// How many rows there are, at least one.
    #[allow(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The first and the last timestamp.
    pub fn time_range(&self) -> RangeInclusive<i64> {
        self.times.clone()
    }

    /// The smallest and the largest id.
    pub fn id_range(&self) -> RangeInclusive<u64> {
        self.id_range.clone()
    }

    /// The different topics, sorted.
    pub fn topics(&self) -> &[i64] {
        &self.topics
    }

    /// Bytes of all payloads together.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The leaves that rows have, in the order in which they came up.
    pub fn leaves(&self) -> &[Leaf] {
        &self.directory.leaves
    }

    /// The timestamp of each row, in milliseconds since 1970; none is smaller than the one before.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn timestamps(&self) -> Result<Vec<i64>, Damaged> {
        let timestamps = Integers::read(self.timestamps, self.rows)?.into_vec();
        let ends = (timestamps.first(), timestamps.last());
        if ends == (Some(self.times.start()), Some(self.times.end())) && timestamps.is_sorted() {
            Ok(timestamps)
        } else {
            Err(Damaged::Content("timestamps are not those it says"))
        }
    }

    /// When each row was received, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn received_at(&self) -> Result<Vec<i64>, Damaged> {
        let delays = self.delays()?;
        Ok(self.timestamps()?.iter().zip(delays).map(|(timestamp, delay)| timestamp.wrapping_add(delay)).collect())
    }

    /// How long after its timestamp each row was received, in milliseconds.
    pub(crate) fn delays(&self) -> Result<Vec<i64>, Damaged> {
        Ok(Integers::read(self.delays, self.rows)?.into_vec())
    }

    /// The id of each row.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn ids(&self) -> Result<Vec<u64>, Damaged> {
        let ids = Integers::read(self.ids, self.rows)?.into_vec();
        let ids: Vec<u64> = ids.into_iter().map(|id| id as u64).collect();
        let wrong = Damaged::Content("ids are not those it says");
        if ids.iter().all(|id| self.id_range.contains(id)) { Ok(ids) } else { Err(wrong) }
    }

    /// The topic of each row.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn row_topics(&self) -> Result<Vec<i64>, Damaged> {
        if let [topic] = self.topics[..] {
            return Ok(vec![topic; self.rows]);
        }
        let which = indices(self.which_topic, self.rows, self.topics.len())?;
        Ok(which.into_iter().map(|topic| self.topics[topic as usize]).collect())
    }

    /// The last row of each shape that payloads have. Payloads of one shape have the same keys and differ only in their numbers
    /// and strings, so these rows have the last value of every key.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn last_of_each_shape(&self) -> Result<Vec<usize>, Damaged> {
        let (shapes, rows) = self.shapes()?;
        let mut last = vec![None; shapes.len()];
        for (row, shape) in rows.iter().enumerate() {
            last[*shape as usize] = Some(row);
        }
        Ok(last.into_iter().flatten().collect())
    }

    /// The rows whose payloads are kept as one text, without leaves, in their order.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn rows_without_leaves(&self) -> Result<Vec<usize>, Damaged> {
        let (shapes, rows) = self.shapes()?;
        let is_whole = |(_, shape): &(usize, &u32)| shapes[**shape as usize].is_whole();
        Ok(rows.iter().enumerate().filter(is_whole).map(|(row, _)| row).collect())
    }

    /// The last row of each shape that payloads have on each topic, in order, without payloads that are kept as one text.
    /// Payloads of one shape have the same keys, so these rows have the last value of every key on every topic.
    ///
    /// # Errors
    /// When the content contradicts itself.
    pub fn last_of_each_kind(&self) -> Result<Vec<usize>, Damaged> {
        let (shapes, rows) = self.shapes()?;
        let topics = if self.topics.len() > 1 { self.row_topics()? } else { Vec::new() };
        let mut last = HashMap::new();
        for (row, shape) in rows.iter().enumerate().filter(|(_, shape)| !shapes[**shape as usize].is_whole()) {
            last.insert((*shape, topics.get(row).copied()), row);
        }
        let mut rows: Vec<usize> = last.into_values().collect();
        rows.sort_unstable();
        Ok(rows)
    }

    /// The shapes of payloads, and the shape of each row.
    pub(crate) fn shapes(&self) -> Result<&Shapes, Damaged> {
        self.read_shapes.get_or_init(|| self.read_shapes()).as_ref().map_err(|damaged| *damaged)
    }

    /// The texts of all columns.
    pub(crate) fn texts(&self) -> Result<&[u8], Damaged> {
        self.read_texts.get_or_init(|| self.texts.read()).as_deref().map_err(|damaged| *damaged)
    }

    fn read_shapes(&self) -> Result<Shapes, Damaged> {
        let area = self.shapes.read()?;
        let mut cursor = Cursor::new(&area);
        let count = cursor.at_most(self.rows)?;
        let mut shapes = Vec::new();
        let mut holes = MAX_VALUES;
        for _ in 0..count {
            let shape = Shape::read(&mut cursor, holes, self.directory.entries.len())?;
            holes -= shape.holes().len();
            shapes.push(shape);
        }
        if !cursor.rest().is_empty() {
            return Err(Damaged::Content("shapes are longer than they should be"));
        }
        let rows = indices(self.which_shape, self.rows, shapes.len())?;
        // No overflow: both factors are limited.
        if rows.iter().map(|shape| shapes[*shape as usize].holes().len()).sum::<usize>() > MAX_VALUES {
            return Err(Damaged::Content("there are more values than a chunk holds"));
        }
        Ok((shapes, rows))
    }
}

/// A column of indices below a limit.
fn indices(bytes: &[u8], count: usize, limit: usize) -> Result<Vec<u32>, Damaged> {
    let wrong = Damaged::Content("a row names what is not there");
    let below = |index: i64| u32::try_from(index).ok().filter(|index| (*index as usize) < limit).ok_or(wrong);
    Integers::read(bytes, count)?.into_vec().into_iter().map(below).collect()
}

/// A smallest and a largest value.
fn span(cursor: &mut Cursor<'_>, limit: u64) -> Result<RangeInclusive<u64>, Damaged> {
    let (first, length) = (cursor.varint()?, cursor.varint()?);
    match first.checked_add(length) {
        Some(last) if last <= limit => Ok(first..=last),
        _ => Err(Damaged::Content("a range is beyond its limit")),
    }
}

fn topics(cursor: &mut Cursor<'_>, rows: usize) -> Result<Vec<i64>, Damaged> {
    let mut topics = Vec::new();
    let mut topic = 0i64;
    for _ in 0..cursor.at_most(rows)? {
        topic = topic.wrapping_add(cursor.signed()?);
        topics.push(topic);
    }
    let sorted = topics.windows(2).all(|pair| pair[0] < pair[1]);
    if sorted && !topics.is_empty() { Ok(topics) } else { Err(Damaged::Content("topics are not sorted")) }
}
