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
/// Bytes of payloads after which a part ends.
const BYTES: usize = 2_000_000;

/// The next part.
pub(super) async fn scan(db: &Database, tenant: TenantId, scan: &TelemetryScan) -> Result<TelemetryPart, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let transaction = snapshot.transaction();
    let Some(tenant) = tenants::key(transaction, tenant).await? else { return Ok(TelemetryPart::default()) };
    let Some(topics) = wanted_topics(transaction, tenant, scan.topic.as_ref()).await? else {
        return Ok(TelemetryPart::default());
    };
    let devices = devices::behind(transaction, tenant, scan.device_id, scan.after, DEVICES).await?;
    let mut next = devices.last().filter(|_| devices.len() as u64 == DEVICES).map(|(_, id)| all_of(*id));
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for (key, id) in devices {
        let window = Window::of(&of_device(scan, id), topics.clone());
        let room = Room { rows: TelemetryScan::MOST_ROWS - rows.len(), bytes: BYTES - bytes };
        let (found, behind) =
            merge::part(&snapshot.log(), &snapshot.chunks(), &Scope::Device(key), &window, room).await?;
        bytes += found.iter().map(|found| found.row.payload.len()).sum::<usize>();
        rows.extend(found);
        if let Some((at, row)) = behind {
            let row = TelemetryCursor { timestamp: time(at)?, id: TelemetryId::from_key(row.unsigned_abs()) };
            next = Some(ScanPlace { device_id: id, row: Some(row) });
            break;
        }
        if rows.len() >= TelemetryScan::MOST_ROWS || bytes >= BYTES {
            next = Some(all_of(id));
            break;
        }
    }
    Ok(TelemetryPart { rows: names::named(transaction, &db.topic_names, rows).await?, next })
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
