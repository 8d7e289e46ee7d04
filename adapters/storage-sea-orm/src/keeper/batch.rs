//! The rows of the log that are sealed together, in memory.
//!
//! They are many, so what one takes counts: the payloads of a page of rows stand in one text, and a row says where its own is.
//! Being large, these pieces also go back to the system when they are freed.

use std::collections::HashSet;
use std::ops::Range;

use pocket_telemetry_codec::Row;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::database::Database;
use crate::entity::corrupt;
use crate::error::Error;
use crate::options::Sealing;

/// Rows that are read at a time: as many as have these bytes, or one, if it is not more than the most.
const PAGE_BYTES: usize = 500_000;
const MOST_OF_PAGE: usize = 5_000;
/// Bytes that one batch takes in memory.
const MOST_BYTES: usize = 24_000_000;

/// Rows of any devices.
#[derive(Default)]
pub(super) struct Batch {
    pages: Vec<String>,
    rows: Vec<LogRow>,
}

struct LogRow {
    tenant: i64,
    device: i64,
    id: i64,
    topic: i64,
    timestamp: i64,
    received_at: i64,
    page: u32,
    payload: Range<u32>,
}

impl Batch {
    /// The oldest rows between two ids, as many as are sealed together, halved so often; and the last id among those that were
    /// read.
    pub(super) async fn read(
        db: &Database,
        after: i64,
        last: i64,
        sealing: Sealing,
        halvings: u32,
    ) -> Result<(Self, i64), Error> {
        let (mut batch, mut up_to) = (Self::default(), after);
        let mut devices = HashSet::new();
        let halved = |most: usize| most.checked_shr(halvings).unwrap_or(0).max(1);
        while batch.bytes() < halved(MOST_BYTES) {
            let before = batch.rows.len();
            let room = halved(sealing.most(devices.len())).saturating_sub(before);
            if room == 0 {
                break;
            }
            let bytes = halved(MOST_BYTES).saturating_sub(batch.bytes()).min(PAGE_BYTES);
            let page = page_within(db, up_to, last, room.min(MOST_OF_PAGE), bytes).await?;
            batch.read_page(db, up_to, last, page).await?;
            devices.extend(batch.rows[before..].iter().map(|row| row.device));
            let Some(newest) = batch.rows[before..].last() else {
                // All is read: ids that are missing were never used, or their rows are removed.
                return Ok((batch, last));
            };
            up_to = newest.id;
        }
        Ok((batch, up_to))
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        self.pages.iter().map(String::len).sum::<usize>() + self.rows.len() * size_of::<LogRow>()
    }

    async fn read_page(&mut self, db: &Database, after: i64, up_to: i64, limit: usize) -> Result<(), Error> {
        // As one text: the drivers take longer for the values of a row than all the rest does. Each row is its integers, the
        // length of its payload in bytes, and the payload, which no sign has to end.
        let sql = format!(
            "SELECT coalesce(string_agg(concat_ws(',', tenant, id, device, topic, timestamp, received_at,
                octet_length(payload), payload), ''), '') FROM (
                SELECT * FROM telemetry WHERE id > {after} AND id <= {up_to} ORDER BY id LIMIT {limit}
            ) AS page"
        );
        let row = db.reader().query_one_raw(Statement::from_string(db.backend(), sql)).await?;
        let text: String = row.ok_or(DbErr::RecordNotFound("rows of the log".into()))?.try_get_by_index(0)?;
        let mut page = self.page(text.len());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let integers = [(); 7].map(|()| integer(&mut rest));
            let [tenant, id, device, topic, timestamp, received_at, length] = integers;
            let length = length.and_then(|length| usize::try_from(length).ok());
            let (payload, others) =
                length.and_then(|length| rest.split_at_checked(length)).ok_or_else(|| corrupt(UNREADABLE))?;
            let all = [tenant, id, device, topic, timestamp, received_at];
            let all = all.map(|integer| integer.ok_or_else(|| corrupt(UNREADABLE)));
            let [tenant, id, device, topic, timestamp, received_at] = all;
            page.push([tenant?, id?, device?, topic?, timestamp?, received_at?], payload)?;
            rest = others;
        }
        page.end();
        Ok(())
    }

    fn page(&mut self, bytes: usize) -> Page<'_> {
        Page { first: self.rows.len(), number: self.pages.len(), payloads: String::with_capacity(bytes), batch: self }
    }

    /// Orders the rows by device, time and id; the places of those of each device.
    pub(super) fn sort(&mut self) -> Vec<Range<usize>> {
        self.rows.sort_unstable_by_key(|row| (row.tenant, row.device, row.timestamp, row.id));
        let mut from = 0;
        let of_device = self.rows.chunk_by(|one, next| (one.tenant, one.device) == (next.tenant, next.device));
        of_device
            .map(|rows| {
                from += rows.len();
                from - rows.len()..from
            })
            .collect()
    }

    /// Rows at places within those of one device, with its tenant.
    pub(super) fn rows(&self, places: Range<usize>) -> Option<((i64, i64), Vec<Row<'_>>)> {
        let rows = self.rows.get(places)?;
        let LogRow { tenant, device, .. } = rows.first()?;
        Some(((*tenant, *device), rows.iter().map(|row| self.row(row)).collect()))
    }

    fn row(&self, row: &LogRow) -> Row<'_> {
        let LogRow { id, topic, timestamp, received_at, page, ref payload, .. } = *row;
        let payload = &self.pages[page as usize][payload.start as usize..payload.end as usize];
        Row { id: id.unsigned_abs(), timestamp, received_at, topic, payload }
    }
}

/// How many of the rows between two ids, up to a number, have no more bytes together; one at least. What a page takes is known
/// before it is read: payloads may be a few bytes, and then some of megabytes.
async fn page_within(db: &Database, after: i64, up_to: i64, most: usize, bytes: usize) -> Result<usize, Error> {
    let sql = format!(
        "SELECT coalesce(max(bytes), 0) AS longest, coalesce(string_agg(bytes, ','), '') AS bytes FROM (
            SELECT octet_length(payload) AS bytes FROM telemetry WHERE id > {after} AND id <= {up_to}
            ORDER BY id LIMIT {most}
        ) AS page"
    );
    let sql = match db.backend() {
        DbBackend::Postgres => sql.replace("string_agg(bytes, ',')", "string_agg(bytes::text, ',')"),
        _ => sql,
    };
    let row = db.reader().query_one_raw(Statement::from_string(db.backend(), sql)).await?;
    let row = row.ok_or(DbErr::RecordNotFound("rows of the log".into()))?;
    let longest = match db.backend() {
        DbBackend::Postgres => i64::from(row.try_get_by_index::<i32>(0)?),
        _ => row.try_get_by_index::<i64>(0)?,
    };
    if usize::try_from(longest).is_ok_and(|longest| longest.saturating_mul(most) <= bytes) {
        return Ok(most);
    }
    let lengths: String = row.try_get_by_index(1)?;
    let mut sum = 0usize;
    let fits = |length: &&str| {
        sum = sum.saturating_add(length.parse().unwrap_or(usize::MAX));
        sum <= bytes
    };
    Ok(lengths.split(',').take_while(fits).count().max(1))
}

const UNREADABLE: &str = "rows of the log cannot be read as text";

/// A page that is being filled.
struct Page<'a> {
    batch: &'a mut Batch,
    number: usize,
    first: usize,
    payloads: String,
}

impl Page<'_> {
    fn push(&mut self, integers: [i64; 6], payload: &str) -> Result<(), Error> {
        let [tenant, id, device, topic, timestamp, received_at] = integers;
        let start = self.payloads.len();
        self.payloads.push_str(payload);
        let place = |at: usize| u32::try_from(at).map_err(corrupt);
        let payload = place(start)?..place(self.payloads.len())?;
        let page = place(self.number)?;
        self.batch.rows.push(LogRow { tenant, device, id, topic, timestamp, received_at, page, payload });
        Ok(())
    }

    fn end(mut self) {
        self.payloads.shrink_to_fit();
        // An aggregate promises no order.
        self.batch.rows[self.first..].sort_unstable_by_key(|row| row.id);
        self.batch.pages.push(self.payloads);
    }
}

/// Takes an integer and the comma behind it off a text.
fn integer(rest: &mut &str) -> Option<i64> {
    let (integer, others) = rest.split_once(',')?;
    *rest = others;
    integer.parse().ok()
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn rows_come_in_pages_whatever_their_payloads_are() {
        let of = |batch| Sealing { batch, ..Sealing::default() };
        let sample = Sample::new().await;
        let other = sample.register(2).await;
        let texts = [",", "1,2,3:", "\"é😀\"", "", "x", &"y".repeat(PAGE_BYTES)];
        let messages = (0..300).map(|n: i64| pocket_domain::NewTelemetry {
            payload: pocket_domain::Payload::from_stored(texts[n.cast_unsigned() as usize % texts.len()]),
            ..sample.message(if n % 2 == 0 { sample.device } else { other }, 300 - n)
        });
        sample.storage.telemetry.append(messages.collect()).await.unwrap();
        sample.execute("DELETE FROM telemetry WHERE id = 7").await;
        let (mut batch, up_to) = Batch::read(&sample.database, 0, 250, of(260), 0).await.unwrap();
        assert_eq!((batch.len(), up_to), (249, 250));
        assert!(batch.pages.len() > 3, "{}", batch.pages.len());
        let places = batch.sort();
        let devices: Vec<_> = places.into_iter().map(|places| batch.rows(places).unwrap().1).collect();
        assert_eq!(devices.iter().map(Vec::len).collect::<Vec<_>>(), [124, 125]);
        for row in devices.iter().flatten() {
            let n = row.id as usize - 1;
            assert_eq!((row.payload, row.timestamp), (texts[n % texts.len()], 300 - n as i64));
        }
        assert!(devices.iter().all(|rows| rows.is_sorted_by_key(|row| row.timestamp)));
        let (batch, up_to) = Batch::read(&sample.database, 250, 1_000, of(20), 0).await.unwrap();
        assert_eq!((batch.len(), up_to), (20, 270));
        let (batch, up_to) = Batch::read(&sample.database, 250, 1_000, of(20), 2).await.unwrap();
        assert_eq!((batch.len(), up_to), (5, 255));
        let (batch, up_to) = Batch::read(&sample.database, 250, 1_000, of(20), 60).await.unwrap();
        assert_eq!((batch.len(), up_to), (1, 251));
    }

    #[tokio::test]
    async fn a_page_is_no_larger_than_it_may_be_whatever_comes_after_small_rows() {
        let sample = Sample::new().await;
        let message = |n: i64, length: usize| pocket_domain::NewTelemetry {
            payload: pocket_domain::Payload::from_stored(format!("\"{}\"", "x".repeat(length))),
            ..sample.message(sample.device, n)
        };
        let small = (0..200).map(|n| message(n, 10));
        let large = (200..210).map(|n| message(n, PAGE_BYTES));
        sample.storage.telemetry.append(small.chain(large).collect()).await.unwrap();
        assert_eq!(page_within(&sample.database, 0, 500, 150, PAGE_BYTES).await.unwrap(), 150);
        assert_eq!(page_within(&sample.database, 0, 500, 5_000, PAGE_BYTES).await.unwrap(), 200);
        assert_eq!(page_within(&sample.database, 200, 500, 5_000, PAGE_BYTES).await.unwrap(), 1);
        assert_eq!(page_within(&sample.database, 500, 600, 5_000, PAGE_BYTES).await.unwrap(), 5_000);
        let (batch, _) = Batch::read(&sample.database, 0, 500, Sealing::default(), 0).await.unwrap();
        assert_eq!((batch.len(), batch.pages.len()), (210, 12), "the last page has no rows");
    }
}
