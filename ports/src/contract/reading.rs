//! How the cases write messages and read them back.

use pocket_domain::{
    DeviceId, NewTelemetry, Payload, SortOrder, Telemetry, TelemetryId, TelemetryQuery, TenantId, TopicFilter,
};

use super::fixture::{at, message};
use crate::Storage;

pub(super) const TOPIC: &str = "plant/boiler";

pub(super) fn oldest_first() -> TelemetryQuery {
    in_order(SortOrder::Ascending, TelemetryQuery::default())
}

/// The query with one thing changed.
pub(super) fn with(mut query: TelemetryQuery, change: impl FnOnce(&mut TelemetryQuery)) -> TelemetryQuery {
    change(&mut query);
    query
}

pub(super) fn on_topic(filter: &str) -> TelemetryQuery {
    with(oldest_first(), |query| query.topic = Some(TopicFilter::parse(filter).unwrap()))
}

pub(super) fn of_device(device: DeviceId, query: TelemetryQuery) -> TelemetryQuery {
    with(query, |query| query.device_id = Some(device))
}

pub(super) fn in_order(order: SortOrder, query: TelemetryQuery) -> TelemetryQuery {
    with(query, |query| query.order = order)
}

pub(super) async fn append(storage: &Storage, messages: Vec<NewTelemetry>) -> Vec<Option<TelemetryId>> {
    let sent = messages.len();
    let ids = storage.telemetry.append(messages.into()).await.unwrap();
    assert_eq!(ids.len(), sent);
    ids
}

/// Appends one message for each second.
pub(super) async fn append_at(
    storage: &Storage,
    tenant: TenantId,
    device: DeviceId,
    seconds: &[u64],
) -> Vec<TelemetryId> {
    let messages = seconds.iter().map(|second| message(tenant, device, TOPIC, *second)).collect();
    append(storage, messages).await.into_iter().map(Option::unwrap).collect()
}

/// Appends one message for each second and payload.
pub(super) async fn append_payloads(storage: &Storage, tenant: TenantId, device: DeviceId, payloads: &[(u64, &str)]) {
    let message = |(second, payload): &(u64, &str)| NewTelemetry {
        payload: Payload::from_stored(*payload),
        ..message(tenant, device, TOPIC, *second)
    };
    append(storage, payloads.iter().map(message).collect()).await;
}

pub(super) async fn rows(storage: &Storage, tenant: TenantId, query: &TelemetryQuery) -> Vec<Telemetry> {
    storage.telemetry.range(tenant, query).await.unwrap().rows
}

/// The rows' times, in seconds after the beginning.
pub(super) async fn seconds(storage: &Storage, tenant: TenantId, query: &TelemetryQuery) -> Vec<u64> {
    rows(storage, tenant, query).await.iter().map(|row| row.timestamp.since(at(0)).as_secs()).collect()
}

/// Every row of the query, read in pages of `limit`.
pub(super) async fn paged(storage: &Storage, tenant: TenantId, query: &TelemetryQuery, limit: u64) -> Vec<Telemetry> {
    let mut query = query.clone().with_limit(Some(limit)).unwrap();
    let mut read = Vec::new();
    loop {
        let page = storage.telemetry.range(tenant, &query).await.unwrap();
        assert!(page.rows.len() as u64 <= limit);
        read.extend(page.rows);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return read,
        }
    }
}
