//! A walk through a tenant's history, device after device.
//!
//! A device's chunks follow one another but for late rows, so each is opened about once. Each part is a transaction of its own:
//! whoever takes long between two parts holds nothing.

use pocket_domain::{DeviceId, TenantId};
use pocket_domain::{ScanPlace, SortOrder, TelemetryCursor, TelemetryId, TelemetryPart, TelemetryQuery, TelemetryScan};

use super::merge::{self, Room};
use super::snapshot::Snapshot;
use super::window::{Scope, Window};
use super::{names, wanted_topics};
use crate::database::Database;
use crate::entity::time;
use crate::error::Error;
use crate::{devices, tenants};

/// Devices that one part looks at.
const DEVICES: u64 = 256;
/// What one part takes.
const ROOM: Room = Room { rows: TelemetryScan::MOST_ROWS, bytes: 2_000_000 };

/// The next part.
pub(super) async fn scan(db: &Database, tenant: TenantId, scan: &TelemetryScan) -> Result<TelemetryPart, Error> {
    part(db, tenant, scan, ROOM).await
}

async fn part(db: &Database, tenant: TenantId, scan: &TelemetryScan, all: Room) -> Result<TelemetryPart, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let transaction = snapshot.transaction();
    let id_of_tenant = tenant;
    let Some(tenant) = tenants::key(transaction, tenant).await? else { return Ok(TelemetryPart::default()) };
    let Some(topics) = wanted_topics(transaction, tenant, scan.topic.as_ref()).await? else {
        return Ok(TelemetryPart::default());
    };
    let devices = devices::behind(transaction, tenant, scan.device_id, scan.after, DEVICES).await?;
    let mut next = devices.last().filter(|_| devices.len() as u64 == DEVICES).map(|(_, id)| all_of(*id));
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for (key, id) in devices {
        let window = Window::of(&of_device(scan, id), topics.clone());
        let room = Room { rows: all.rows - rows.len(), bytes: all.bytes - bytes };
        let (found, behind) =
            merge::part(&snapshot.log(), &snapshot.chunks(id_of_tenant), &Scope::Device { tenant, key }, &window, room)
                .await?;
        bytes += found.iter().map(|found| found.row.payload.len()).sum::<usize>();
        rows.extend(found);
        if let Some((at, row)) = behind {
            let row = TelemetryCursor { timestamp: time(at)?, id: TelemetryId::from_key(row.unsigned_abs()) };
            next = Some(ScanPlace { device_id: id, row: Some(row) });
            break;
        }
        if rows.len() >= all.rows || bytes >= all.bytes {
            next = Some(all_of(id));
            break;
        }
    }
    Ok(TelemetryPart { rows: names::named(transaction, &db.topic_names, tenant, rows).await?, next })
}

fn all_of(device_id: DeviceId) -> ScanPlace {
    ScanPlace { device_id, row: None }
}

/// The scan's conditions, and its place if it stands within this device.
fn of_device(scan: &TelemetryScan, device: DeviceId) -> TelemetryQuery {
    TelemetryQuery {
        from: scan.from,
        to: scan.to,
        order: SortOrder::Ascending,
        cursor: scan.after.filter(|after| after.device_id == device).and_then(|after| after.row),
        ..TelemetryQuery::default()
    }
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, reason = "a test may fail at once")]
mod tests {
    use pocket_domain::Telemetry;

    use super::*;
    use crate::keeper::Keeper;
    use crate::options::Sealing;
    use crate::sample::Sample;

    /// Chunks of 60 and 30 rows, a chunk and the log, the log alone, a chunk alone.
    async fn sample() -> Sample {
        let sample = Sample::new().await;
        let devices = [sample.device, sample.register(2).await, sample.register(3).await, sample.register(4).await];
        for counts in [[60, 0, 0, 70], [30, 40, 0, 0]] {
            for (device, count) in devices.into_iter().zip(counts) {
                sample.append(device, count).await;
            }
            let mut keeper = Keeper::new(Sealing { rows: 1, per_device: 0, ..Sealing::default() });
            while keeper.step(&sample.database).await.unwrap() {}
        }
        sample.append(devices[1], 25).await;
        sample.append(devices[2], 50).await;
        sample
    }

    #[tokio::test]
    async fn a_walk_gives_each_row_once_wherever_its_parts_end() {
        let sample = sample().await;
        let rooms = [1, 2, 3, 7, 29, 30, 31, 59, 60, 61, 89, 90, 91, 150, 1_000];
        let by_rows = rooms.map(|rows| Room { rows, ..ROOM });
        let by_bytes = rooms.map(|bytes| Room { bytes, ..ROOM });
        for room in [by_rows, by_bytes].concat() {
            let (mut scan, mut rows) = (TelemetryScan::default(), Vec::new());
            loop {
                let part = part(&sample.database, sample.tenant, &scan, room).await.unwrap();
                assert!(part.rows.len() <= room.rows);
                rows.extend(part.rows);
                match part.next {
                    Some(next) => scan.after = Some(next),
                    None => break,
                }
            }
            assert_eq!(rows.len(), 275, "{room:?}");
            let is_before =
                |a: &Telemetry, b: &Telemetry| (a.device_id, a.timestamp, a.id) < (b.device_id, b.timestamp, b.id);
            assert!(rows.is_sorted_by(is_before), "{room:?}");
        }
    }
}
