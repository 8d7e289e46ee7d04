//! The history in a SQLite file, through the storage port: appending, sealing, size, and questions.

mod store;

use std::time::{Duration, Instant};

use pocket_domain::{Aggregate, AggregateQuery, LeafPath, NewTelemetry, SortOrder, TelemetryQuery};
use pocket_storage_sea_orm::Sealing;

use crate::figure::Figure;
use crate::load::percentile;
use crate::measure::Bench;
use crate::scale::History;
use store::{DAY, Store, always, at, device, never};

pub(crate) async fn all(bench: &mut Bench) {
    let scale = bench.scale.history;
    for figures in [many_devices(scale).await, one_device(scale).await, vec![hundred_devices(scale).await]] {
        figures.into_iter().for_each(|figure| bench.table.add(figure));
    }
}

async fn many_devices(scale: History) -> Vec<Figure> {
    let History { devices, batch, rows, .. } = scale;
    let append = async |is_indexed: bool, sealing: Sealing| {
        let store = Store::create(devices, sealing).await;
        if is_indexed {
            store.index().await;
        }
        let rate = store.append(batches(&store, scale)).await;
        (rate, store)
    };
    let (plain, store) = append(false, never()).await;
    let (indexed, other) = append(true, never()).await;
    other.close().await;
    let while_sealing = Sealing { every: Duration::from_millis(10), ..Sealing::default() };
    let (sealing, third) = append(false, while_sealing).await;
    third.close().await;

    let store = store.open_again(always()).await;
    let begun = Instant::now();
    store.sealed().await;
    let seconds = begun.elapsed().as_secs_f64();
    let chunks = store.number("SELECT count(*) FROM telemetry_chunks").await;
    let bytes = store.number("SELECT sum(bytes) FROM telemetry_chunks").await;
    let pages =
        store.number("SELECT (SELECT * FROM pragma_page_count()) - (SELECT * FROM pragma_freelist_count())").await;
    let mut waits = commits_while_sealing(store, scale).await;
    waits.sort_unstable();
    let waited = |share| vec![percentile(&waits, share) / 1e3];
    let name = format!("history: append, {devices} devices, batches of {batch}");
    vec![
        Figure::new(&*name, "rows/s", vec![plain]).goal("300 k"),
        Figure::new("the same with an index by device", "rows/s", vec![indexed])
            .goal("a third")
            .note(format!("{:.1} times slower", plain / indexed)),
        Figure::new("the same while the log is sealed", "rows/s", vec![sealing])
            .goal("0.75 of that without")
            .note(format!("{:.2}", sealing / plain)),
        Figure::new("history: sealing", "rows/s", vec![rows as f64 / seconds])
            .goal("500 k")
            .note(format!("{chunks} chunks")),
        Figure::new("commits of one row while the log is sealed, p99", "ms", waited(99)),
        Figure::new("commits of one row while the log is sealed, longest", "ms", waited(100))
            .goal("20")
            .note(format!("of {}", waits.len())),
        Figure::new("history: bytes a row, in chunks", "bytes", vec![bytes as f64 / rows as f64]),
        Figure::new("history: bytes a row, all of the file", "bytes", vec![(pages * 4_096) as f64 / rows as f64])
            .goal("12"),
    ]
}

/// Batches of all devices, as many rows as are appended.
fn batches(store: &Store, scale: History) -> Vec<Vec<NewTelemetry>> {
    let History { devices, batch, rows, .. } = scale;
    let message = |n: i64| store.message((n % i64::from(devices)) as u32, n, n / i64::from(devices) * 10_000);
    (0..rows / batch).map(|b| (b * batch..(b + 1) * batch).map(message).collect()).collect()
}

/// Fills the log again, and appends one row every few milliseconds until it is sealed: how long each took, in microseconds.
async fn commits_while_sealing(store: Store, scale: History) -> Vec<u32> {
    let store = store.open_again(never()).await;
    store.append(batches(&store, scale)).await;
    let last = store.number("SELECT max(id) FROM telemetry").await;
    let store = store.open_again(always()).await;
    let mut waits = Vec::new();
    while store.number("SELECT sealed FROM telemetry_log").await < last {
        let row = vec![store.message(0, 0, 366 * DAY)];
        let begun = Instant::now();
        store.storage.telemetry.append(row.into()).await.expect("a row is stored");
        waits.push(begun.elapsed().as_micros() as u32);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.close().await;
    waits
}

async fn one_device(scale: History) -> Vec<Figure> {
    let store = Store::create(1, never()).await;
    let (rows, batch) = (scale.year, (scale.year / 100).clamp(1, 10_000));
    let every = 365 * DAY / rows;
    let batches = (0..rows / batch).map(|b| (b * batch..(b + 1) * batch).map(|n| store.message(0, n, n * every)));
    store.append(batches.map(Iterator::collect).collect()).await;
    let store = store.open_again(always()).await;
    store.sealed().await;

    let query = means(1, "1h", 366 * DAY);
    let telemetry = &store.storage.telemetry;
    let answer = telemetry.aggregate(store.tenant, &query).await.expect("means");
    let points: u64 = answer[0].buckets.iter().map(|bucket| bucket.count).sum();
    assert_eq!(points, rows as u64, "each row is a point");
    let page = |from| TelemetryQuery {
        device_id: Some(device(0)),
        from,
        order: if from.is_some() { SortOrder::Ascending } else { SortOrder::Descending },
        ..TelemetryQuery::default()
    };
    let (newest, back) = (page(None), page(Some(at(DAY))));
    let hourly = shortest(scale, async || telemetry.aggregate(store.tenant, &query).await.expect("means")).await;
    let all = pocket_domain::LatestQuery::default();
    let latest = shortest(scale, async || telemetry.latest(store.tenant, device(0), &all).await.expect("values")).await;
    let newest = shortest(scale, async || telemetry.range(store.tenant, &newest).await.expect("rows")).await;
    let back = shortest(scale, async || telemetry.range(store.tenant, &back).await.expect("rows")).await;
    store.close().await;
    vec![
        Figure::new(format!("history: hourly means of one device, {points} points"), "ms", vec![hourly]).goal("30"),
        Figure::new("history: latest values of that device", "ms", vec![latest]).goal("2"),
        Figure::new("history: its newest 100 rows", "ms", vec![newest]).goal("3"),
        Figure::new("history: its first 100 rows, a year back", "ms", vec![back]).goal("5"),
    ]
}

async fn hundred_devices(scale: History) -> Figure {
    const DEVICES: u32 = 100;
    let store = Store::create(DEVICES, never()).await;
    let message = |n: i64| store.message((n % 100) as u32, n / 100, n / 100 * 10_000);
    let batches: Vec<i64> = (0..scale.day).collect();
    let batches = batches.chunks(80).map(|rows| (rows[0] * 100..(rows[0] + rows.len() as i64) * 100).map(message));
    store.append(batches.map(Iterator::collect).collect()).await;
    let store = store.open_again(always()).await;
    store.sealed().await;
    let query = means(DEVICES, "5m", DAY);
    let ask = async || store.storage.telemetry.aggregate(store.tenant, &query).await.expect("means");
    let points: u64 = ask().await.iter().flat_map(|series| &series.buckets).map(|bucket| bucket.count).sum();
    assert_eq!(points, scale.day as u64 * u64::from(DEVICES), "each row is a point");
    let millis = shortest(scale, ask).await;
    store.close().await;
    let name = format!("history: five-minute means of {DEVICES} devices, {points} points");
    Figure::new(name, "ms", vec![millis]).goal("60")
}

/// A mean of the temperature over the time from the start on.
fn means(devices: u32, interval: &str, to: i64) -> AggregateQuery {
    AggregateQuery {
        devices: (0..devices).map(device).collect(),
        keys: vec![LeafPath::parse("temperature").expect("a path")],
        aggregate: Aggregate::Avg,
        interval: interval.parse().expect("an interval"),
        from: at(0),
        to: at(to),
        topic: None,
        group_by: pocket_domain::GroupBy::Device,
        rules: pocket_domain::TopicRules::default(),
    }
}

/// The shortest of some times, in milliseconds.
async fn shortest<T>(scale: History, work: impl AsyncFn() -> T) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..scale.questions {
        let begun = Instant::now();
        work().await;
        best = best.min(begun.elapsed().as_secs_f64() * 1e3);
    }
    best
}
