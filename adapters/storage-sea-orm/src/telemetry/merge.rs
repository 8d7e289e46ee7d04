//! A page of the history: rows of the log and of chunks in one order.
//!
//! Chunks of a device follow one another but for late rows, and those of different devices lie side by side. So a chunk is
//! opened when the next row could be one of its own, and its payloads are restored last, only those of the page. Chunks are
//! decoded in the turn of the tenant, and only so many for one page: what is left of it comes with the next.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use pocket_domain::SortOrder;
use pocket_telemetry_codec::{Chunk, Damaged, OwnedRow};

use super::chunks::{Chunks, Outline};
use super::log::{Found, Log};
use super::parts::{Part, Parts};
use super::window::{Place, Scope, Window};
use crate::decoders::Wanted;
use crate::error::Error;

/// Outlines that are read at a time.
const OUTLINES: usize = 64;

/// What is opened for one page, in chunks and in bytes of these. A filter of topics may leave nothing of any.
const MOST_OPEN: usize = 1_024;
const OPEN_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of payloads after which a page ends.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Rows of the log that are fetched for a part; their payloads may be long.
const LOG_ROWS: usize = 512;

/// What was read beforehand.
#[derive(Default)]
pub(crate) struct Ahead<'a> {
    /// The first outlines in the order, as [`Chunks::of_devices`] gives them.
    pub(crate) outlines: Option<Vec<Outline>>,
    /// Contents of some chunks.
    pub(crate) contents: Option<&'a HashMap<i64, Arc<[u8]>>>,
    /// Parts of chunks that pages took before, and where to leave those of this one.
    pub(crate) parts: Option<&'a Parts>,
}

/// An opened chunk.
struct Open {
    outline: Outline,
    content: Content,
    /// Bytes of a payload, on average.
    mean: usize,
    /// Places of its rows in the window with the numbers of the rows, the next in the order last.
    rest: Vec<(Place, usize)>,
}

/// What an opened chunk's rows are restored from.
enum Content {
    Chunk(Arc<[u8]>),
    Part(Arc<Part>),
}

/// What may be the next in the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// The next row of the log.
    Log,
    /// The next row of an opened chunk.
    Row(usize),
    /// A chunk that is not opened, by its number.
    Chunk(usize),
    /// A chunk that is not known.
    More,
}

/// A row of the page.
enum Pick {
    Log(Found),
    /// A row of an opened chunk.
    Chunk(usize, usize),
}

/// How much is taken together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// The most rows.
    pub(crate) rows: usize,
    /// Bytes of payloads after which nothing more is taken.
    pub(crate) bytes: usize,
}

/// Rows in their order, and the place behind which more may follow, if they ended before there were as many as wanted.
pub(crate) struct Page {
    pub(crate) rows: Vec<Found>,
    pub(crate) behind: Option<Place>,
}

/// The first rows of the window, in its order; at most so many, and fewer where finding them is much work.
pub(crate) async fn page(
    log: &Log<'_>,
    chunks: &Chunks<'_>,
    scope: &Scope,
    window: &Window,
    limit: usize,
) -> Result<Page, Error> {
    page_ahead(log.page(scope, window, limit).await?, chunks, scope, window, limit, Ahead::default()).await
}

/// The same with the first rows of the log, and what else was read beforehand.
pub(crate) async fn page_ahead(
    rows_of_log: Vec<Found>,
    chunks: &Chunks<'_>,
    scope: &Scope,
    window: &Window,
    limit: usize,
    ahead: Ahead<'_>,
) -> Result<Page, Error> {
    let mut merge = Merge { ahead, ..Merge::new(chunks, scope, window, limit) };
    let (picks, behind) = merge.pick(rows_of_log, false, Room { rows: limit, bytes: PAGE_BYTES }).await?;
    let behind = behind.filter(|_| picks.len() < limit);
    Ok(Page { rows: merge.restore(picks).await?, behind })
}

/// The first rows of the window, in its order, as many as there is room for; and the place behind which more may follow, which
/// may be that of a row that is damaged and left out.
pub(crate) async fn part(
    log: &Log<'_>,
    chunks: &Chunks<'_>,
    scope: &Scope,
    window: &Window,
    room: Room,
) -> Result<(Vec<Found>, Option<Place>), Error> {
    let limit = room.rows.min(LOG_ROWS);
    let rows_of_log = log.page(scope, window, limit).await?;
    let is_cut = rows_of_log.len() == limit;
    // One row more of a chunk than there is room for, which tells that something follows.
    let mut merge = Merge::new(chunks, scope, window, room.rows + 1);
    let (picks, behind) = merge.pick(rows_of_log, is_cut, room).await?;
    Ok((merge.restore(picks).await?, behind))
}

struct Merge<'a> {
    chunks: &'a Chunks<'a>,
    scope: &'a Scope,
    window: &'a Window,
    /// The same for those who decode.
    shared: Arc<Window>,
    /// The most rows of a chunk that are looked at.
    limit: usize,
    ahead: Ahead<'a>,
    outlines: Vec<Outline>,
    open: Vec<Open>,
    /// How many chunks were opened, and their bytes.
    opened: (usize, usize),
    /// The next one is the greatest.
    heap: BinaryHeap<(Place, Next)>,
}

impl<'a> Merge<'a> {
    fn new(chunks: &'a Chunks<'a>, scope: &'a Scope, window: &'a Window, limit: usize) -> Self {
        let (ahead, outlines, open, heap) = (Ahead::default(), Vec::new(), Vec::new(), BinaryHeap::new());
        let shared = Arc::new(window.clone());
        Self { chunks, scope, window, shared, limit, ahead, outlines, open, opened: (0, 0), heap }
    }

    /// Picks rows in their order, as long as there is room, and tells the place behind which more may follow. The log may have
    /// more rows than are given here: then nothing is picked behind the last of these.
    async fn pick(
        &mut self,
        rows_of_log: Vec<Found>,
        is_cut: bool,
        room: Room,
    ) -> Result<(Vec<Pick>, Option<Place>), Error> {
        self.find_more().await?;
        let mut rows_of_log = rows_of_log.into_iter().peekable();
        self.push_log(rows_of_log.peek());
        let (mut picks, mut bytes, mut last) = (Vec::new(), 0, None);
        while picks.len() < room.rows
            && bytes < room.bytes
            && let Some((_, next)) = self.heap.pop()
        {
            match next {
                Next::Log => {
                    let Some(found) = rows_of_log.next() else { continue };
                    bytes += found.row.payload.len();
                    last = Some((found.row.timestamp, found.row.id.cast_signed()));
                    picks.push(Pick::Log(found));
                    if is_cut && rows_of_log.peek().is_none() {
                        return Ok((picks, last));
                    }
                    self.push_log(rows_of_log.peek());
                }
                Next::Row(open) => {
                    bytes += self.open[open].mean;
                    let Some((place, row)) = self.open[open].rest.pop() else { continue };
                    last = Some(place);
                    picks.push(Pick::Chunk(open, row));
                    self.push_row(open);
                }
                Next::Chunk(outline) if self.opened.0 >= MOST_OPEN || self.opened.1 >= OPEN_BYTES => {
                    // All that comes before this chunk was seen.
                    return Ok((picks, Some(self.edge(&self.outlines[outline]))));
                }
                Next::Chunk(outline) => self.open(outline).await?,
                Next::More => self.find_more().await?,
            }
        }
        Ok((picks, last.filter(|_| !self.heap.is_empty())))
    }

    /// Such that the next place in the order is the greatest.
    fn rank(&self, place: Place) -> Place {
        match self.window.order {
            SortOrder::Ascending => (-place.0, -place.1),
            SortOrder::Descending => place,
        }
    }

    /// Where the first row of a chunk may be.
    fn edge(&self, outline: &Outline) -> Place {
        match self.window.order {
            SortOrder::Ascending => (outline.first_at, 0),
            SortOrder::Descending => (outline.last_at, i64::MAX),
        }
    }

    fn push_log(&mut self, next: Option<&Found>) {
        if let Some(Found { row, .. }) = next {
            self.heap.push((self.rank((row.timestamp, row.id.cast_signed())), Next::Log));
        }
    }

    fn push_row(&mut self, open: usize) {
        if let Some((place, _)) = self.open[open].rest.last() {
            self.heap.push((self.rank(*place), Next::Row(open)));
        }
    }

    async fn find_more(&mut self) -> Result<(), Error> {
        let (found, asked) = match self.ahead.outlines.take() {
            Some(found) => (found, Chunks::FIRST),
            None => (self.chunks.outlines(self.scope, self.window, self.outlines.last(), OUTLINES).await?, OUTLINES),
        };
        if let Some(last) = found.last().filter(|_| found.len() == asked) {
            self.heap.push((self.rank(self.edge(last)), Next::More));
        }
        for outline in found {
            if self.scope.has(outline.device) {
                self.heap.push((self.rank(self.edge(&outline)), Next::Chunk(self.outlines.len())));
            }
            self.outlines.push(outline);
        }
        Ok(())
    }

    async fn open(&mut self, number: usize) -> Result<(), Error> {
        let outline = self.outlines[number];
        let known = self.ahead.parts.and_then(|parts| parts.get(outline.key));
        if let Some(part) = known
            && let Some(rest) = part.rest(self.window, self.limit)
        {
            self.push_open(Open { outline, content: Content::Part(part), mean: 0, rest });
            return Ok(());
        }
        let content = match self.ahead.contents.and_then(|contents| contents.get(&outline.key)) {
            Some(content) => Arc::clone(content),
            None => match Chunks::contents(self.chunks.transaction, &[outline.key]).await?.pop() {
                Some((_, content)) => content.into(),
                None => return Ok(()),
            },
        };
        self.opened = (self.opened.0 + 1, self.opened.1 + content.len());
        let (window, limit, of_chunk) = (Arc::clone(&self.shared), self.limit, Arc::clone(&content));
        let is_kept = self.ahead.parts.is_some();
        let decoded = self.chunks.decode(move |_| {
            let (mean, rest) = rest(&of_chunk, &window, limit)?;
            let is_kept = is_kept && !rest.is_empty();
            let part = if is_kept { Some(Arc::new(Part::of_chunk(&of_chunk, &rest)?)) } else { None };
            Ok((mean, rest, part))
        });
        match decoded.await? {
            Ok((mean, rest, part)) => {
                if let (Some(parts), Some(part)) = (self.ahead.parts, &part) {
                    parts.keep(outline.key, Arc::clone(part));
                }
                let content = part.map_or(Content::Chunk(content), Content::Part);
                self.push_open(Open { outline, content, mean, rest });
            }
            Err(damaged) => self.chunks.report(&outline, &damaged).await,
        }
        Ok(())
    }

    fn push_open(&mut self, open: Open) {
        self.open.push(open);
        self.push_row(self.open.len() - 1);
    }

    /// The rows that were picked, with their payloads.
    async fn restore(self, picks: Vec<Pick>) -> Result<Vec<Found>, Error> {
        let mut numbers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for pick in &picks {
            if let Pick::Chunk(open, row) = pick {
                numbers.entry(*open).or_default().push(*row);
            }
        }
        let (mut restored, mut wanted) = (HashMap::new(), Vec::new());
        for (open, mut numbers) in numbers {
            match &self.open[open].content {
                Content::Part(part) => {
                    restored.extend(numbers.iter().filter_map(|row| Some(((open, *row), part.row(*row)?))));
                }
                Content::Chunk(content) => {
                    numbers.sort_unstable();
                    wanted.push((open, Arc::clone(content), numbers));
                }
            }
        }
        if !wanted.is_empty() {
            for (open, decoded) in self.chunks.decode(move |still| rows_of(wanted, still)).await? {
                match decoded {
                    Ok(rows) => restored.extend(rows.into_iter().map(|(row, found)| ((open, row), found))),
                    Err(damaged) => self.chunks.report(&self.open[open].outline, &damaged).await,
                }
            }
        }
        let found = picks.into_iter().filter_map(|pick| match pick {
            Pick::Log(found) => Some(found),
            Pick::Chunk(open, row) => {
                let device = self.open[open].outline.device;
                restored.remove(&(open, row)).map(|row| Found { device, row })
            }
        });
        Ok(found.collect())
    }
}

/// The rows of a chunk with their numbers, or why it cannot be read.
type Decoded = Result<Vec<(usize, OwnedRow)>, Damaged>;

/// Rows of opened chunks by their numbers, as long as somebody wants them.
fn rows_of(wanted: Vec<(usize, Arc<[u8]>, Vec<usize>)>, still: &dyn Wanted) -> Vec<(usize, Decoded)> {
    let of = |(open, content, numbers): (usize, Arc<[u8]>, Vec<usize>)| {
        let rows = Chunk::open(&content).and_then(|chunk| chunk.rows_at(&numbers));
        (open, rows.map(|rows| numbers.into_iter().zip(rows).collect()))
    };
    wanted.into_iter().take_while(|_| still.is_wanted()).map(of).collect()
}

/// The mean length of a chunk's payloads, and its first rows that are in the window, at most so many, the next in its order
/// last.
pub(super) fn rest(content: &[u8], window: &Window, limit: usize) -> Result<(usize, Vec<(Place, usize)>), Damaged> {
    let chunk = Chunk::open(content)?;
    let mean = chunk.text_bytes() / chunk.len().max(1);
    if !chunk.topics().iter().any(|topic| window.has_topic(*topic)) {
        return Ok((mean, Vec::new()));
    }
    let (timestamps, ids) = (chunk.timestamps()?, chunk.ids()?);
    let topics = if window.topics.is_some() { Some(chunk.row_topics()?) } else { None };
    let from = timestamps.partition_point(|at| *at < window.from);
    let to = timestamps.partition_point(|at| *at <= window.to);
    let place = |row: usize| ((timestamps[row], ids[row].cast_signed()), row);
    let is_wanted = |(place, row): &(Place, usize)| {
        window.has_place(*place) && topics.as_ref().is_none_or(|topics| window.has_topic(topics[*row]))
    };
    let mut rest: Vec<(Place, usize)> = match window.order {
        SortOrder::Ascending => (from..to).map(place).filter(is_wanted).take(limit).collect(),
        SortOrder::Descending => (from..to).rev().map(place).filter(is_wanted).take(limit).collect(),
    };
    rest.reverse();
    Ok((mean, rest))
}
