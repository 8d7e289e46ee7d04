//! Cases of [`TelemetryStore::import`](crate::TelemetryStore::import).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use std::sync::Arc;

use pocket_domain::{LatestQuery, NewTelemetry, Payload, TelemetryId, TelemetryScan, TenantId, Timestamp, TopicName};

use super::fixture::{at, device, message, new_device_id, tenant};
use super::race::both;
use super::reading::{TOPIC, append, append_at, oldest_first, on_topic, paged, rows, seconds};
use crate::{Import, Imported, Storage};

/// What became of the messages: the ids of those that were stored.
async fn import(storage: &Storage, messages: Vec<NewTelemetry>) -> Vec<Option<TelemetryId>> {
    let sent = messages.len();
    let Import::Done(imported) = storage.telemetry.import(messages.into()).await.unwrap() else {
        panic!("all devices are there")
    };
    assert_eq!(imported.len(), sent);
    let id = |imported: Imported| match imported {
        Imported::Stored(id) => Some(id),
        Imported::Present => None,
    };
    imported.into_iter().map(id).collect()
}

async fn how_many(storage: &Storage, messages: &[NewTelemetry]) -> usize {
    import(storage, messages.to_vec()).await.into_iter().flatten().count()
}

async fn all(storage: &Storage, tenant: TenantId) -> usize {
    paged(storage, tenant, &oldest_first(), 1_000).await.len()
}

pub async fn messages_that_are_not_there_are_stored(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let messages: Vec<NewTelemetry> = (0..3).map(|second| message(acme, boiler, TOPIC, second)).collect();
    let ids = import(storage, messages.clone()).await;
    let read = rows(storage, acme, &oldest_first()).await;
    assert_eq!(read.iter().map(|row| Some(row.id)).collect::<Vec<_>>(), ids);
    for (row, message) in read.iter().zip(&messages) {
        assert_eq!((row.device_id, &row.topic, &row.payload), (boiler, &message.topic, &message.payload));
        assert_eq!((row.timestamp, row.received_at), (message.timestamp, message.received_at));
    }
}

pub async fn an_import_that_is_repeated_stores_nothing(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let messages: Vec<NewTelemetry> = (0..50).map(|second| message(acme, boiler, TOPIC, second)).collect();
    assert_eq!(how_many(storage, &messages[..30]).await, 30);
    for _ in 0..20 {
        assert_eq!(how_many(storage, &messages[..30]).await, 0);
    }
    // Another time of arrival does not make it another message.
    let later: Vec<NewTelemetry> =
        messages.iter().map(|message| NewTelemetry { received_at: at(9_999), ..message.clone() }).collect();
    assert_eq!(how_many(storage, &later).await, 20);
    assert_eq!(how_many(storage, &messages).await, 0);
    assert_eq!(all(storage, acme).await, 50);
}

pub async fn messages_that_differ_in_anything_are_stored(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let one = message(acme, boiler, TOPIC, 1);
    let others = vec![
        NewTelemetry { device_id: pump, ..one.clone() },
        NewTelemetry { topic: TopicName::parse("plant/other").unwrap(), ..one.clone() },
        NewTelemetry { timestamp: at(2), ..one.clone() },
        NewTelemetry { payload: Payload::from_stored("{\"s\": 1}"), ..one.clone() },
    ];
    assert_eq!(how_many(storage, &[one]).await, 1);
    assert_eq!(how_many(storage, &others).await, 4);
    assert_eq!(how_many(storage, &others).await, 0);
    assert_eq!(all(storage, acme).await, 5);
}

pub async fn a_message_that_is_twice_in_an_import_is_stored_once(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let of = |second| message(acme, boiler, TOPIC, second);
    let ids = import(storage, vec![of(1), of(2), of(1), of(3), of(2)]).await;
    assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true, false]);
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [1, 2, 3]);
}

pub async fn what_was_appended_is_found(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_at(storage, acme, boiler, &[5, 1, 3, 3]).await;
    let messages: Vec<NewTelemetry> = (0..6).map(|second| message(acme, boiler, TOPIC, second)).collect();
    let ids = import(storage, messages).await;
    assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, false, true, false]);
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [0, 1, 2, 3, 3, 4, 5]);
}

pub async fn payloads_are_compared_to_the_letter(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let payloads = [
        "1",
        "1.0",
        "1e0",
        "-0",
        "0",
        "1e300",
        "12345678901234567890",
        "12345678901234567891",
        "\"\\u0000\"",
        "\"a\\nb\"",
        "{\"a\":1,\"b\":2}",
        "{\"b\":2,\"a\":1}",
        "{\"a\" :1,\"b\":2}",
        "{\"raw\":\"21.5 C\\r\\n\"}",
        "\"é\"",
        "\"\\u00e9\"",
        "[1,2]",
        "[1, 2]",
        "null",
        "{}",
    ];
    let of = |payload: &str| NewTelemetry { payload: Payload::from_stored(payload), ..message(acme, boiler, TOPIC, 1) };
    let messages: Vec<NewTelemetry> = payloads.iter().map(|payload| of(payload)).collect();
    assert_eq!(how_many(storage, &messages).await, payloads.len());
    for _ in 0..5 {
        assert_eq!(how_many(storage, &messages).await, 0);
    }
    let read = rows(storage, acme, &oldest_first()).await;
    assert_eq!(read.iter().map(|row| row.payload.as_str()).collect::<Vec<_>>(), payloads);
}

pub async fn imported_messages_are_in_their_place(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_at(storage, acme, boiler, &[100, 300]).await;
    let early = NewTelemetry { timestamp: Timestamp::MIN, ..message(acme, boiler, TOPIC, 0) };
    import(storage, vec![message(acme, boiler, TOPIC, 200), message(acme, boiler, TOPIC, 50), early]).await;
    let read = rows(storage, acme, &oldest_first()).await;
    let expected = [Timestamp::MIN, at(50), at(100), at(200), at(300)];
    assert_eq!(read.iter().map(|row| row.timestamp).collect::<Vec<_>>(), expected);
    let walked = storage.telemetry.scan(acme, &TelemetryScan::default()).await.unwrap().rows;
    assert_eq!(walked, read);
    let latest = storage.telemetry.latest(acme, boiler, &LatestQuery::default()).await.unwrap().values;
    assert_eq!(latest.iter().map(|value| value.timestamp).collect::<Vec<_>>(), [at(300)]);
    assert_eq!(storage.telemetry.usage(acme).await.unwrap().total().rows, 5);
}

pub async fn an_import_with_an_unknown_device_stores_nothing(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, gone) = (device(storage, acme, "boiler").await, device(storage, acme, "gone").await);
    let of = |device, second| message(acme, device, TOPIC, second);
    let messages = vec![of(boiler, 1), of(new_device_id(), 2), of(boiler, 3)];
    assert_eq!(storage.telemetry.import(messages.into()).await, Ok(Import::DeviceGone(1)));
    import(storage, vec![of(gone, 1)]).await;
    storage.devices.delete(acme, gone).await.unwrap();
    let messages = vec![of(boiler, 1), of(boiler, 2), of(gone, 1)];
    assert_eq!(storage.telemetry.import(messages.into()).await, Ok(Import::DeviceGone(2)));
    assert_eq!(all(storage, acme).await, 0);
}

pub async fn an_import_for_the_device_of_another_tenant_stores_nothing(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let boiler = device(storage, acme, "boiler").await;
    let messages = vec![message(other, boiler, TOPIC, 1)];
    assert_eq!(storage.telemetry.import(messages.into()).await, Ok(Import::DeviceGone(0)));
    assert_eq!(all(storage, acme).await + all(storage, other).await, 0);
}

pub async fn of_two_imports_at_once_each_message_is_stored_once(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    for round in 0..5 {
        let batch = |from: u64| -> Arc<[NewTelemetry]> {
            let seconds = (from..from + 200).map(|second| round * 1_000 + second);
            seconds.map(|second| message(acme, boiler, &format!("x/{}", second % 7), second)).collect()
        };
        let (first, second) = both(storage.telemetry.import(batch(0)), storage.telemetry.import(batch(100))).await;
        let stored = |import| match import {
            Ok(Import::Done(all)) => all.iter().filter(|one| matches!(one, Imported::Stored(_))).count(),
            other => panic!("{other:?}"),
        };
        assert_eq!(stored(first) + stored(second), 300);
    }
    assert_eq!(paged(storage, acme, &on_topic("x/+"), 1_000).await.len(), 1_500);
}

pub async fn thousands_of_messages_of_many_devices_are_imported_once(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut devices = Vec::new();
    for n in 0..60 {
        devices.push(device(storage, acme, &format!("d{n}")).await);
    }
    let of = |n: u64| message(acme, devices[(n % 60) as usize], TOPIC, n / 60);
    let messages: Vec<NewTelemetry> = (0..9_000).map(of).collect();
    // Half of it was appended in the ordinary way.
    append(storage, messages.iter().step_by(2).cloned().collect()).await;
    let mut stored = 0;
    for messages in messages.chunks(1_000) {
        stored += how_many(storage, messages).await;
    }
    assert_eq!(stored, 4_500);
    assert_eq!(how_many(storage, &messages).await, 0);
    assert_eq!(all(storage, acme).await, 9_000);
}

pub async fn an_empty_import_is_done(storage: &Storage) {
    assert_eq!(storage.telemetry.import(Arc::new([])).await, Ok(Import::Done(Vec::new())));
}
