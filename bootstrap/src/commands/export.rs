//! `export`: the telemetry of a tenant as one JSON object a line, in the form in which REST answers it.
//!
//! It reads a page at a time through the same port as REST, so its memory does not grow with the history, and a platform
//! that runs on the database goes on storing meanwhile.

use pocket_domain::{DeviceId, Invalid, SortOrder, Telemetry, TelemetryQuery, TenantName, TopicFilter};
use pocket_ports::{Storage, StorageError};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::ExportOptions;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::{Failure, adapters, console};

const PAGE: u64 = 1_000;

/// Writes the telemetry that the options ask for to stdout, oldest first.
///
/// # Errors
/// Options that are not allowed, a tenant or device that does not exist, and those of the database.
pub(super) async fn run(settings: &Settings, options: &ExportOptions) -> Result<(), Failure> {
    let tenant = TenantName::parse(&options.tenant).map_err(|error| wrong("--tenant", &error))?;
    let query = query(options)?;
    DataDir::open(&settings.data_dir)?;
    let storage = adapters::open_storage(&settings.database).await?;
    let written = write(&storage, &tenant, query).await;
    storage.health.close().await;
    written
}

fn query(options: &ExportOptions) -> Result<TelemetryQuery, Failure> {
    let parse = |option, text: &Option<String>| match text {
        Some(text) => text.parse().map(Some).map_err(|error| wrong(option, &error)),
        None => Ok(None),
    };
    let device = options.device.as_ref().map(|id| id.parse()).transpose();
    let topic = options.topic.as_ref().map(|filter| TopicFilter::parse(filter)).transpose();
    let query = TelemetryQuery {
        device_id: device.map_err(|error| wrong("--device", &error))?,
        topic: topic.map_err(|error| wrong("--topic", &error))?,
        from: parse("--from", &options.from)?,
        to: parse("--to", &options.to)?,
        order: SortOrder::Ascending,
        ..TelemetryQuery::default()
    };
    query.check().map_err(|error| wrong("--from", &error))?;
    query.with_limit(Some(PAGE)).map_err(|error| wrong("limit", &error))
}

fn wrong(option: &str, error: &Invalid) -> Failure {
    Failure::Usage(format!("{option}: {}", error.message))
}

async fn write(storage: &Storage, tenant: &TenantName, mut query: TelemetryQuery) -> Result<(), Failure> {
    let unreadable = |error: StorageError| Failure::while_doing("cannot read the database", error);
    let found = storage.tenants.find_by_name(tenant).await.map_err(unreadable)?;
    let id = found.ok_or_else(|| Failure::Other(format!("there is no tenant {tenant}")))?.id;
    if let Some(device) = query.device_id
        && storage.devices.get(id, device).await.map_err(unreadable)?.is_none()
    {
        return Err(no_device(device, tenant));
    }
    loop {
        let page = storage.telemetry.range(id, &query).await.map_err(unreadable)?;
        let lines: String = page.rows.iter().filter_map(readable).collect();
        if !console::print(lines)? {
            return Ok(());
        }
        match page.next {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(()),
        }
    }
}

fn no_device(device: DeviceId, tenant: &TenantName) -> Failure {
    Failure::Other(format!("there is no device {device} in the tenant {tenant}"))
}

/// A row as REST answers it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    id: String,
    device_id: String,
    topic: &'a str,
    payload: &'a RawValue,
    timestamp: String,
    received_at: String,
}

/// A line, unless the payload is damaged, which is told and leaves the others.
fn readable(row: &Telemetry) -> Option<String> {
    let damaged = |error: &serde_json::Error| {
        let (device, time) = (row.device_id, row.timestamp);
        tracing::error!(%device, %time, id = %row.id, %error, "a stored payload is not JSON; the row is left out");
    };
    line(row).inspect_err(damaged).ok()
}

fn line(row: &Telemetry) -> serde_json::Result<String> {
    let row = Row {
        id: row.id.to_string(),
        device_id: row.device_id.to_string(),
        topic: row.topic.as_str(),
        payload: serde_json::from_str(row.payload.as_str())?,
        timestamp: row.timestamp.to_string(),
        received_at: row.received_at.to_string(),
    };
    Ok(serde_json::to_string(&row)? + "\n")
}

#[cfg(test)]
mod tests {
    use pocket_domain::{Payload, TelemetryId, Timestamp, TopicName};

    use super::*;

    fn options() -> ExportOptions {
        ExportOptions { tenant: "default".into(), device: None, topic: None, from: None, to: None }
    }

    #[test]
    fn a_line_keeps_the_payload_as_it_was_published() {
        let at = Timestamp::from_millis(1_000).unwrap();
        let row = Telemetry {
            id: TelemetryId::from_key(10),
            device_id: "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f".parse().unwrap(),
            topic: TopicName::parse("a/\"b\"").unwrap(),
            payload: Payload::from_stored("{\"b\": 1.50,\"a\":\"\\u0000\"}"),
            timestamp: at,
            received_at: at,
        };
        assert_eq!(
            line(&row).unwrap(),
            concat!(
                r#"{"id":"00000000000a","deviceId":"0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f","topic":"a/\"b\"","#,
                r#""payload":{"b": 1.50,"a":"\u0000"},"timestamp":"1970-01-01T00:00:01.000Z","#,
                r#""receivedAt":"1970-01-01T00:00:01.000Z"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn wrong_options_are_named() {
        for (options, option) in [
            (ExportOptions { device: Some("boiler".into()), ..options() }, "--device: "),
            (ExportOptions { topic: Some("a/#/b".into()), ..options() }, "--topic: "),
            (ExportOptions { from: Some("yesterday".into()), ..options() }, "--from: "),
            (ExportOptions { to: Some("-1".into()), ..options() }, "--to: "),
            (ExportOptions { from: Some("2".into()), to: Some("1".into()), ..options() }, "--from: "),
        ] {
            let error = query(&options).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(option), "{error}");
        }
        assert_eq!(query(&options()).unwrap().limit(), 1_000);
    }
}
