//! Cases of [`TelemetryStore`](crate::TelemetryStore): writing.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use super::fixture::{a_device, at, device, message, new_device_id, new_tenant_id, new_token, tenant};
use super::race::both;
use super::reading::{TOPIC, append, append_at, of_device, oldest_first, on_topic, paged, rows, seconds};
use crate::Storage;
use pocket_domain::{NewTelemetry, Payload, Telemetry, Timestamp, TopicName};
use std::sync::Arc;

pub async fn messages_come_back_as_they_were(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let payloads = [
        "{\"t\":21.50}".to_owned(),
        " { \"b\" : 1 , \"a\" : [ 1e2, -0 ] } ".to_owned(),
        "\"Grüße, 世界 🌡 \\u0000 \\\" ' \\\\\"".to_owned(),
        "12345678901234567890".to_owned(),
        "null".to_owned(),
        format!("\"{}\"", "ä".repeat(100_000)),
    ];
    let sent: Vec<NewTelemetry> = (0..)
        .zip(&payloads)
        .map(|(second, payload)| NewTelemetry {
            payload: Payload::from_stored(payload.as_str()),
            topic: TopicName::parse(&format!("plant/{second}/Grüße 'x' %")).unwrap(),
            ..message(acme, boiler, TOPIC, second)
        })
        .chain([
            NewTelemetry { timestamp: Timestamp::MIN, ..message(acme, boiler, &"t".repeat(1_024), 1) },
            NewTelemetry { timestamp: Timestamp::MAX, received_at: Timestamp::MAX, ..message(acme, boiler, "/", 1) },
        ])
        .collect();
    let ids = append(storage, sent.clone()).await;
    let mut expected: Vec<Telemetry> = sent
        .into_iter()
        .zip(ids)
        .map(|(message, id)| Telemetry {
            id: id.unwrap(),
            device_id: boiler,
            topic: message.topic,
            payload: message.payload,
            timestamp: message.timestamp,
            received_at: message.received_at,
        })
        .collect();
    expected.sort_by_key(|row| (row.timestamp, row.id));
    assert_eq!(rows(storage, acme, &oldest_first()).await, expected);
}

pub async fn an_empty_batch_is_stored(storage: &Storage) {
    assert_eq!(append(storage, vec![]).await, vec![]);
}

pub async fn ids_grow_with_the_order_of_messages(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let mut all = Vec::new();
    // One to a few hundred at once, so that every way to cut a batch into statements occurs.
    for size in [1, 2, 7, 8, 9, 63, 64, 65, 600] {
        let backwards: Vec<u64> = (0..size).rev().collect();
        all.extend(append_at(storage, acme, boiler, &backwards).await);
    }
    assert!(all.is_sorted_by(|earlier, later| earlier < later));
    let by_id = |mut rows: Vec<Telemetry>| {
        rows.sort_by_key(|row| row.id);
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(by_id(paged(storage, acme, &oldest_first(), 1_000).await), all);
}

pub async fn a_message_of_an_unknown_device_has_no_id_and_hinders_no_other(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let messages = vec![
        message(acme, new_device_id(), TOPIC, 1),
        message(acme, boiler, TOPIC, 2),
        message(new_tenant_id(), new_device_id(), TOPIC, 3),
        message(acme, boiler, TOPIC, 4),
    ];
    let ids = append(storage, messages).await;
    assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false, true]);
    assert!(ids[1] < ids[3]);
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [2, 4]);
}

pub async fn a_message_for_the_device_of_another_tenant_has_no_id(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let boiler = device(storage, acme, "boiler").await;
    append_at(storage, acme, boiler, &[1]).await;
    assert_eq!(append(storage, vec![message(other, boiler, TOPIC, 2)]).await, [None]);
    assert_eq!(append(storage, vec![message(new_tenant_id(), boiler, TOPIC, 3)]).await, [None]);
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [1]);
    assert!(rows(storage, other, &oldest_first()).await.is_empty());
}

pub async fn a_message_of_a_deleted_device_has_no_id(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (gone, stays) = (device(storage, acme, "gone").await, device(storage, acme, "stays").await);
    append_at(storage, acme, gone, &[1]).await;
    storage.devices.delete(acme, gone).await.unwrap();
    let ids = append(storage, vec![message(acme, gone, TOPIC, 2), message(acme, stays, TOPIC, 3)]).await;
    assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [3]);
}

pub async fn a_device_that_was_unknown_once_is_known_when_it_is_there(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let late = a_device(acme, "late");
    assert_eq!(append(storage, vec![message(acme, late.id, TOPIC, 1)]).await, [None]);
    storage.devices.create(&late, new_token()).await.unwrap();
    append_at(storage, acme, late.id, &[2]).await;
}

pub async fn messages_of_a_deleted_device_are_gone(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (gone, stays) = (device(storage, acme, "gone").await, device(storage, acme, "stays").await);
    append_at(storage, acme, gone, &[1, 3]).await;
    append_at(storage, acme, stays, &[2]).await;
    storage.devices.delete(acme, gone).await.unwrap();
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [2]);
    let of_gone = of_device(gone, oldest_first());
    assert!(rows(storage, acme, &of_gone).await.is_empty());
}

pub async fn thousands_of_topics_are_told_apart(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, other, "pump").await);
    let topic = |n: u64| format!("plant/{n}");
    let batch = || {
        let pairs =
            (0..3_000).flat_map(|n| [message(acme, boiler, &topic(n), n), message(other, pump, &topic(2_999 - n), n)]);
        pairs.collect::<Vec<_>>()
    };
    append(storage, batch()).await;
    append(storage, batch()).await;
    for (tenant, topic_at) in [(acme, [0, 1_500, 2_999]), (other, [2_999, 1_499, 0])] {
        for (second, n) in [0, 1_500, 2_999].into_iter().zip(topic_at) {
            assert_eq!(seconds(storage, tenant, &on_topic(&topic(n))).await, [second, second]);
        }
        assert_eq!(paged(storage, tenant, &on_topic("plant/+"), 1_000).await.len(), 6_000);
    }
}

pub async fn a_batch_of_twenty_thousand_is_stored_whole(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut devices = Vec::new();
    for n in 0..10 {
        devices.push(device(storage, acme, &format!("d{n}")).await);
    }
    let of = |second: u64| devices[(second % 10) as usize];
    let messages = (0..20_000).map(|second| message(acme, of(second), TOPIC, second)).collect();
    let ids = append(storage, messages).await;
    assert!(ids.iter().all(Option::is_some) && ids.is_sorted_by(|earlier, later| earlier < later));
    let read = paged(storage, acme, &oldest_first(), 1_000).await;
    assert_eq!(read.len(), 20_000);
    for (second, row) in (0..).zip(&read) {
        assert_eq!((row.timestamp, row.device_id, Some(row.id)), (at(second), of(second), ids[second as usize]));
    }
}

pub async fn two_batches_at_once_are_both_stored(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let batch = |topic: &str| -> Arc<[NewTelemetry]> {
        (0..500).map(|second| message(acme, boiler, &format!("{topic}/{}", second % 7), second)).collect()
    };
    let (first, second) = both(storage.telemetry.append(batch("x")), storage.telemetry.append(batch("x"))).await;
    for ids in [first.unwrap(), second.unwrap()] {
        assert!(ids.iter().all(Option::is_some) && ids.is_sorted_by(|earlier, later| earlier < later));
    }
    assert_eq!(paged(storage, acme, &on_topic("x/+"), 300).await.len(), 1_000);
}

pub async fn a_message_is_put_aside(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let mut poison = message(acme, boiler, TOPIC, 1);
    poison.payload = Payload::from_stored("\"\0\"");
    assert_eq!(storage.telemetry.set_aside(&poison, "invalid byte \0", at(2)).await, Ok(()));
    let lost = message(new_tenant_id(), new_device_id(), TOPIC, 1);
    assert_eq!(storage.telemetry.set_aside(&lost, "", at(2)).await, Ok(()));
    assert!(rows(storage, acme, &oldest_first()).await.is_empty());
}
