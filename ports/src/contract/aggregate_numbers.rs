//! Cases of [`TelemetryStore::aggregate`](crate::TelemetryStore::aggregate): how exact its numbers are.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use std::collections::BTreeMap;

use super::aggregate::{ALL, ask, buckets, keys, of};
use super::fixture::{at, device, message, tenant};
use super::reading::{TOPIC, append, append_payloads};
use crate::Storage;
use pocket_domain::{Aggregate, AggregateQuery, DeviceId, NewTelemetry, Payload, TenantId, Timestamp};

pub async fn numbers_of_any_size_are_points(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    for (minute, text, value) in [
        (0, "1e300", 1e300),
        (1, "-1e300", -1e300),
        (2, "9007199254740993", 9_007_199_254_740_992.0),
        (3, "12345678901234567890", 12_345_678_901_234_567_890.0),
        (4, "-9223372036854775808", -9_223_372_036_854_775_808.0),
        (5, "5e-324", 5e-324),
        (6, "0.1", 0.1),
        (7, "179769313486231570000000000000000000000", 179_769_313_486_231_570_000_000_000_000_000_000_000.0),
        (8, "-0", -0.0),
    ] {
        append_payloads(storage, acme, boiler, &[(60 * minute, &format!(r#"{{"t":{text}}}"#))]).await;
        let query = AggregateQuery { from: at(60 * minute), to: at(60 * minute + 1), ..of(boiler, Aggregate::Avg) };
        for aggregate in ALL {
            let expected = if aggregate == Aggregate::Count { 1.0 } else { value };
            let found = buckets(storage, acme, &AggregateQuery { aggregate, ..query.clone() }).await;
            assert_eq!(found, [(60 * minute as i64 - 20, expected, 1)], "{text} {aggregate:?}");
        }
    }
}

pub async fn a_sum_beyond_the_range_of_a_double_is_not_finite(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":1.5e308}"#), (2, r#"{"t":1.7e308}"#)]).await;
    for (aggregate, expected) in
        ALL.into_iter().zip([None, Some(1.5e308), Some(1.7e308), None, Some(2.0), Some(1.5e308), Some(1.7e308)])
    {
        let found = ask(storage, acme, &of(boiler, aggregate)).await;
        let bucket = found[0].buckets[0];
        assert_eq!((bucket.finite(), bucket.count), (expected, 2), "{aggregate:?}");
    }
}

/// The points of a device and key, in the order in which they were sent.
type Points = BTreeMap<(DeviceId, &'static str), Vec<(Timestamp, f64)>>;

/// Sends 6,000 messages of three devices, in any order of time, and tells their points.
async fn send_thousands(storage: &Storage, tenant: TenantId, devices: &[DeviceId]) -> Points {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    // Marsaglia, "Xorshift RNGs" (2003).
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let (mut messages, mut points) = (Vec::new(), Points::new());
    for _ in 0..6_000 {
        let device = devices[random(devices.len() as u64) as usize];
        let second = random(500);
        let (t, u) = (random(20_000) as f64 / 8.0 - 1_000.0, random(9) as f64);
        let payload = match random(10) {
            0 => format!(r#"{{"t":"{t}","a":{{"u":{u}}}}}"#),
            _ => format!(r#"{{"t":{t},"a":{{"u":[{u}]}}}}"#),
        };
        let (key, point) = if payload.contains('[') { ("t", t) } else { ("a.u", u) };
        points.entry((device, key)).or_default().push((at(second), point));
        messages
            .push(NewTelemetry { payload: Payload::from_stored(payload), ..message(tenant, device, TOPIC, second) });
    }
    for part in messages.chunks(700) {
        append(storage, part.to_vec()).await;
    }
    points
}

/// The aggregate, and the sum of the absolute values, of points in the order of time.
fn plainly(points: &[f64], aggregate: Aggregate) -> (f64, f64) {
    let sum: f64 = points.iter().sum();
    let value = match aggregate {
        Aggregate::Avg => sum / points.len() as f64,
        Aggregate::Min => points.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregate::Max => points.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregate::Sum => sum,
        Aggregate::Count => points.len() as f64,
        Aggregate::First => points[0],
        Aggregate::Last => points[points.len() - 1],
    };
    (value, points.iter().map(|point| point.abs()).sum())
}

pub async fn thousands_of_points_give_what_plain_addition_gives(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut devices = Vec::new();
    for name in ["boiler", "pump", "valve"] {
        devices.push(device(storage, acme, name).await);
    }
    let mut points = send_thousands(storage, acme, &devices).await;
    // Stable: messages of one time stay in the order of their ids.
    points.values_mut().for_each(|points| points.sort_by_key(|(time, _)| *time));
    for (interval, from, to) in [("1m", 0, 600), ("7s", 3, 333), ("1h", 17, 499), ("1s", 100, 400)] {
        for aggregate in ALL {
            let query = AggregateQuery {
                devices: devices.clone(),
                keys: keys(&["a.u", "t"]),
                interval: interval.parse().unwrap(),
                from: at(from),
                to: at(to),
                ..of(devices[0], aggregate)
            };
            for series in ask(storage, acme, &query).await {
                let key = if series.key.as_str() == "t" { "t" } else { "a.u" };
                let mut expected: BTreeMap<Timestamp, Vec<f64>> = BTreeMap::new();
                for (time, point) in &points[&(series.device_id, key)] {
                    if (at(from)..at(to)).contains(time) {
                        expected.entry(query.interval.start_of(*time)).or_default().push(*point);
                    }
                }
                let starts: Vec<Timestamp> = series.buckets.iter().map(|bucket| bucket.start).collect();
                assert_eq!(starts, expected.keys().copied().collect::<Vec<_>>(), "{query:?}");
                for (bucket, points) in series.buckets.iter().zip(expected.values()) {
                    let (value, scale) = plainly(points, aggregate);
                    let exact = !matches!(aggregate, Aggregate::Avg | Aggregate::Sum);
                    let near = if exact { 0.0 } else { scale * 1e-9 };
                    assert!((bucket.value - value).abs() <= near, "{bucket:?} {value} {query:?}");
                    assert_eq!(bucket.count, points.len() as u64);
                }
            }
        }
    }
}
