//! Rows that no chunk takes, that take much, or over which a process died: the others are sealed.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use pocket_domain::{NewTelemetry, Payload};
use pocket_telemetry_codec::{MAX_TEXT_BYTES, MAX_WEIGHT};

use super::*;
use crate::sample::Sample;

fn sealing() -> Sealing {
    Sealing { rows: 1, per_device: 0, ..Sealing::default() }
}

async fn all(keeper: &mut Keeper, sample: &Sample) {
    while keeper.step(&sample.database).await.unwrap() {}
}

async fn append(sample: &Sample, payloads: impl Iterator<Item = String>) {
    let messages = payloads.enumerate().map(|(n, payload)| NewTelemetry {
        payload: Payload::from_stored(payload),
        ..sample.message(sample.device, n as i64)
    });
    sample.storage.telemetry.append(messages.collect()).await.unwrap();
}

/// `{"k0":1,"k1":1,…}` with so many keys from a first on.
fn object(first: usize, keys: usize) -> String {
    let members: Vec<String> = (first..first + keys).map(|n| format!(r#""k{n}":1"#)).collect();
    format!("{{{}}}", members.join(","))
}

/// The database verifies.
async fn is_sound(sample: &Sample) {
    assert_eq!(crate::check::tests::check(sample).await.1, [""; 0]);
}

#[tokio::test]
async fn a_payload_larger_than_a_chunk_is_a_dead_letter_and_the_others_are_sealed() {
    let sample = Sample::new().await;
    let long = format!("\"{}\"", "x".repeat(MAX_TEXT_BYTES));
    let payloads = (0..20).map(|n| if n == 7 { long.clone() } else { n.to_string() });
    append(&sample, payloads).await;
    let mut keeper = Keeper::new(sealing());
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 0);
    assert_eq!(sample.number("SELECT sum(row_count) FROM telemetry_chunks").await, 19);
    let of_letter =
        "SELECT count(*) FROM dead_letters WHERE reason LIKE 'cannot be sealed: the payloads are too large%'";
    assert_eq!(sample.number(of_letter).await, 1);
    let length = format!("SELECT count(*) FROM dead_letters WHERE length(payload) = {}", long.len());
    assert_eq!(sample.number(&length).await, 1);
    assert_eq!(sample.storage.health.upkeep().set_aside, 1);
}

#[tokio::test]
async fn a_row_with_an_impossible_time_is_a_dead_letter_and_the_others_are_sealed() {
    let sample = Sample::new().await;
    sample.append(sample.device, 5).await;
    sample.execute("UPDATE telemetry SET timestamp = -5 WHERE id = 2").await;
    let mut keeper = Keeper::new(sealing());
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT sum(row_count) FROM telemetry_chunks").await, 4);
    assert_eq!(sample.number("SELECT count(*) FROM dead_letters").await, 1);
}

#[tokio::test]
async fn payloads_of_new_keys_make_chunks_of_bounded_weight_which_are_not_merged_again_and_again() {
    let sample = Sample::new().await;
    append(&sample, (0..150).map(|n| object(2_000 * n, 2_000))).await;
    let mut keeper = Keeper::new(Sealing { keys_per_device: u32::MAX, ..sealing() });
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT sum(row_count) FROM telemetry_chunks").await, 150);
    assert!(sample.number("SELECT count(*) FROM telemetry_chunks").await > 2);
    let heaviest = sample.number("SELECT max(weight) FROM telemetry_chunks").await;
    assert!((1..=MAX_WEIGHT as i64).contains(&heaviest), "{heaviest}");
    let last = "SELECT max(key) FROM telemetry_chunks";
    let key = sample.number(last).await;
    sample.append(sample.device, 1).await;
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number(last).await, key + 1, "only the new row made a chunk");
    is_sound(&sample).await;
}

#[tokio::test]
async fn heavy_chunks_of_an_earlier_version_are_weighed_once_and_left_alone() {
    let sample = Sample::new().await;
    append(&sample, (0..150).map(|n| object(2_000 * n, 2_000))).await;
    let mut keeper = Keeper::new(Sealing { keys_per_device: u32::MAX, ..sealing() });
    all(&mut keeper, &sample).await;
    sample.execute("UPDATE telemetry_chunks SET weight = 0").await;
    let count = sample.number("SELECT count(*) FROM telemetry_chunks").await;
    sample.append(sample.device, 1).await;
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_chunks WHERE weight = 0").await, 0);
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_chunks").await, count + 1);
}

#[tokio::test]
async fn a_device_has_keys_up_to_a_limit_and_other_payloads_are_kept_without_leaves() {
    let sample = Sample::new().await;
    append(&sample, (0..60).map(|n| object(n, 2))).await;
    let mut keeper = Keeper::new(Sealing { keys_per_device: 40, ..sealing() });
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_keys").await, 40);
    assert_eq!(sample.number("SELECT sum(row_count) FROM telemetry_chunks").await, 60);
    let lost = sample.storage.health.upkeep().without_leaves;
    assert!((20..=22).contains(&lost), "{lost}");
    is_sound(&sample).await;
    // Known keys still have leaves, and merging gives nobody more.
    append(&sample, (0..10).map(|n| object(if n % 2 == 0 { 0 } else { 1_000 + n }, 1))).await;
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_keys").await, 40);
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_chunks").await, 1);
    assert_eq!(sample.storage.health.upkeep().without_leaves, lost + 5);
    is_sound(&sample).await;
}

#[tokio::test]
async fn a_start_after_a_death_begins_with_smaller_steps_and_grows_again() {
    let sample = Sample::new().await;
    sample.append(sample.device, 64).await;
    // A process that died four times over its first batch leaves this.
    sample.execute("UPDATE telemetry_log SET halvings = 4").await;
    let mut keeper = Keeper::new(Sealing { batch: 32, ..sealing() });
    let mut sealed = Vec::new();
    while sealed.last() != Some(&64) {
        keeper.step(&sample.database).await.unwrap();
        sealed.push(sample.number("SELECT sealed FROM telemetry_log").await);
        sealed.dedup();
    }
    assert_eq!(sealed, [2, 6, 14, 30, 62, 64]);
    assert_eq!(sample.number("SELECT halvings FROM telemetry_log").await, 0);
}

#[tokio::test]
async fn while_a_batch_is_being_sealed_the_database_says_so() {
    let sample = Sample::new().await;
    sample.append(sample.device, 64).await;
    let before = Keeper::new(Sealing { batch: 32, ..sealing() });
    // It begins a batch and dies.
    let mut dying = Keeper::new(Sealing { batch: 32, ..sealing() });
    assert!(seal::begin(&mut dying.sealer.halvings, &sample.database, &dying.lease).await.unwrap().is_some());
    assert_eq!(sample.number("SELECT halvings FROM telemetry_log").await, 1);
    sample.execute("UPDATE telemetry_log SET owner = NULL").await;
    let mut next = before;
    assert!(next.step(&sample.database).await.unwrap());
    assert_eq!(sample.number("SELECT sealed FROM telemetry_log").await, 16);
}

#[tokio::test]
async fn a_batch_that_fails_is_tried_again_in_half_the_size_until_one_row_is_left() {
    let sample = Sample::new().await;
    sample.append(sample.device, 64).await;
    let mut keeper = Keeper::new(Sealing { batch: 32, ..sealing() });
    sample.execute("CREATE TRIGGER refuse BEFORE INSERT ON telemetry_chunks BEGIN SELECT raise(FAIL, 'no'); END").await;
    for _ in 0..30 {
        assert!(keeper.step(&sample.database).await.is_err());
    }
    sample.execute("DROP TRIGGER refuse").await;
    keeper.step(&sample.database).await.unwrap();
    assert_eq!(sample.number("SELECT sealed FROM telemetry_log").await, 1);
    let content = "SELECT count(*) FROM telemetry_chunks WHERE row_count = 1";
    assert_eq!(sample.number(content).await, 1);
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT sealed FROM telemetry_log").await, 64);
}

#[tokio::test]
async fn an_orderly_end_in_the_middle_of_a_batch_leaves_the_steps_as_they_were() {
    let sample = Sample::new().await;
    sample.append(sample.device, 64).await;
    let mut keeper = Keeper::new(Sealing { batch: 32, ..sealing() });
    assert!(seal::begin(&mut keeper.sealer.halvings, &sample.database, &keeper.lease).await.unwrap().is_some());
    keeper.lease.give_back(&sample.database).await.unwrap();
    assert_eq!(sample.number("SELECT halvings FROM telemetry_log").await, 0);
}

#[test]
fn a_batch_that_failed_very_often_is_packed_without_leaves() {
    assert!(pack::Portion::halved(halvings::MOST - 1).has_leaves);
    assert!(!pack::Portion::halved(halvings::MOST).has_leaves);
}

/// Begins a batch as soon as the lease is free.
async fn begin(keeper: &mut Keeper, sample: &Sample) {
    while seal::begin(&mut keeper.sealer.halvings, &sample.database, &keeper.lease).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn processes_that_lose_the_lease_to_one_another_are_not_taken_for_dead_again_and_again() {
    let sample = Sample::new().await;
    sample.append(sample.device, 5).await;
    let lease = std::time::Duration::ZERO;
    let [mut one, mut other] = [0, 0].map(|_| Keeper::new(Sealing { lease, ..sealing() }));
    begin(&mut one, &sample).await;
    for _ in 0..40 {
        begin(&mut other, &sample).await;
        one.sealer.halvings.take_back(&sample.database).await.unwrap();
        std::mem::swap(&mut one, &mut other);
    }
    let halvings = [one, other].map(|keeper| keeper.sealer.halvings.now());
    assert!(halvings.iter().all(|halvings| *halvings <= 2), "{halvings:?}");
}
