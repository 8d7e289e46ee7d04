//! Cases of [`TelemetryStore::usage`](crate::TelemetryStore::usage).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{Usage, UsagePart};

use super::fixture::{at, device, message, new_tenant_id, tenant};
use super::reading::{TOPIC, append, append_payloads};
use crate::Storage;

pub async fn usage_is_of_all_messages_of_the_tenant(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let elsewhere = device(storage, other, "boiler").await;
    append(storage, (100..200).map(|second| message(acme, boiler, TOPIC, second)).collect()).await;
    append(storage, vec![message(acme, pump, TOPIC, 500), message(acme, pump, TOPIC, 20)]).await;
    append(storage, vec![message(other, elsewhere, TOPIC, 9_000)]).await;
    let total = storage.telemetry.usage(acme).await.unwrap().total();
    assert_eq!((total.rows, total.oldest, total.newest), (102, Some(at(20)), Some(at(500))));
    assert!(total.bytes > 0);
    assert_eq!(storage.telemetry.usage(other).await.unwrap().total().rows, 1);
}

pub async fn the_log_takes_its_payloads_and_a_number_of_bytes_each(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    // Both payloads are of six bytes.
    append_payloads(storage, acme, boiler, &[(1, r#""abcd""#), (2, r#""äö""#)]).await;
    let Usage { log, chunks, .. } = storage.telemetry.usage(acme).await.unwrap();
    assert_eq!(log.rows + chunks.rows, 2);
    assert_eq!(log.bytes, log.rows * (6 + UsagePart::LOG_ROW_BYTES));
    for part in [log, chunks] {
        assert_eq!((part.rows > 0, part.rows > 0), (part.bytes > 0, part.oldest.is_some() && part.newest.is_some()));
    }
}

pub async fn nothing_is_used_where_nothing_is(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    assert_eq!(storage.telemetry.usage(acme).await, Ok(Usage::default()));
    append(storage, vec![message(acme, boiler, TOPIC, 1)]).await;
    assert_eq!(storage.telemetry.usage(new_tenant_id()).await, Ok(Usage::default()));
    storage.devices.delete(acme, boiler).await.unwrap();
    assert_eq!(storage.telemetry.usage(acme).await, Ok(Usage::default()));
    storage.tenants.delete(acme).await.unwrap();
    assert_eq!(storage.telemetry.usage(acme).await, Ok(Usage::default()));
}
