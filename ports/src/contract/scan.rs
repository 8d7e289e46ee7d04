//! Cases of [`TelemetryStore::scan`](crate::TelemetryStore::scan).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{DeviceId, NewTelemetry, Payload, Telemetry, TelemetryScan, TenantId, TopicFilter};

use super::fixture::{at, device, message, new_device_id, new_tenant_id, tenant};
use super::reading::{TOPIC, append, append_at};
use crate::Storage;

/// The parts of a walk, to its end.
async fn parts(storage: &Storage, tenant: TenantId, scan: &TelemetryScan) -> Vec<Vec<Telemetry>> {
    let (mut scan, mut parts) = (scan.clone(), Vec::new());
    loop {
        let part = storage.telemetry.scan(tenant, &scan).await.unwrap();
        assert!(part.rows.len() <= TelemetryScan::MOST_ROWS);
        parts.push(part.rows);
        assert!(parts.len() < 10_000, "a walk that does not end");
        match part.next {
            Some(next) => scan.after = Some(next),
            None => return parts,
        }
    }
}

async fn walk(storage: &Storage, tenant: TenantId, scan: &TelemetryScan) -> Vec<Telemetry> {
    parts(storage, tenant, scan).await.into_iter().flatten().collect()
}

fn seconds(rows: &[Telemetry]) -> Vec<(DeviceId, u64)> {
    rows.iter().map(|row| (row.device_id, row.timestamp.since(at(0)).as_secs())).collect()
}

pub async fn a_walk_goes_from_device_to_device_and_from_old_to_new(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let ids = append_at(storage, acme, pump, &[5, 1, 5]).await;
    append_at(storage, acme, boiler, &[9, 3]).await;
    let rows = walk(storage, acme, &TelemetryScan::default()).await;
    assert_eq!(seconds(&rows), [(boiler, 3), (boiler, 9), (pump, 1), (pump, 5), (pump, 5)]);
    assert_eq!([rows[3].id, rows[4].id], [ids[0], ids[2]]);
    assert_eq!((rows[2].topic.as_str(), rows[2].payload.as_str(), rows[2].received_at), (TOPIC, "{\"s\":1}", at(2)));
    assert!(walk(storage, new_tenant_id(), &TelemetryScan::default()).await.is_empty());
}

pub async fn a_walk_meets_every_condition(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    for device in [boiler, pump] {
        let messages = (0..10).map(|second| message(acme, device, ["a/1", "b"][second as usize % 2], second)).collect();
        append(storage, messages).await;
    }
    let topic = |filter: &str| Some(TopicFilter::parse(filter).unwrap());
    let all = TelemetryScan::default();
    for (scan, expected) in [
        (TelemetryScan { device_id: Some(pump), ..all.clone() }, 10),
        (TelemetryScan { device_id: Some(new_device_id()), ..all.clone() }, 0),
        (TelemetryScan { topic: topic("a/+"), ..all.clone() }, 10),
        (TelemetryScan { topic: topic("none"), ..all.clone() }, 0),
        (TelemetryScan { from: Some(at(3)), to: Some(at(5)), ..all.clone() }, 4),
        (TelemetryScan { from: Some(at(3)), to: Some(at(3)), ..all.clone() }, 0),
    ] {
        assert_eq!(walk(storage, acme, &scan).await.len(), expected, "{scan:?}");
    }
    let both =
        TelemetryScan { device_id: Some(pump), topic: topic("b"), from: Some(at(2)), to: Some(at(6)), after: None };
    assert_eq!(seconds(&walk(storage, acme, &both).await), [(pump, 3), (pump, 5)]);
}

pub async fn a_walk_over_many_rows_gives_each_once(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    for from in [0, 3_000, 6_000] {
        let seconds: Vec<u64> = (from..from + 3_000).collect();
        append_at(storage, acme, boiler, &seconds).await;
        append_at(storage, acme, pump, &seconds).await;
    }
    // Late ones are in chunks of their own.
    append_at(storage, acme, boiler, &[4_500, 4_500]).await;
    let rows = walk(storage, acme, &TelemetryScan::default()).await;
    let mut expected: Vec<(DeviceId, u64)> =
        [boiler, pump].iter().flat_map(|id| (0..9_000).map(|n| (*id, n))).collect();
    expected.extend([(boiler, 4_500); 2]);
    expected.sort_unstable();
    assert_eq!(seconds(&rows), expected);
    assert!(rows.is_sorted_by_key(|row| (row.device_id, row.timestamp, row.id)));
}

pub async fn a_walk_over_many_devices_gives_each_once(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut devices = Vec::new();
    for n in 0..600 {
        devices.push(device(storage, acme, &format!("d{n}")).await);
    }
    // Between those that have something are many that have nothing.
    let some: Vec<DeviceId> = devices.iter().copied().step_by(299).collect();
    append(storage, some.iter().map(|device| message(acme, *device, TOPIC, 1)).collect()).await;
    let rows = walk(storage, acme, &TelemetryScan::default()).await;
    assert_eq!(seconds(&rows), some.into_iter().map(|device| (device, 1)).collect::<Vec<_>>());
}

pub async fn a_walk_over_long_payloads_takes_little_at_a_time(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let long = |second: u64| NewTelemetry {
        payload: Payload::from_stored(format!("\"{second}{}\"", "x".repeat(60_000))),
        ..message(acme, boiler, TOPIC, second)
    };
    for from in [0, 100] {
        append(storage, (from..from + 100).map(long).collect()).await;
    }
    let rows = walk(storage, acme, &TelemetryScan::default()).await;
    assert_eq!(seconds(&rows), (0..200).map(|second| (boiler, second)).collect::<Vec<_>>());
    assert!((0..).zip(&rows).all(|(second, row)| row.payload == long(second).payload));
}

pub async fn a_walk_stays_right_while_rows_and_devices_come_and_go(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut devices = Vec::new();
    for name in ["a", "gone", "c", "d"] {
        devices.push(device(storage, acme, name).await);
        let seconds: Vec<u64> = (0..2_500).collect();
        append_at(storage, acme, devices[devices.len() - 1], &seconds).await;
    }
    let first = storage.telemetry.scan(acme, &TelemetryScan::default()).await.unwrap();
    assert!(!first.rows.is_empty() && first.next.is_some());
    // What comes before the place is passed over, what comes behind it is read.
    append_at(storage, acme, devices[0], &[0]).await;
    append_at(storage, acme, devices[3], &[9_000]).await;
    storage.devices.delete(acme, devices[1]).await.unwrap();
    let new = device(storage, acme, "new").await;
    append_at(storage, acme, new, &[7]).await;
    let rest = walk(storage, acme, &TelemetryScan { after: first.next, ..TelemetryScan::default() }).await;
    let read = [first.rows, rest].concat();
    assert!(read.is_sorted_by(|a, b| (a.device_id, a.timestamp, a.id) < (b.device_id, b.timestamp, b.id)));
    let count = |device: DeviceId| read.iter().filter(|row| row.device_id == device).count();
    assert_eq!([devices[0], devices[2], devices[3], new].map(count), [2_500, 2_500, 2_501, 1]);
}

pub async fn a_walk_of_another_tenant_is_out_of_reach(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, other, "pump").await);
    append_at(storage, acme, boiler, &[1]).await;
    append_at(storage, other, pump, &[2]).await;
    assert_eq!(seconds(&walk(storage, other, &TelemetryScan::default()).await), [(pump, 2)]);
    let of_boiler = TelemetryScan { device_id: Some(boiler), ..TelemetryScan::default() };
    assert!(walk(storage, other, &of_boiler).await.is_empty());
}
