//! A walk through a tenant's history, device after device.

use pocket_domain::{ScanPlace, Telemetry, TelemetryCursor, TelemetryPart, TelemetryScan, TenantId};

use crate::state::State;

fn place(row: &Telemetry) -> TelemetryCursor {
    TelemetryCursor { timestamp: row.timestamp, id: row.id }
}

fn meets(row: &Telemetry, scan: &TelemetryScan) -> bool {
    let is_behind = scan.after.is_none_or(|after| match after.row {
        Some(last) => (row.device_id, place(row)) > (after.device_id, last),
        None => row.device_id > after.device_id,
    });
    is_behind
        && scan.device_id.is_none_or(|device| row.device_id == device)
        && scan.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
        && scan.from.is_none_or(|from| row.timestamp >= from)
        && scan.to.is_none_or(|to| row.timestamp < to)
}

impl State {
    /// Looks at all rows for each part, as there is no order by device here.
    pub(crate) fn scan(&self, tenant: TenantId, scan: &TelemetryScan) -> TelemetryPart {
        let history = self.telemetry.get(&tenant).into_iter().flat_map(|history| history.values());
        let mut rows: Vec<&Telemetry> = history.filter(|row| meets(row, scan)).collect();
        rows.sort_unstable_by_key(|row| (row.device_id, place(row)));
        let is_last = rows.len() <= TelemetryScan::MOST_ROWS;
        rows.truncate(TelemetryScan::MOST_ROWS);
        let next = rows.last().filter(|_| !is_last);
        let next = next.map(|row| ScanPlace { device_id: row.device_id, row: Some(place(row)) });
        TelemetryPart { rows: rows.into_iter().cloned().collect(), next }
    }
}
