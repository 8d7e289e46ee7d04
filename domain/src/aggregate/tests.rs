//! Lengths of buckets, their alignment, and the bounds of a question.

use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn interval(text: &str) -> Interval {
    text.parse().unwrap()
}

fn query(interval: &str, from: i64, to: i64) -> AggregateQuery {
    AggregateQuery {
        devices: vec![DeviceId::new(at(0), [0; 10])],
        keys: vec![LeafPath::parse("t").unwrap()],
        aggregate: Aggregate::Avg,
        interval: interval.parse().unwrap(),
        from: at(from),
        to: at(to),
        topic: None,
        group_by: GroupBy::Device,
        rules: TopicRules::default(),
    }
}

#[test]
fn aggregates_are_parsed_by_name() {
    assert_eq!("avg".parse(), Ok(Aggregate::Avg));
    assert_eq!("last".parse(), Ok(Aggregate::Last));
    for wrong in ["", "mean", "AVG", "avg ", "median"] {
        assert_eq!(wrong.parse::<Aggregate>().unwrap_err().field, "agg", "{wrong}");
    }
}

#[test]
fn intervals_are_a_number_and_a_unit() {
    for (text, seconds) in [("1s", 1), ("10s", 10), ("15m", 900), ("1h", 3_600), ("7d", 604_800), ("366d", 31_622_400)]
    {
        assert_eq!(interval(text).as_millis(), seconds * 1_000);
        assert_eq!(interval(text).to_string(), text);
    }
    assert_eq!(interval("90s").to_string(), "90s");
    assert_eq!(interval("3600s").to_string(), "1h");
    assert_eq!(interval("31622400s"), Interval::MAX);
    for wrong in
        ["", "s", "10", "0s", "+1s", "-1s", "1.5h", "1w", "1 h", "1hh", "h1", "1ms", "367d", "31622401s", "é", "1é"]
    {
        let error = wrong.parse::<Interval>().unwrap_err();
        assert!(error.field == "interval" && error.message.contains("1s to 366d"), "{wrong}: {error}");
    }
    assert!("99999999999999999999d".parse::<Interval>().is_err());
    assert!("18446744073709551615d".parse::<Interval>().is_err());
}

#[test]
fn buckets_start_at_multiples_since_1970() {
    let moment: Timestamp = "2026-11-23T11:14:15.250Z".parse().unwrap();
    for (text, start) in [
        ("10s", "2026-11-23T11:14:10Z"),
        ("15m", "2026-11-23T11:00:00Z"),
        ("1h", "2026-11-23T11:00:00Z"),
        ("1d", "2026-11-23T00:00:00Z"),
        // 1970-01-01 was a Thursday, and so is this.
        ("7d", "2026-11-19T00:00:00Z"),
    ] {
        assert_eq!(interval(text).start_of(moment), start.parse().unwrap(), "{text}");
    }
    assert!(Interval::MAX.start_of(Timestamp::MAX) <= Timestamp::MAX);
}

#[test]
fn a_range_touches_buckets_that_begin_before_it_and_none_that_begin_at_its_end() {
    for (from, to, starts) in [
        (0, 2_000, vec![0, 1_000]),
        (1, 2_001, vec![0, 1_000, 2_000]),
        (999, 1_000, vec![0]),
        (1_000, 1_001, vec![1_000]),
        (1_500, 1_500, vec![]),
        (0, 0, vec![]),
    ] {
        let query = query("1s", from, to);
        assert_eq!(query.starts().map(Timestamp::as_millis).collect::<Vec<_>>(), starts, "{from}..{to}");
        assert_eq!(query.buckets(), starts.len() as u64);
    }
}

#[test]
fn a_range_is_not_reversed() {
    assert_eq!(query("1s", 5, 5).check(), Ok(()));
    assert_eq!(query("1s", 6, 5).check().unwrap_err().field, "from");
}

#[test]
fn devices_and_keys_have_bounds() {
    let small = query("1d", 0, 1);
    let with = |devices: usize, keys: usize| AggregateQuery {
        devices: vec![small.devices[0]; devices],
        keys: vec![small.keys[0].clone(); keys],
        ..small.clone()
    };
    assert_eq!(with(0, 1).check(), Ok(()));
    assert_eq!(with(100, 20).check(), Ok(()));
    assert_eq!(with(101, 1).check().unwrap_err().field, "deviceId");
    assert_eq!(with(1, 21).check().unwrap_err().field, "key");
    assert_eq!(with(1, 0).check().unwrap_err().field, "key");
}

#[test]
fn buckets_have_bounds() {
    assert_eq!(query("1s", 0, 10_000_000).check(), Ok(()));
    let error = query("1s", 0, 10_000_001).check().unwrap_err();
    assert!(error.field == "interval" && error.message.contains("10001") && error.message.contains("10000"), "{error}");
    let whole_time = query("1s", 0, Timestamp::MAX.as_millis());
    assert_eq!(whole_time.check().unwrap_err().field, "interval");
    assert_eq!(query("366d", 0, Timestamp::MAX.as_millis()).check(), Ok(()));

    let several = |devices: usize| AggregateQuery {
        devices: vec![query("1s", 0, 1).devices[0]; devices],
        ..query("1s", 0, 10_000_000)
    };
    assert_eq!(several(10).check(), Ok(()));
    let error = several(11).check().unwrap_err();
    assert!(error.field == "interval" && error.message.contains("100000"), "{error}");
}

proptest! {
    #[test]
    fn every_moment_of_a_range_is_in_one_of_its_buckets(
        from in 0i64..100_000_000, length in 1i64..1_000_000, seconds in 1i64..5_000, part in 0.0..1.0,
    ) {
        let query = query(&format!("{seconds}s"), from, from + length);
        let moment = at(from + (length as f64 * part) as i64);
        let starts: Vec<Timestamp> = query.starts().collect();
        let within = |start: &&Timestamp| **start <= moment && moment.as_millis() < start.as_millis() + seconds * 1_000;
        prop_assert_eq!(starts.iter().filter(within).collect::<Vec<_>>(), [&query.interval.start_of(moment)]);
        prop_assert_eq!(starts.len() as u64, query.buckets());
        prop_assert!(starts.iter().all(|start| start.as_millis() % (seconds * 1_000) == 0));
    }

    #[test]
    fn an_interval_comes_back_from_its_text(seconds in 1u64..=31_622_400) {
        let interval = interval(&format!("{seconds}s"));
        prop_assert_eq!(interval.to_string().parse(), Ok(interval));
    }

    #[test]
    fn parsing_never_panics(text: String) {
        let _ = (text.parse::<Interval>(), text.parse::<Aggregate>(), LeafPath::parse(&text));
    }
}
