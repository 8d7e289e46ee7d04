//! The keeper on a SQLite file, step by step.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::time::Duration;

use pocket_domain::{SortOrder, TelemetryQuery};

use super::*;
use crate::open::{migrate, open};
use crate::options::Options;
use crate::sample::Sample;

fn sealing(rows: u32) -> Sealing {
    Sealing { rows, per_device: 0, ..Sealing::default() }
}

async fn all(keeper: &mut Keeper, sample: &Sample) {
    while keeper.step(&sample.database).await.unwrap() {}
}

/// The sizes of chunks, the smallest first.
async fn sizes(sample: &Sample) -> Vec<i64> {
    let count = sample.number("SELECT count(*) FROM telemetry_chunks").await;
    let mut sizes = Vec::new();
    for place in 0..count {
        let sql = format!("SELECT row_count FROM telemetry_chunks ORDER BY row_count, key LIMIT 1 OFFSET {place}");
        sizes.push(sample.number(&sql).await);
    }
    sizes
}

/// The times of the device's rows.
async fn times(sample: &Sample) -> Vec<i64> {
    let mut query =
        TelemetryQuery { order: SortOrder::Ascending, ..Default::default() }.with_limit(Some(1_000)).unwrap();
    let mut times = Vec::new();
    loop {
        let page = sample.storage.telemetry.range(sample.tenant, &query).await.unwrap();
        times.extend(page.rows.iter().map(|row| row.timestamp.as_millis()));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return times,
        }
    }
}

#[tokio::test]
async fn the_log_is_sealed_when_it_has_enough_rows() {
    let sample = Sample::new().await;
    let mut keeper = Keeper::new(Sealing { after: Duration::from_secs(1 << 36), ..sealing(20) });
    sample.append(sample.device, 19).await;
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 19);
    sample.append(sample.device, 1).await;
    all(&mut keeper, &sample).await;
    assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 0);
    assert_eq!(sizes(&sample).await, [20]);
    assert_eq!(times(&sample).await, [0].into_iter().chain(0..19).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_log_is_sealed_when_a_row_is_old_enough() {
    let sample = Sample::new().await;
    sample.append(sample.device, 1).await;
    let mut keeper = Keeper::new(sealing(1_000));
    all(&mut keeper, &sample).await;
    assert_eq!(sizes(&sample).await, [1]);
}

#[tokio::test]
async fn small_chunks_become_large_ones() {
    let sample = Sample::new().await;
    let mut keeper = Keeper::new(sealing(1));
    for (rows, expected) in [
        (40, vec![40]),
        (20, vec![20, 40]),
        (10, vec![70]),
        (63, vec![63, 70]),
        (1, vec![64, 70]),
        (380, vec![514]),
        (4_096, vec![514, 4_096]),
        (3_600, vec![18, 4_096, 4_096]),
    ] {
        sample.append(sample.device, rows).await;
        all(&mut keeper, &sample).await;
        assert_eq!(sizes(&sample).await, expected, "after {rows}");
    }
    assert_eq!(times(&sample).await.len(), 8_210);
}

#[tokio::test]
async fn the_log_is_sealed_in_batches() {
    let sample = Sample::new().await;
    let other = sample.register(2).await;
    sample.append(sample.device, 30).await;
    sample.append(other, 5).await;
    let mut keeper = Keeper::new(Sealing { batch: 20, ..sealing(1) });
    assert!(keeper.step(&sample.database).await.unwrap());
    assert_eq!(sample.number("SELECT sealed FROM telemetry_log").await, 20);
    assert_eq!(times(&sample).await.len(), 35);
    all(&mut keeper, &sample).await;
    assert_eq!((sample.number("SELECT sealed FROM telemetry_log").await, times(&sample).await.len()), (35, 35));
}

#[tokio::test]
async fn a_process_that_shares_the_database_waits_for_its_turn() {
    let sample = Sample::new().await;
    let (mut first, mut second) = (Keeper::new(sealing(1)), Keeper::new(sealing(1)));
    sample.append(sample.device, 10).await;
    all(&mut first, &sample).await;
    sample.append(sample.device, 10).await;
    assert!(!second.step(&sample.database).await.unwrap());
    assert_eq!(sizes(&sample).await, [10]);
    // The first is gone for longer than its lease.
    sample.execute("UPDATE telemetry_log SET owned_until = 1").await;
    all(&mut second, &sample).await;
    assert_eq!(sizes(&sample).await, [10, 10]);
    assert!(!first.step(&sample.database).await.unwrap());
}

#[tokio::test]
async fn what_a_process_left_unfinished_does_not_count_and_is_removed() {
    let sample = Sample::new().await;
    sample.append(sample.device, 10).await;
    let mut keeper = Keeper::new(sealing(1));
    all(&mut keeper, &sample).await;
    sample.append(sample.device, 3).await;
    // As if it had ended after it wrote chunks: they are of a batch that never came to count.
    sample
        .execute(
            "INSERT INTO telemetry_chunks (tenant, device, batch, first_at, last_at, row_count, bytes, content)
            SELECT tenant, device, 99, first_at, last_at, row_count, bytes, content FROM telemetry_chunks",
        )
        .await;
    assert_eq!(times(&sample).await.len(), 13);
    all(&mut keeper, &sample).await;
    assert_eq!(sizes(&sample).await, [3, 10]);
    assert_eq!(times(&sample).await.len(), 13);
}

#[tokio::test]
async fn a_damaged_chunk_is_left_out_and_left_alone() {
    let sample = Sample::new().await;
    let mut keeper = Keeper::new(sealing(1));
    for _ in 0..3 {
        sample.append(sample.device, 30).await;
        all(&mut keeper, &sample).await;
    }
    assert_eq!(sizes(&sample).await, [90]);
    sample.append(sample.device, 40).await;
    all(&mut keeper, &sample).await;
    sample.execute("UPDATE telemetry_chunks SET content = zeroblob(100) WHERE row_count = 90").await;
    assert_eq!(times(&sample).await, (0..40).collect::<Vec<_>>());
    sample.append(sample.device, 450).await;
    all(&mut keeper, &sample).await;
    assert_eq!(sizes(&sample).await, [90, 490]);
    assert_eq!(times(&sample).await.len(), 490);
}

#[tokio::test]
async fn nothing_of_a_device_that_is_deleted_meanwhile_comes_back() {
    let sample = Sample::new().await;
    let other = sample.register(2).await;
    sample.append(sample.device, 10).await;
    sample.append(other, 10).await;
    sample.storage.devices.delete(sample.tenant, sample.device).await.unwrap();
    let mut keeper = Keeper::new(sealing(1));
    all(&mut keeper, &sample).await;
    assert_eq!(sizes(&sample).await, [10]);
    assert_eq!(times(&sample).await.len(), 10);
}

#[tokio::test]
async fn a_long_log_is_sealed_when_a_database_is_migrated() {
    let sample = Sample::new().await;
    sample.append(sample.device, 500).await;
    let sealing = Sealing { after: Duration::from_secs(1 << 36), batch: 100, ..sealing(30) };
    migrate(Options { sealing, ..sample.options.clone() }).await.unwrap();
    assert_eq!(sample.number("SELECT sealed FROM telemetry_log").await, 200);
    assert_eq!(times(&sample).await.len(), 500);
}

#[tokio::test]
async fn a_database_is_open_before_its_long_log_is_sealed() {
    let sample = Sample::new().await;
    sample.append(sample.device, 500).await;
    // Another process would seal it first.
    sample.execute("UPDATE telemetry_log SET owner = x'01', owned_until = 1e15").await;
    let opened = open(Options { sealing: sealing(1), ..sample.options.clone() }).await.unwrap();
    assert_eq!(sample.number("SELECT sealed FROM telemetry_log").await, 0);
    opened.health.close().await;
}

#[tokio::test]
async fn a_process_that_closes_the_database_leaves_the_history_to_the_next() {
    let sample = Sample::new().await;
    let opened = open(Options { sealing: Sealing { every: Duration::ZERO, ..sealing(1) }, ..sample.options.clone() });
    let opened = opened.await.unwrap();
    sample.append(sample.device, 10).await;
    while sample.number("SELECT sealed FROM telemetry_log").await == 0 {
        tokio::task::yield_now().await;
    }
    opened.health.close().await;
    sample.append(sample.device, 10).await;
    all(&mut Keeper::new(sealing(1)), &sample).await;
    assert_eq!(sizes(&sample).await, [10, 10]);
}

/// Appends rows of a few keys, some of which come and go.
async fn append_keys(sample: &Sample, times: std::ops::Range<i64>) {
    let message = |at: i64| pocket_domain::NewTelemetry {
        payload: pocket_domain::Payload::from_stored(format!(r#"{{"t":{at},"":{at},"n{}":{at}}}"#, at / 50)),
        ..sample.message(sample.device, at)
    };
    sample.storage.telemetry.append(times.map(message).collect()).await.unwrap();
}

async fn latest(sample: &Sample) -> Vec<(String, String)> {
    let told = sample
        .storage
        .telemetry
        .latest(sample.tenant, sample.device, &pocket_domain::LatestQuery::default())
        .await
        .unwrap();
    told.values.into_iter().map(|value| (value.key.to_string(), value.value.to_string())).collect()
}

#[tokio::test]
async fn devices_whose_chunks_are_older_than_the_table_of_last_values_are_searched_and_then_known() {
    let sample = Sample::new().await;
    let mut keeper = Keeper::new(sealing(1));
    for part in 0..4 {
        append_keys(&sample, part * 100..part * 100 + 100).await;
        all(&mut keeper, &sample).await;
    }
    append_keys(&sample, 400..420).await;
    let known = latest(&sample).await;
    assert_eq!(known.len(), 11);
    // As a database of an earlier version is after its migration.
    let count = sample.number("SELECT count(*) FROM telemetry_latest").await;
    assert_eq!(count, 10);
    sample.execute("DELETE FROM telemetry_latest").await;
    sample.execute("INSERT INTO telemetry_latest_due SELECT DISTINCT device FROM telemetry_chunks").await;
    assert_eq!(latest(&sample).await, known, "searched");
    let decoded = sample.storage.health.decoding().done;
    assert!(decoded > 0);
    assert!(values::fill(&sample.database, &keeper.lease, &mut keeper.sealer.met).await.unwrap());
    assert!(!values::fill(&sample.database, &keeper.lease, &mut keeper.sealer.met).await.unwrap());
    assert_eq!(sample.number("SELECT count(*) FROM telemetry_latest").await, count);
    assert_eq!(latest(&sample).await, known, "known");
    assert_eq!(sample.storage.health.decoding().done, decoded, "nothing is decoded for what is known");
}

#[tokio::test]
async fn a_question_whose_caller_went_away_is_not_worked_on() {
    let sample = Sample::new().await;
    let mut keeper = Keeper::new(sealing(1));
    append_keys(&sample, 0..5_000).await;
    all(&mut keeper, &sample).await;
    let aggregate = |sample: &Sample| {
        let (storage, tenant, device) = (sample.storage.clone(), sample.tenant, sample.device);
        let query = pocket_domain::AggregateQuery {
            devices: vec![device],
            keys: vec![pocket_domain::LeafPath::parse("t").unwrap()],
            aggregate: pocket_domain::Aggregate::Avg,
            interval: "1s".parse().unwrap(),
            from: Timestamp::MIN,
            to: Timestamp::from_millis(10_000).unwrap(),
            topic: None,
            group_by: pocket_domain::GroupBy::Device,
            rules: pocket_domain::TopicRules::default(),
        };
        tokio::spawn(async move { storage.telemetry.aggregate(tenant, &query).await })
    };
    // One job holds the decoders until all questions wait behind it.
    let decoders = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).max(1);
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let mut holding = Vec::new();
    for _ in 0..decoders {
        let (held, db) = (Arc::clone(&held), Arc::clone(&sample.database));
        let tenant = sample.tenant;
        holding.push(tokio::spawn(async move { db.decoders.run(tenant, move |_| held.lock().unwrap().recv()).await }));
    }
    let before = Arc::strong_count(&sample.database);
    let asked: Vec<_> = (0..4).map(|_| aggregate(&sample)).collect();
    while sample.storage.health.decoding().under_way < (decoders + 4) as u64 {
        tokio::task::yield_now().await;
    }
    for asked in asked {
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
    }
    // Each ends its transaction when it hears that nobody waits.
    while Arc::strong_count(&sample.database) > before {
        tokio::task::yield_now().await;
    }
    drop(go_on);
    for holding in holding {
        assert!(holding.await.unwrap().is_ok());
    }
    while sample.storage.health.decoding().under_way > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sample.storage.health.decoding().given_up, 4);
    assert!(aggregate(&sample).await.unwrap().is_ok());
}
