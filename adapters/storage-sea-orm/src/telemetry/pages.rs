//! Pages of single devices that are asked for at the same time, read in one transaction of a SQLite file.
//!
//! A page alone takes a dozen trips to a connection, and most of its time. Here each step is one statement for all pages: the
//! devices, the outlines of their chunks, the rows of the log, the chunks that most pages need, the topics. What a page needs
//! beyond that, it reads by itself.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use pocket_domain::{DeviceId, TelemetryPage, TelemetryQuery, TenantId};
use pocket_ports::StorageError;
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::log::Found;
use super::merge::{self, Ahead};
use super::names::Names;
use super::snapshot::Snapshot;
use super::window::{Scope, Window};
use super::{Chunks, range};
use crate::database::Database;
use crate::error::Error;
use crate::json_rows::{self, Column};
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
    let (transaction, log, chunks) = (snapshot.transaction(), snapshot.log(), snapshot.chunks());
    let keys = device_keys(transaction, questions).await?;
    let mut wanted: Vec<Wanted> = Vec::with_capacity(questions.len());
    for (place, question) in questions.iter().enumerate() {
        let Some(key) = keys.get(&(question.tenant, question.device)) else { continue };
        wanted.push(Wanted {
            place,
            scope: Scope::Device(*key),
            window: Window::of(&question.query, None),
            limit: question.query.limit() as usize + 1,
            log: Vec::new(),
        });
    }
    let places: Vec<_> = wanted.iter().map(|page| (&page.scope, &page.window, page.limit)).collect();
    let rows_of_log = log.pages(&places).await?;
    for (page, rows) in wanted.iter_mut().zip(rows_of_log) {
        page.log = rows;
    }
    let windows: Vec<_> = wanted.iter().map(|page| (&page.scope, &page.window)).collect();
    let outlines = chunks.first_outlines(&windows).await?;
    let first = wanted.iter().zip(&outlines).filter(|(page, _)| page.log.len() < page.limit);
    let first: HashSet<i64> = first
        .filter_map(|(page, outlines)| Some((page, outlines.first()?.key)))
        .filter(|(page, key)| db.parts.get(*key).is_none_or(|part| part.rest(&page.window, page.limit).is_none()))
        .map(|(_, key)| key)
        .collect();
    let contents: HashMap<i64, Vec<u8>> =
        Chunks::contents(transaction, &first.into_iter().collect::<Vec<_>>()).await?.into_iter().collect();

    let mut found = Vec::with_capacity(wanted.len());
    for (page, outlines) in wanted.into_iter().zip(outlines) {
        let Wanted { place, scope, window, limit, log } = page;
        let ahead = Ahead { outlines: Some(outlines), contents: Some(&contents), parts: Some(&db.parts) };
        found.push((place, merge::page_ahead(log, &chunks, &scope, &window, limit, ahead).await?));
    }
    let ids = keys.into_iter().map(|((_, id), key)| (key, id)).collect();
    let names = Names::with_devices(transaction, ids, found.iter().flat_map(|(_, rows)| rows)).await?;
    let nothing = || TelemetryPage { rows: Vec::new(), next: None };
    let mut pages: Vec<TelemetryPage> = questions.iter().map(|_| nothing()).collect();
    for (place, rows) in found {
        pages[place] = TelemetryPage::from_rows(names.named(rows)?, questions[place].query.limit());
    }
    Ok(pages)
}

/// The keys of the devices that there are in the tenants that ask for them.
async fn device_keys(
    transaction: &impl ConnectionTrait,
    questions: &[DevicePage],
) -> Result<HashMap<(TenantId, DeviceId), i64>, Error> {
    let pairs: HashSet<(Uuid, Uuid)> = questions.iter().map(|of| (of.tenant.as_uuid(), of.device.as_uuid())).collect();
    let pairs = pairs.iter().map(|(tenant, id)| vec![tenant.simple().to_string(), id.simple().to_string()]);
    let pairs = serde_json::Value::from_iter(pairs).to_string();
    let backend = transaction.get_database_backend();
    let sql = format!(
        "{} SELECT rows.of_tenant, rows.of_id, devices.key FROM rows
        JOIN tenants ON tenants.id = rows.of_tenant AND NOT tenants.deleted
        JOIN devices ON devices.id = rows.of_id AND devices.tenant = tenants.key AND NOT devices.deleted",
        json_rows::with(backend, &[("of_tenant", Column::Id), ("of_id", Column::Id)])
    );
    let mut keys = HashMap::new();
    for row in transaction.query_all_raw(Statement::from_sql_and_values(backend, sql, [pairs.into()])).await? {
        let (tenant, id): (Uuid, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        keys.insert((TenantId::from_uuid(tenant), DeviceId::from_uuid(id)), row.try_get_by_index(2)?);
    }
    Ok(keys)
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
