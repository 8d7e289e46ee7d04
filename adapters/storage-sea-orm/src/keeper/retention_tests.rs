//! What tenants do not keep, on a SQLite file.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::time::Duration;

use pocket_domain::{MaxAge, NewTelemetry, Payload, RetentionUpdate};
use pocket_ports::{Clock, Held, SystemClock, TenantUpdate};

use super::*;
use crate::sample::Sample;

fn keeper() -> Keeper {
    Keeper::new(Sealing { rows: 1, ..Sealing::default() })
}

async fn all(keeper: &mut Keeper, sample: &Sample) {
    while keeper.step(&sample.database).await.unwrap() {}
}

/// Removes what is not kept, and gives pages back.
async fn prune(keeper: &mut Keeper, sample: &Sample) {
    while !keeper.prune(&sample.database, SystemClock.now(), &Held::default()).await.unwrap().is_done {}
    all(keeper, sample).await;
}

async fn keep_an_hour(sample: &Sample) {
    let retention = RetentionUpdate { max_age: Some(MaxAge::parse(3_600).ok()), max_bytes: None };
    let update = TenantUpdate { retention, ..TenantUpdate::default() };
    sample.storage.tenants.update(sample.tenant, update).await.unwrap();
}

/// Rows of the device that hardly become smaller, one a second from a time on.
async fn append_noise(sample: &Sample, from: Timestamp, count: u64) {
    let row = |n: u64| {
        let mut state = n + 1;
        let word = |_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            format!("{:016x}", state ^ (state >> 29))
        };
        let payload = Payload::from_stored(format!("\"{}\"", (0..32).map(word).collect::<String>()));
        let timestamp = from.plus(Duration::from_secs(n));
        NewTelemetry { payload, timestamp, received_at: timestamp, ..sample.message(sample.device, 0) }
    };
    sample.storage.telemetry.append((0..count).map(row).collect()).await.unwrap();
}

#[tokio::test]
async fn what_is_too_old_goes_in_the_background_and_what_is_young_stays() {
    let sample = Sample::new().await;
    let young = SystemClock.now().minus(Duration::from_secs(1_800));
    append_noise(&sample, Timestamp::MIN, 5_000).await;
    append_noise(&sample, young, 50).await;
    let mut keeper = keeper();
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT sum(row_count) FROM telemetry_chunks").await, 5_050);
    keep_an_hour(&sample).await;
    prune(&mut keeper, &sample).await;
    // The young rows are in one chunk with the last of the old ones.
    assert_eq!(sample.number("SELECT sum(row_count) FROM telemetry_chunks").await, 5_050 - 4_096);
}

#[tokio::test]
async fn another_process_that_keeps_the_history_is_left_to_it() {
    let sample = Sample::new().await;
    append_noise(&sample, Timestamp::MIN, 10).await;
    let (mut first, mut second) = (keeper(), keeper());
    all(&mut first, &sample).await;
    keep_an_hour(&sample).await;
    let now = SystemClock.now();
    assert_eq!(
        second.prune(&sample.database, now, &Held::default()).await.unwrap(),
        Pruned { rows: 0, is_done: false }
    );
    assert!(!second.step(&sample.database).await.unwrap());
    assert_eq!(
        first.prune(&sample.database, now, &Held::default()).await.unwrap(),
        Pruned { rows: 10, is_done: false }
    );
    assert_eq!(first.prune(&sample.database, now, &Held::default()).await.unwrap(), Pruned { rows: 0, is_done: true });
}

#[tokio::test]
async fn a_file_becomes_shorter_when_its_history_goes() {
    let sample = Sample::new().await;
    let mut keeper = keeper();
    for part in 0..4 {
        append_noise(&sample, Timestamp::MIN.plus(Duration::from_secs(part * 20_000)), 20_000).await;
        all(&mut keeper, &sample).await;
    }
    let before = sample.file_bytes();
    assert!(before > 20_000_000, "{before}");
    keep_an_hour(&sample).await;
    prune(&mut keeper, &sample).await;
    let after = sample.file_bytes();
    // What the file keeps for what comes next, and a little more.
    assert!(after < 5_000_000, "{before} bytes became {after}");
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_chunks").await, 0);
    assert!(!keeper.step(&sample.database).await.unwrap());
}

#[tokio::test]
async fn rows_that_were_read_ahead_do_not_come_back_when_they_are_too_old() {
    let sample = Sample::new().await;
    append_noise(&sample, SystemClock.now().minus(Duration::from_secs(1_800)), 10).await;
    append_noise(&sample, Timestamp::MIN, 10).await;
    let mut keeper = Keeper::new(Sealing { batch: 10, ..keeper().sealing });
    assert!(keeper.sealer.seal(&sample.database, &keeper.lease, keeper.sealing).await.unwrap());
    keep_an_hour(&sample).await;
    assert_eq!(keeper.prune(&sample.database, SystemClock.now(), &Held::default()).await.unwrap().rows, 10);
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT sum(row_count) FROM telemetry_chunks").await, 10);
}
