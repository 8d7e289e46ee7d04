//! Keys go with the last row that has them, on a SQLite file.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::time::Duration;

use pocket_domain::{MaxAge, MaxBytes, NameUsage, NewTelemetry, Payload, RetentionUpdate, TopicName};
use pocket_ports::{Clock, Held, SystemClock, TenantUpdate};

use super::*;
use crate::sample::Sample;

fn keeper() -> Keeper {
    Keeper::new(Sealing { rows: 1, per_device: 0, ..Sealing::default() })
}

async fn all(keeper: &mut Keeper, sample: &Sample) {
    while keeper.step(&sample.database).await.unwrap() {}
}

async fn prune(keeper: &mut Keeper, sample: &Sample) {
    while !keeper.prune(&sample.database, SystemClock.now(), &Held::default()).await.unwrap().is_done {}
    all(keeper, sample).await;
}

async fn keep(sample: &Sample, max_age: Option<MaxAge>, max_bytes: Option<MaxBytes>) {
    let retention = RetentionUpdate { max_age: Some(max_age), max_bytes: Some(max_bytes) };
    let update = TenantUpdate { retention, ..TenantUpdate::default() };
    sample.storage.tenants.update(sample.tenant, update).await.unwrap();
}

async fn keep_an_hour(sample: &Sample) {
    keep(sample, MaxAge::parse(3_600).ok(), None).await;
}

fn young() -> Timestamp {
    SystemClock.now().minus(Duration::from_secs(1_800))
}

/// A message for each key, one a millisecond.
async fn append(sample: &Sample, from: Timestamp, keys: impl Iterator<Item = String>) {
    let messages = keys.enumerate().map(|(n, key)| {
        let timestamp = from.plus(Duration::from_millis(n as u64));
        let payload = Payload::from_stored(format!("{{\"{key}\":{n}}}"));
        NewTelemetry { payload, timestamp, received_at: timestamp, ..sample.message(sample.device, 0) }
    });
    sample.storage.telemetry.append(messages.collect()).await.unwrap();
}

fn named(name: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{name}{n}"))
}

async fn keys(sample: &Sample) -> i64 {
    sample.number("SELECT count(*) FROM telemetry_keys").await
}

/// The database verifies.
async fn is_sound(sample: &Sample) {
    assert_eq!(crate::check::tests::check(sample).await.1, [""; 0]);
}

#[tokio::test]
async fn keys_of_rows_that_are_too_old_go_with_them_and_are_counted_until_then() {
    let sample = Sample::new().await;
    append(&sample, Timestamp::MIN, named("address", 1_000)).await;
    let mut keeper = keeper();
    all(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 1_000);
    let usage = sample.storage.telemetry.usage(sample.tenant).await.unwrap();
    let texts = 2 * named("address", 1_000).map(|key| key.len() as u64).sum::<u64>()
        + (0..1_000).map(|n: u64| n.to_string().len() as u64).sum::<u64>();
    assert_eq!(usage.names, NameUsage { count: 2_000, bytes: texts + 2_000 * NameUsage::NAME_BYTES });
    assert_eq!(usage.total().bytes, usage.chunks.bytes + usage.names.bytes);
    keep_an_hour(&sample).await;
    prune(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 0);
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_latest").await, 0);
    assert_eq!(sample.storage.telemetry.usage(sample.tenant).await.unwrap(), Default::default());
}

#[tokio::test]
async fn keys_of_young_rows_stay_and_keys_that_went_may_come_again() {
    let sample = Sample::new().await;
    let mut keeper = keeper();
    append(&sample, Timestamp::MIN, named("old", 1_000).chain(named("both", 10))).await;
    all(&mut keeper, &sample).await;
    // More than a chunk may have that is merged with others.
    append(&sample, young(), named("young", 4_100).chain(named("both", 10))).await;
    all(&mut keeper, &sample).await;
    keep_an_hour(&sample).await;
    prune(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 4_110);
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_keys WHERE path LIKE 'old%'").await, 0);
    is_sound(&sample).await;
    append(&sample, young(), named("old", 5)).await;
    all(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 4_115);
    is_sound(&sample).await;
}

#[tokio::test]
async fn keys_that_were_sealed_before_a_restart_go_as_well() {
    let sample = Sample::new().await;
    append(&sample, Timestamp::MIN, named("old", 50)).await;
    let mut before = keeper();
    all(&mut before, &sample).await;
    before.lease.give_back(&sample.database).await.unwrap();
    let mut after = keeper();
    keep_an_hour(&sample).await;
    prune(&mut after, &sample).await;
    assert_eq!(keys(&sample).await, 0);
}

#[tokio::test]
async fn keys_that_another_process_removed_are_written_again() {
    let sample = Sample::new().await;
    let (mut one, mut other) = (keeper(), keeper());
    append(&sample, Timestamp::MIN, named("key", 50)).await;
    all(&mut one, &sample).await;
    one.lease.give_back(&sample.database).await.unwrap();
    keep_an_hour(&sample).await;
    prune(&mut other, &sample).await;
    assert_eq!(keys(&sample).await, 0);
    other.lease.give_back(&sample.database).await.unwrap();
    append(&sample, young(), named("key", 50)).await;
    all(&mut one, &sample).await;
    assert_eq!(keys(&sample).await, 50);
    is_sound(&sample).await;
}

#[tokio::test]
async fn keys_of_a_history_that_is_too_large_count_and_go() {
    let sample = Sample::new().await;
    let mut keeper = keeper();
    let long = "k".repeat(200);
    for part in 0..4 {
        append(&sample, Timestamp::MIN.plus(Duration::from_secs(part)), named(&format!("{part}{long}"), 900)).await;
        all(&mut keeper, &sample).await;
    }
    let usage = sample.storage.telemetry.usage(sample.tenant).await.unwrap();
    assert!(usage.total().bytes > 3 * MaxBytes::MIN / 2 && usage.chunks.bytes < MaxBytes::MIN, "{usage:?}");
    keep(&sample, None, MaxBytes::parse(MaxBytes::MIN).ok()).await;
    prune(&mut keeper, &sample).await;
    let usage = sample.storage.telemetry.usage(sample.tenant).await.unwrap();
    assert!(usage.total().bytes <= MaxBytes::MIN, "{usage:?}");
    is_sound(&sample).await;
}

#[tokio::test]
async fn keys_stay_while_the_last_values_of_their_device_are_not_all_known() {
    let sample = Sample::new().await;
    let mut keeper = keeper();
    append(&sample, Timestamp::MIN, named("old", 20)).await;
    all(&mut keeper, &sample).await;
    append(&sample, young(), named("young", 4_100)).await;
    all(&mut keeper, &sample).await;
    sample.execute("DELETE FROM telemetry_latest WHERE path >= CAST('young' AS BLOB)").await;
    sample.execute("INSERT INTO telemetry_latest_due SELECT DISTINCT device FROM telemetry_chunks").await;
    sample.execute("INSERT INTO telemetry_keys SELECT DISTINCT device, 'left' FROM telemetry_chunks").await;
    keep_an_hour(&sample).await;
    while !keeper.prune(&sample.database, SystemClock.now(), &Held::default()).await.unwrap().is_done {}
    assert_eq!(keys(&sample).await, 4_121);
    all(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 4_100);
    is_sound(&sample).await;
}

#[tokio::test]
async fn a_key_with_a_character_that_no_text_may_have_goes_with_its_last_row() {
    let sample = Sample::new().await;
    let mut keeper = keeper();
    append(&sample, Timestamp::MIN, ["a\\u0000", "b\\u0000", "a\u{fffd}"].map(str::to_owned).into_iter()).await;
    all(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 2);
    let many = (0..4_100).map(|_| "a\u{fffd}".to_owned());
    append(&sample, young(), many).await;
    all(&mut keeper, &sample).await;
    keep_an_hour(&sample).await;
    prune(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 1);
    is_sound(&sample).await;
    append(&sample, young(), ["b\\u0000".to_owned()].into_iter()).await;
    all(&mut keeper, &sample).await;
    assert_eq!(keys(&sample).await, 2);
    is_sound(&sample).await;
}

#[tokio::test]
async fn no_keys_are_written_for_a_device_that_is_deleted_meanwhile() {
    let sample = Sample::new().await;
    append(&sample, Timestamp::MIN, named("key", 5)).await;
    sample.execute("UPDATE devices SET deleted = TRUE").await;
    all(&mut keeper(), &sample).await;
    assert_eq!(keys(&sample).await, 0);
}

#[tokio::test]
async fn keys_and_last_values_of_a_device_count_when_they_are_many() {
    let sample = Sample::new().await;
    let mut keeper = keeper();
    append(&sample, Timestamp::MIN, named("key", 100)).await;
    all(&mut keeper, &sample).await;
    assert_eq!(sample.storage.telemetry.usage(sample.tenant).await.unwrap().names, NameUsage::default());
    // Few keys, but on many topics.
    let messages = (0..2_000).map(|n: i64| NewTelemetry {
        topic: TopicName::parse(&format!("t/{n}")).unwrap(),
        payload: Payload::from_stored("{\"key0\":1}"),
        ..sample.message(sample.device, n)
    });
    sample.storage.telemetry.append(messages.collect()).await.unwrap();
    all(&mut keeper, &sample).await;
    let names = sample.storage.telemetry.usage(sample.tenant).await.unwrap().names;
    assert_eq!(names.count, 2_001 + 100 + 2_100);
    sample.storage.devices.delete(sample.tenant, sample.device).await.unwrap();
    let names = sample.storage.telemetry.usage(sample.tenant).await.unwrap().names;
    assert_eq!(names.count, 2_001, "{names:?}");
}
