//! The history of messages: an ordered map per tenant.

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    AggregateQuery, DeviceId, LastSeen, LatestQuery, LatestValues, NewTelemetry, NodeName, Series, SortOrder,
    Telemetry, TelemetryCursor, TelemetryId, TelemetryPage, TelemetryPart, TelemetryQuery, TelemetryScan, TenantId,
    TimeMark, Timestamp, Usage,
};
use pocket_ports::{Expired, Held, Import, Pruned, PrunedTenant, StorageError, TelemetryStore, WriteBatch, WriteStore};

use crate::Memory;
use crate::state::State;

impl State {
    /// The messages of a device, in the order of time, then id.
    pub(crate) fn messages(&self, tenant: TenantId, device: DeviceId) -> impl Iterator<Item = &Telemetry> {
        let history = self.telemetry.get(&tenant).into_iter().flat_map(|history| history.values());
        history.filter(move |row| row.device_id == device)
    }

    pub(crate) fn append(&mut self, message: &NewTelemetry) -> Option<TelemetryId> {
        self.device(message.tenant_id, message.device_id)?;
        self.last_telemetry_key += 1;
        let id = TelemetryId::from_key(self.last_telemetry_key);
        let place = TelemetryCursor { timestamp: message.timestamp, id };
        let row = Telemetry {
            id,
            device_id: message.device_id,
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            timestamp: message.timestamp,
            received_at: message.received_at,
        };
        self.telemetry.entry(message.tenant_id).or_default().insert(place, row);
        Some(id)
    }
}

/// The places that the query's times and cursor leave, as bounds of the map; `None` when there are none.
fn places(query: &TelemetryQuery) -> Option<(Bound<TelemetryCursor>, Bound<TelemetryCursor>)> {
    // Keys begin at 1, so the place before the first row of a moment is that of key 0.
    let before = |timestamp| TelemetryCursor { timestamp, id: TelemetryId::from_key(0) };
    let mut first = query.from.map(before);
    let mut end = query.to.map(before);
    match query.order {
        SortOrder::Ascending => first = first.max(query.cursor),
        SortOrder::Descending => end = [end, query.cursor].into_iter().flatten().min(),
    }
    if matches!((first, end), (Some(first), Some(end)) if first >= end) {
        return None;
    }
    Some((first.map_or(Bound::Unbounded, Bound::Excluded), end.map_or(Bound::Unbounded, Bound::Excluded)))
}

fn meets(row: &Telemetry, query: &TelemetryQuery) -> bool {
    query.device_id.is_none_or(|device| row.device_id == device)
        && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
}

#[async_trait]
impl TelemetryStore for Memory {
    async fn append(&self, messages: Arc<[NewTelemetry]>) -> Result<Vec<Option<TelemetryId>>, StorageError> {
        Ok(self.commit(None, WriteBatch::of_messages(messages)).await?.ids)
    }

    async fn import(&self, messages: Arc<[NewTelemetry]>) -> Result<Import, StorageError> {
        Ok(self.state().import(&messages))
    }

    async fn set_aside(&self, message: &NewTelemetry, reason: &str, now: Timestamp) -> Result<(), StorageError> {
        self.state().set_aside(message, reason, now);
        Ok(())
    }

    async fn range(&self, tenant: TenantId, query: &TelemetryQuery) -> Result<TelemetryPage, StorageError> {
        let state = self.state();
        let (Some(history), Some(places)) = (state.telemetry.get(&tenant), places(query)) else {
            return Ok(TelemetryPage { rows: Vec::new(), next: None });
        };
        let limit = query.limit();
        let rows = history.range(places).map(|(_, row)| row);
        let wanted = |row: &&Telemetry| meets(row, query);
        let rows = match query.order {
            SortOrder::Ascending => rows.filter(wanted).take(limit as usize + 1).cloned().collect(),
            SortOrder::Descending => rows.rev().filter(wanted).take(limit as usize + 1).cloned().collect(),
        };
        Ok(TelemetryPage::from_rows(rows, limit))
    }

    async fn scan(&self, tenant: TenantId, scan: &TelemetryScan) -> Result<TelemetryPart, StorageError> {
        Ok(self.state().scan(tenant, scan))
    }

    async fn aggregate(&self, tenant: TenantId, query: &AggregateQuery) -> Result<Vec<Series>, StorageError> {
        self.state().aggregate(tenant, query)
    }

    async fn latest(
        &self,
        tenant: TenantId,
        device: DeviceId,
        query: &LatestQuery,
    ) -> Result<LatestValues, StorageError> {
        Ok(self.state().latest(tenant, device, query))
    }

    async fn usage(&self, tenant: TenantId) -> Result<Usage, StorageError> {
        Ok(self.state().usage(tenant))
    }

    async fn prune_within(&self, now: Timestamp, held: &Held) -> Result<Pruned, StorageError> {
        Ok(self.state().prune(now, held))
    }

    async fn expired(&self, tenant: TenantId, before: Timestamp) -> Result<Expired, StorageError> {
        Ok(self.state().expired(tenant, before))
    }

    async fn pruned_tenants(&self) -> Result<Vec<PrunedTenant>, StorageError> {
        Ok(self.state().pruned_tenants())
    }

    async fn keep_pruned(&self, tenant: TenantId, to: Timestamp) -> Result<(), StorageError> {
        let mut state = self.state();
        if state.tenants.contains_key(&tenant) {
            state.pruned_to.insert(tenant, to);
        }
        Ok(())
    }

    async fn last_seen(&self, node: &NodeName) -> Result<LastSeen, StorageError> {
        Ok(LastSeen { mark: self.state().time_marks.get(node).copied(), newest: None })
    }

    async fn keep_time(&self, node: &NodeName, mark: TimeMark) -> Result<(), StorageError> {
        self.state().time_marks.insert(node.clone(), mark);
        Ok(())
    }
}
