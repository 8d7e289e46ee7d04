//! What a device said last: of each key, the leaf with the last place in the history.

use std::collections::{BTreeMap, HashSet};

use pocket_domain::{DeviceId, LatestValue, LeafPath, MAX_DEVICE_KEYS, Payload, SortOrder, TenantId, Timestamp};
use pocket_telemetry_codec::{Chunk, Damaged, OwnedRow};

use super::chunks::{Chunks, Outline};
use super::keys;
use super::log::Found;
use super::snapshot::Snapshot;
use super::window::{Place, Scope, Window};
use crate::database::Database;
use crate::devices;
use crate::entity::time;
use crate::error::Error;

/// Chunks, and rows of the log, that are read together.
const CHUNKS: usize = 32;
const ROWS: usize = 5_000;

/// The last value of each key, ordered by key.
pub(crate) async fn latest(db: &Database, tenant: TenantId, device: DeviceId) -> Result<Vec<LatestValue>, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let Some(device) = devices::find(snapshot.transaction(), tenant, device).await? else { return Ok(Vec::new()) };
    let scope = Scope::Device(device.key);
    let window =
        Window { from: 0, to: Timestamp::MAX.as_millis(), after: None, order: SortOrder::Descending, topics: None };
    let mut values = Values::default();
    of_log(&snapshot, &scope, window.clone(), &mut values).await?;
    of_chunks(&snapshot, device.key, &scope, &window, &mut values).await?;
    values.told()
}

/// The last value of each key so far.
#[derive(Default)]
struct Values(BTreeMap<LeafPath, (Place, Box<str>)>);

impl Values {
    fn see(&mut self, row: OwnedRow) {
        let place = (row.timestamp, row.id.cast_signed());
        for leaf in Payload::from_stored(row.payload).leaves() {
            let value = || (place, leaf.value.json().into());
            match self.0.get_mut(&leaf.path) {
                Some(present) if present.0 < place => *present = value(),
                Some(_) => {}
                None => drop(self.0.insert(leaf.path.clone(), value())),
            }
        }
    }

    /// Whether all these keys have values of a later time.
    fn have_all(&self, keys: &[String], time: i64) -> bool {
        let is_later = |(place, _): &(Place, Box<str>)| place.0 > time;
        keys.iter().all(|key| LeafPath::parse(key).is_ok_and(|key| self.0.get(&key).is_some_and(is_later)))
    }

    fn told(self) -> Result<Vec<LatestValue>, Error> {
        let told = self
            .0
            .into_iter()
            .take(MAX_DEVICE_KEYS)
            .map(|(key, (place, value))| Ok(LatestValue { key, value, timestamp: time(place.0)? }));
        told.collect()
    }
}

async fn of_log(snapshot: &Snapshot<'_>, scope: &Scope, mut window: Window, values: &mut Values) -> Result<(), Error> {
    let log = snapshot.log();
    let mut seen = HashSet::new();
    loop {
        let rows = log.page(scope, &window, ROWS).await?;
        let is_last = rows.len() < ROWS;
        if let Some(Found { row, .. }) = rows.last() {
            window.go_on_after((row.timestamp, row.id.cast_signed()));
        }
        // Newest first: of rows that differ only in their numbers, the first that is met has the last values.
        for Found { row, .. } in rows {
            if seen.insert(keys::skeleton(&row.payload)) {
                values.see(row);
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The newest chunks first, until every key that the device has in chunks is found, and nothing newer can come.
async fn of_chunks(
    snapshot: &Snapshot<'_>,
    device: i64,
    scope: &Scope,
    window: &Window,
    values: &mut Values,
) -> Result<(), Error> {
    let chunks = snapshot.chunks();
    let keys = keys::of_device(snapshot.transaction(), device).await?;
    let mut last: Option<Outline> = None;
    let mut wanted = 1;
    loop {
        let outlines = chunks.outlines(scope, window, last.as_ref(), wanted).await?;
        for outline in &outlines {
            if values.have_all(&keys, outline.last_at) {
                return Ok(());
            }
            let Some((_, content)) = Chunks::contents(snapshot.transaction(), &[outline.key]).await?.pop() else {
                continue;
            };
            match last_rows(&content) {
                Ok(rows) => rows.into_iter().for_each(|row| values.see(row)),
                Err(damaged) => chunks.report(outline, &damaged).await,
            }
        }
        match outlines.last() {
            Some(outline) if outlines.len() == wanted => last = Some(*outline),
            _ => return Ok(()),
        }
        wanted = CHUNKS.min(2 * wanted);
    }
}

/// Rows of a chunk that have the last values of all its keys.
fn last_rows(content: &[u8]) -> Result<Vec<OwnedRow>, Damaged> {
    let chunk = Chunk::open(content)?;
    let mut found = Vec::new();
    for row in chunk.last_of_each_shape()? {
        found.extend(chunk.rows(row..row + 1)?);
    }
    Ok(found)
}
