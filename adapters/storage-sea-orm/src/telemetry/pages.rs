//! Pages of single devices that are asked for at the same time, read in one transaction of a SQLite file.
//!
//! A page alone takes a dozen trips to a connection, and most of its time. Here each step is one statement for all pages: the
//! devices with the outlines of their chunks, the rows of the log, the chunks that most pages need, the topics; the last three
//! only where they are not in memory. What a page needs beyond that, it reads by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{DeviceId, TelemetryPage, TelemetryQuery, TenantId};
use pocket_ports::StorageError;
use sea_orm::DbBackend;

use super::log::Found;
use super::merge::{self, Ahead, Page};
use super::names::Names;
use super::snapshot::Snapshot;
use super::window::{Scope, Window};
use super::{Chunks, Outline, page_of, range};
use crate::database::Database;
use crate::error::Error;
use crate::together::Question;

/// Rows of a page that is read together with others, so that nobody waits long for the page of another.
const MOST_ROWS: u32 = 200;

/// A page of one device, on all topics.
pub(crate) struct DevicePage {
    tenant: TenantId,
    device: DeviceId,
    query: TelemetryQuery,
}

/// A page whose device is there.
struct Wanted {
    place: usize,
    scope: Scope,
    window: Window,
    /// One row more than the page has, which tells whether there is another page.
    limit: usize,
    /// The first of its chunks.
    outlines: Vec<Outline>,
    log: Vec<Found>,
}

impl DevicePage {
    /// The query, if it is one that is answered together with others.
    pub(super) fn of(db: &Database, tenant: TenantId, query: &TelemetryQuery) -> Option<Self> {
        let suits = db.backend() == DbBackend::Sqlite && query.topic.is_none() && query.limit() <= MOST_ROWS;
        let device = query.device_id.filter(|_| suits)?;
        Some(Self { tenant, device, query: query.clone() })
    }
}

#[async_trait]
impl Question for DevicePage {
    type Answer = Result<TelemetryPage, StorageError>;
    const TRIPS: usize = 2;
    const MOST: usize = 16;

    async fn answer(db: &Database, questions: Vec<Self>) -> Result<Vec<Self::Answer>, Error> {
        match together(db, &questions).await.map_err(StorageError::from) {
            Ok(pages) => Ok(pages.into_iter().map(Ok).collect()),
            Err(away @ StorageError::Unavailable(_)) => Err(away.into()),
            // What cannot be read keeps back the page that it belongs to, and no other.
            Err(_) => {
                let mut pages = Vec::with_capacity(questions.len());
                for Self { tenant, query, .. } in &questions {
                    pages.push(range(db, *tenant, query).await.map_err(StorageError::from));
                }
                Ok(pages)
            }
        }
    }
}

async fn together(db: &Database, questions: &[DevicePage]) -> Result<Vec<TelemetryPage>, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let (transaction, log) = (snapshot.transaction(), snapshot.log());
    let windows: Vec<Window> = questions.iter().map(|question| Window::of(&question.query, None)).collect();
    let asked: Vec<_> =
        questions.iter().zip(&windows).map(|(question, window)| (question.tenant, question.device, window)).collect();
    let Some(first) = questions.first() else { return Ok(Vec::new()) };
    let devices = snapshot.chunks(first.tenant).of_devices(&asked).await?;
    let mut wanted: Vec<Wanted> = Vec::with_capacity(questions.len());
    for ((place, window), device) in windows.into_iter().enumerate().zip(devices) {
        let Some((scope, outlines)) = device else { continue };
        let limit = questions[place].query.limit() as usize + 1;
        wanted.push(Wanted { place, scope, window, limit, outlines, log: Vec::new() });
    }
    let places: Vec<_> = wanted.iter().map(|page| (&page.scope, &page.window, page.limit)).collect();
    let rows_of_log = log.pages(&places).await?;
    for (page, rows) in wanted.iter_mut().zip(rows_of_log) {
        page.log = rows;
    }
    let first = wanted.iter().filter(|page| page.log.len() < page.limit);
    let first: HashSet<i64> = first
        .filter_map(|page| Some((page, page.outlines.first()?.key)))
        .filter(|(page, key)| db.parts.get(*key).is_none_or(|part| part.rest(&page.window, page.limit).is_none()))
        .map(|(_, key)| key)
        .collect();
    let contents = Chunks::contents(transaction, &first.into_iter().collect::<Vec<_>>()).await?;
    let contents: HashMap<i64, Arc<[u8]>> = contents.into_iter().map(|(key, content)| (key, content.into())).collect();

    let mut found = Vec::with_capacity(wanted.len());
    for Wanted { place, scope, window, limit, outlines, log } in wanted {
        let ahead = Ahead { outlines: Some(outlines), contents: Some(&contents), parts: Some(&db.parts) };
        let chunks = snapshot.chunks(questions[place].tenant);
        found.push((place, merge::page_ahead(log, &chunks, &scope, &window, limit, ahead).await?));
    }
    let device = |(place, page): &(usize, Page)| Some((page.rows.first()?.device, questions[*place].device));
    let ids = found.iter().filter_map(device).collect();
    let rows = found.iter().flat_map(|(_, page)| &page.rows);
    let names = Names::with_devices(transaction, ids, &db.topic_names, None, rows).await?;
    let nothing = || TelemetryPage { rows: Vec::new(), next: None };
    let mut pages: Vec<TelemetryPage> = questions.iter().map(|_| nothing()).collect();
    for (place, Page { rows, behind }) in found {
        pages[place] = page_of(names.named(rows)?, behind, questions[place].query.limit())?;
    }
    Ok(pages)
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, reason = "a test may fail at once")]
mod tests {
    use pocket_domain::{SortOrder, Timestamp};

    use super::*;
    use crate::keeper::Keeper;
    use crate::options::Sealing;
    use crate::sample::Sample;

    fn question(sample: &Sample, tenant: TenantId, device: DeviceId, order: SortOrder, limit: u64) -> DevicePage {
        let query = TelemetryQuery { device_id: Some(device), order, ..Default::default() };
        DevicePage::of(&sample.database, tenant, &query.with_limit(Some(limit)).unwrap()).unwrap()
    }

    /// Three devices: in chunks and in the log, in the log alone, and without anything.
    async fn sample() -> (Sample, [DeviceId; 3]) {
        let sample = Sample::new().await;
        let devices = [sample.device, sample.register(2).await, sample.register(3).await];
        // Many small chunks, more than are read beforehand.
        let mut keeper = Keeper::new(Sealing { rows: 1, per_device: 0, batch: 7, ..Sealing::default() });
        sample.append(devices[0], 90).await;
        while keeper.step(&sample.database).await.unwrap() {}
        sample.append(devices[0], 5).await;
        sample.append(devices[1], 40).await;
        (sample, devices)
    }

    #[tokio::test]
    async fn pages_that_are_read_together_are_those_that_are_read_alone() {
        let (sample, devices) = sample().await;
        let mut questions = Vec::new();
        for device in devices {
            for (order, limit) in [(SortOrder::Ascending, 3), (SortOrder::Descending, 50), (SortOrder::Descending, 200)]
            {
                questions.push(question(&sample, sample.tenant, device, order, limit));
            }
        }
        let mut later = question(&sample, sample.tenant, devices[0], SortOrder::Ascending, 10);
        later.query.from = Some(Timestamp::from_millis(70).unwrap());
        questions.push(later);
        let together = together(&sample.database, &questions).await.unwrap();
        let mut rows = Vec::new();
        for (question, page) in questions.iter().zip(together) {
            assert_eq!(page, range(&sample.database, question.tenant, &question.query).await.unwrap());
            rows.push(page.rows.len());
        }
        assert_eq!(rows, [3, 50, 95, 3, 40, 40, 0, 0, 0, 10]);
    }

    #[tokio::test]
    async fn a_device_is_found_in_its_own_tenant_only() {
        let (sample, [device, ..]) = sample().await;
        let stranger = TenantId::new(Timestamp::MIN, [9; 10]);
        let questions =
            [stranger, sample.tenant].map(|tenant| question(&sample, tenant, device, SortOrder::Ascending, 3));
        let pages = together(&sample.database, &questions).await.unwrap();
        assert_eq!(pages.iter().map(|page| page.rows.len()).collect::<Vec<_>>(), [0, 3]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_keeps_no_other_page_back() {
        let (sample, devices) = sample().await;
        sample
            .execute("UPDATE telemetry SET timestamp = -1 WHERE device = 2 AND id = (SELECT max(id) FROM telemetry)")
            .await;
        let questions =
            [devices[1], devices[0]].map(|device| question(&sample, sample.tenant, device, SortOrder::Ascending, 200));
        assert!(together(&sample.database, &questions).await.is_err());
        let pages = DevicePage::answer(&sample.database, questions.into()).await.unwrap();
        assert!(matches!(pages[0], Err(StorageError::Corrupt(_))), "{:?}", pages[0]);
        assert_eq!(pages[1].as_ref().unwrap().rows.len(), 95);
    }
}
