//! Cases of [`TelemetryStore::prune`](crate::TelemetryStore::prune).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{DeviceId, MaxAge, MaxBytes, NewTelemetry, Payload, RetentionUpdate, TenantId, Timestamp};

use super::fixture::{at, device, message, tenant};
use super::reading::{TOPIC, append, of_device, oldest_first, paged, seconds};
use crate::{Held, Pruned, Storage, TenantUpdate};

const DAY: u64 = 86_400;

async fn keep(storage: &Storage, tenant: TenantId, retention: RetentionUpdate) {
    let update = TenantUpdate { retention, ..TenantUpdate::default() };
    storage.tenants.update(tenant, update).await.unwrap();
}

async fn keep_a_day(storage: &Storage, tenant: TenantId) {
    let max_age = Some(Some(MaxAge::parse(DAY).unwrap()));
    keep(storage, tenant, RetentionUpdate { max_age, max_bytes: None }).await;
}

/// Prunes until nothing is left to do, and tells how many messages went.
async fn prune(storage: &Storage, now: Timestamp) -> u64 {
    let mut rows = 0;
    // Each step removes something, or the last one says that it is done.
    for _ in 0..100_000 {
        let pruned: Pruned = storage.telemetry.prune(now).await.unwrap();
        rows += pruned.rows;
        if pruned.is_done {
            return rows;
        }
    }
    panic!("pruning comes to no end");
}

/// The times of all messages of a device.
async fn times(storage: &Storage, tenant: TenantId, device: DeviceId) -> Vec<u64> {
    let rows = paged(storage, tenant, &of_device(device, oldest_first()), 1_000).await;
    rows.iter().map(|row| row.timestamp.since(at(0)).as_secs()).collect()
}

/// Fails when a young message is missing, or when too many old ones are left.
#[track_caller]
fn assert_pruned(found: &[u64], written: impl Iterator<Item = u64>, kept_from: u64) {
    let young: Vec<u64> = written.filter(|second| *second >= kept_from).collect();
    let left = found.iter().take_while(|second| **second < kept_from).count();
    assert_eq!(&found[left..], young);
    assert!(left as u64 <= Pruned::MOST_LEFT, "{left} are left");
}

pub async fn everything_is_kept_when_nothing_is_said(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append(storage, (0..50).map(|second| message(acme, boiler, TOPIC, second)).collect()).await;
    assert_eq!(storage.telemetry.prune(Timestamp::MAX).await, Ok(Pruned { rows: 0, is_done: true }));
    assert_eq!(seconds(storage, acme, &oldest_first()).await, (0..50).collect::<Vec<_>>());
}

pub async fn messages_that_are_too_old_go_and_younger_ones_stay(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    keep_a_day(storage, acme).await;
    append(storage, (0..10_000).map(|second| message(acme, boiler, TOPIC, second)).collect()).await;
    append(storage, (0..10).map(|second| message(acme, pump, TOPIC, second)).collect()).await;
    // Nothing is before the day that ends here.
    assert_eq!(prune(storage, at(DAY)).await, 0);
    assert_eq!(times(storage, acme, boiler).await, (0..10_000).collect::<Vec<_>>());
    prune(storage, at(DAY + 9_000)).await;
    assert_pruned(&times(storage, acme, boiler).await, 0..10_000, 9_000);
    assert!(times(storage, acme, pump).await.is_empty());
    // Where all are too old, none shares a place with a younger one.
    prune(storage, at(2 * DAY)).await;
    assert!(times(storage, acme, boiler).await.is_empty());
    assert_eq!(storage.telemetry.usage(acme).await.unwrap().total().rows, 0);
}

pub async fn a_message_of_exactly_the_age_stays(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    keep_a_day(storage, acme).await;
    append(storage, vec![message(acme, boiler, TOPIC, 5)]).await;
    // It was received a second after the time that it is about.
    assert_eq!(prune(storage, at(DAY + 6)).await, 0);
    assert_eq!(prune(storage, at(DAY + 7)).await, 1);
}

pub async fn late_messages_that_are_too_old_go_too(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    keep_a_day(storage, acme).await;
    let now = 10 * DAY;
    // Two thirds are too old, in turn with the others, in the log and in every chunk.
    let written = |n: u64| if n.is_multiple_of(3) { now - 20_000 + n } else { n };
    for part in 0..4 {
        let messages = (part * 4_000..(part + 1) * 4_000).map(|n| message(acme, boiler, TOPIC, written(n)));
        append(storage, messages.collect()).await;
    }
    prune(storage, at(now)).await;
    assert_pruned(&times(storage, acme, boiler).await, (0..16_000).map(written), 9 * DAY);
    let late = [message(acme, boiler, TOPIC, 77), message(acme, boiler, TOPIC, now)];
    append(storage, late.to_vec()).await;
    prune(storage, at(now)).await;
    let written = (0..16_000).map(written).chain([now]);
    assert_pruned(&times(storage, acme, boiler).await, written, 9 * DAY);
}

pub async fn what_was_received_lately_stays_however_old_it_says_to_be(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    keep_a_day(storage, acme).await;
    let now = 10 * DAY;
    let late = |device, n| NewTelemetry { received_at: at(now), ..message(acme, device, TOPIC, n) };
    // Of one device all are received lately, of the other half of them are, in turn with those that are old by both.
    append(storage, (0..5_000).map(|n| late(pump, n)).collect()).await;
    let old = |n: u64| n.is_multiple_of(2);
    let mixed = |n: u64| if old(n) { message(acme, boiler, TOPIC, n) } else { late(boiler, n) };
    append(storage, (0..10_000).map(mixed).collect()).await;
    prune(storage, at(now)).await;
    assert_eq!(times(storage, acme, pump).await, (0..5_000).collect::<Vec<_>>());
    let left = times(storage, acme, boiler).await;
    let stayed: Vec<u64> = left.iter().copied().filter(|n| !old(*n)).collect();
    assert_eq!(stayed, (0..10_000).filter(|n| !old(*n)).collect::<Vec<_>>());
    assert!(left.len() as u64 <= 5_000 + Pruned::MOST_LEFT, "{} are left", left.len());
    let last = storage.telemetry.latest(acme, boiler, &pocket_domain::LatestQuery::default()).await.unwrap().values;
    assert_eq!(last.len(), 1, "{last:?}");
    // A day after they were received they go, too.
    prune(storage, at(now + DAY + 1)).await;
    assert_eq!(storage.telemetry.usage(acme).await.unwrap().total().rows, 0);
}

pub async fn what_is_held_back_stays(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, theirs) = (device(storage, acme, "boiler").await, device(storage, other, "boiler").await);
    keep_a_day(storage, acme).await;
    keep_a_day(storage, other).await;
    append(storage, (0..100).map(|second| message(acme, boiler, TOPIC, second)).collect()).await;
    append(storage, (0..100).map(|second| message(other, theirs, TOPIC, second)).collect()).await;
    let expired = storage.telemetry.expired(acme, at(200)).await.unwrap();
    assert_eq!((expired.rows, expired.of), (100, 100));
    assert_eq!(storage.telemetry.expired(acme, at(0)).await.unwrap().rows, 0);
    let held = Held::from([(acme, at(0))]);
    for _ in 0..1_000 {
        if storage.telemetry.prune_within(at(9 * DAY), &held).await.unwrap().is_done {
            break;
        }
    }
    assert_eq!(times(storage, acme, boiler).await.len(), 100);
    assert!(times(storage, other, theirs).await.is_empty());
}

pub async fn how_far_a_tenant_is_pruned_is_known_until_its_retention_is_changed(storage: &Storage) {
    let (acme, _) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    keep_a_day(storage, acme).await;
    if storage.telemetry.pruned_tenants().await.unwrap().is_empty() {
        // It keeps nothing of that.
        return;
    }
    let known = async || {
        let tenants = storage.telemetry.pruned_tenants().await.unwrap();
        assert_eq!(tenants.iter().map(|tenant| tenant.id).collect::<Vec<_>>(), [acme]);
        tenants[0].to
    };
    assert_eq!(known().await, None);
    for second in [5, 7] {
        storage.telemetry.keep_pruned(acme, at(second)).await.unwrap();
        assert_eq!(known().await, Some(at(second)));
    }
    // What says nothing of it changes nothing; the same again is a word, too.
    storage.tenants.update(acme, TenantUpdate::default()).await.unwrap();
    assert_eq!(known().await, Some(at(7)));
    keep_a_day(storage, acme).await;
    assert_eq!(known().await, None);
    let nobody = super::fixture::new_tenant_id();
    storage.telemetry.keep_pruned(nobody, at(9)).await.unwrap();
}

pub async fn the_oldest_go_until_a_history_is_within_its_bytes(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let max_bytes = Some(Some(MaxBytes::parse(MaxBytes::MIN).unwrap()));
    keep(storage, acme, RetentionUpdate { max_age: None, max_bytes }).await;
    for part in 0..5 {
        let messages = (part * 4_000..(part + 1) * 4_000).map(|second| NewTelemetry {
            payload: Payload::from_stored(noise(second)),
            ..message(acme, boiler, TOPIC, second)
        });
        append(storage, messages.collect()).await;
    }
    let before = storage.telemetry.usage(acme).await.unwrap().total();
    assert!(before.bytes > MaxBytes::MIN);
    let rows = prune(storage, at(0)).await;
    let after = storage.telemetry.usage(acme).await.unwrap().total();
    assert!(after.bytes <= MaxBytes::MIN, "{after:?}");
    assert!(rows > 0);
    assert_eq!(before.rows - after.rows, rows);
    let left = times(storage, acme, boiler).await;
    assert_eq!((left.len() as u64, left.last()), (after.rows, Some(&19_999)));
    assert_eq!(prune(storage, at(0)).await, 0);
}

/// A payload of 130 bytes that nothing makes much shorter.
fn noise(seed: u64) -> String {
    let mut state = seed + 1;
    let word = |_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        format!("{:016x}", state ^ (state >> 29))
    };
    format!("\"{}\"", (0..8).map(word).collect::<String>())
}

pub async fn a_history_within_its_bytes_stays(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let max_bytes = Some(Some(MaxBytes::parse(MaxBytes::MIN).unwrap()));
    keep(storage, acme, RetentionUpdate { max_age: None, max_bytes }).await;
    append(storage, (0..1_000).map(|second| message(acme, boiler, TOPIC, second)).collect()).await;
    assert_eq!(prune(storage, Timestamp::MAX).await, 0);
    assert_eq!(times(storage, acme, boiler).await, (0..1_000).collect::<Vec<_>>());
}

pub async fn pruning_leaves_other_tenants_as_they_are(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, theirs) = (device(storage, acme, "boiler").await, device(storage, other, "boiler").await);
    keep_a_day(storage, acme).await;
    let messages = (0..100).flat_map(|second| [(acme, boiler, second), (other, theirs, second)]);
    let messages = messages.map(|(tenant, device, second)| message(tenant, device, TOPIC, second));
    append(storage, messages.collect()).await;
    assert_eq!(prune(storage, at(9 * DAY)).await, 100);
    assert!(times(storage, acme, boiler).await.is_empty());
    assert_eq!(times(storage, other, theirs).await, (0..100).collect::<Vec<_>>());
    // A tenant that keeps everything again loses nothing more.
    append(storage, vec![message(acme, boiler, TOPIC, 1)]).await;
    keep(storage, acme, RetentionUpdate { max_age: Some(None), max_bytes: None }).await;
    assert_eq!(prune(storage, at(9 * DAY)).await, 0);
    assert_eq!(times(storage, acme, boiler).await, [1]);
}
