//! Cases of [`TelemetryStore::range`](crate::TelemetryStore::range).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use super::fixture::{at, device, message, new_device_id, new_tenant_id, tenant};
use super::reading::{
    TOPIC, append, append_at, in_order, of_device, oldest_first, on_topic, paged, rows, seconds, with,
};
use crate::Storage;
use pocket_domain::{SortOrder, Telemetry, TelemetryId, TelemetryQuery};

pub async fn history_of_another_tenant_is_out_of_reach(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, other, "pump").await);
    append_at(storage, acme, boiler, &[1, 2, 3]).await;
    append_at(storage, other, pump, &[2]).await;
    let first = oldest_first().with_limit(Some(1)).unwrap();
    let cursor = storage.telemetry.range(acme, &first).await.unwrap().next;
    for query in [oldest_first(), on_topic("#"), on_topic(TOPIC), with(oldest_first(), |query| query.cursor = cursor)] {
        assert_eq!(seconds(storage, other, &query).await, [2]);
        assert!(rows(storage, new_tenant_id(), &query).await.is_empty());
    }
    let of_boiler = of_device(boiler, oldest_first());
    assert!(rows(storage, other, &of_boiler).await.is_empty());
}

pub async fn a_history_is_read_both_ways(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_at(storage, acme, boiler, &[1, 2, 3]).await;
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [1, 2, 3]);
    assert_eq!(seconds(storage, acme, &TelemetryQuery::default()).await, [3, 2, 1]);
}

pub async fn messages_of_the_same_time_are_ordered_by_id(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let messages = [pump, boiler, pump, boiler].map(|device| message(acme, device, TOPIC, 5)).to_vec();
    let ids: Vec<_> = append(storage, messages).await.into_iter().map(Option::unwrap).collect();
    let read = |rows: Vec<Telemetry>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(read(rows(storage, acme, &oldest_first()).await), ids);
    assert_eq!(read(paged(storage, acme, &oldest_first(), 1).await), ids);
    let backwards: Vec<_> = ids.into_iter().rev().collect();
    assert_eq!(read(rows(storage, acme, &TelemetryQuery::default()).await), backwards);
    assert_eq!(read(paged(storage, acme, &TelemetryQuery::default(), 1).await), backwards);
}

pub async fn late_messages_come_in_their_place(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_at(storage, acme, boiler, &[10, 30]).await;
    append_at(storage, acme, boiler, &[20, 5]).await;
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [5, 10, 20, 30]);
}

pub async fn from_is_included_and_to_is_not(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_at(storage, acme, boiler, &[1, 2, 3, 4]).await;
    for (from, to, expected) in [
        (Some(2), Some(4), vec![2, 3]),
        (Some(2), None, vec![2, 3, 4]),
        (None, Some(2), vec![1]),
        (Some(3), Some(3), vec![]),
        (Some(5), None, vec![]),
    ] {
        let query = with(oldest_first(), |query| (query.from, query.to) = (from.map(at), to.map(at)));
        assert_eq!(seconds(storage, acme, &query).await, expected, "{from:?} {to:?}");
        let backwards = in_order(SortOrder::Descending, query);
        let reversed: Vec<u64> = expected.into_iter().rev().collect();
        assert_eq!(seconds(storage, acme, &backwards).await, reversed);
    }
}

pub async fn pages_give_every_row_once_both_ways(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let times = [3, 1, 2, 2, 2, 9, 5, 5, 7, 3];
    append_at(storage, acme, boiler, &times).await;
    append_at(storage, acme, pump, &times).await;
    for order in [SortOrder::Ascending, SortOrder::Descending] {
        let query = in_order(order, TelemetryQuery::default());
        let whole = rows(storage, acme, &query).await;
        assert_eq!(whole.len(), 20);
        let of_pump: Vec<_> = whole.iter().filter(|row| row.device_id == pump).cloned().collect();
        for limit in [1, 2, 3, 7, 19, 20, 21] {
            assert_eq!(paged(storage, acme, &query, limit).await, whole);
            let query = of_device(pump, query.clone());
            assert_eq!(paged(storage, acme, &query, limit).await, of_pump);
        }
    }
}

pub async fn pages_stay_right_while_rows_are_added(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let there: Vec<TelemetryId> = append_at(storage, acme, boiler, &[10, 20, 30, 40, 50, 60]).await;
    for order in [SortOrder::Ascending, SortOrder::Descending] {
        let mut query = in_order(order, TelemetryQuery::default()).with_limit(Some(2)).unwrap();
        let mut read = Vec::new();
        loop {
            let page = storage.telemetry.range(acme, &query).await.unwrap();
            read.extend(page.rows.iter().map(|row| row.id));
            append_at(storage, acme, boiler, &[1, 20, 35, 99]).await;
            match page.next {
                Some(_) if read.len() > 200 => break,
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
        let once = |id: &TelemetryId| read.iter().filter(|other| *other == id).count() == 1;
        assert!(there.iter().all(once), "{order:?} {read:?}");
    }
}

pub async fn the_last_page_has_no_next(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_at(storage, acme, boiler, &[1, 2, 3]).await;
    for (limit, expected) in [(2, true), (3, false), (4, false)] {
        let query = TelemetryQuery::default().with_limit(Some(limit)).unwrap();
        let page = storage.telemetry.range(acme, &query).await.unwrap();
        assert_eq!((page.next.is_some(), page.rows.len() as u64), (expected, limit.min(3)));
    }
    append_at(storage, acme, boiler, &(0..1_000).collect::<Vec<_>>()).await;
    assert_eq!(rows(storage, acme, &TelemetryQuery::default()).await.len(), 100);
    let most = TelemetryQuery::default().with_limit(Some(1_000)).unwrap();
    assert_eq!(rows(storage, acme, &most).await.len(), 1_000);
}

pub async fn only_the_device_asked_for_is_read(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    append_at(storage, acme, boiler, &[1, 3]).await;
    append_at(storage, acme, pump, &[2]).await;
    for (device, expected) in [(boiler, vec![1, 3]), (pump, vec![2]), (new_device_id(), vec![])] {
        let query = of_device(device, oldest_first());
        assert_eq!(seconds(storage, acme, &query).await, expected);
    }
}

pub async fn topic_filters_mean_what_mqtt_says(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, other, "pump").await);
    let topics = [
        "a",
        "A",
        "a/",
        "a/b",
        "a/B",
        "a/b/c",
        "a/c",
        "a/%",
        "a/_",
        "a/*",
        "a/?",
        "a/[b]",
        "a/'",
        "a/\\",
        "ab",
        "ab/c",
        "a0",
        "b",
        "b/a",
        "/",
        "/a",
        "//",
        "$SYS",
        "$SYS/a",
        "é",
        "é/b",
        "a/é",
        "a/\u{10FFFF}",
        "a/\u{10FFFF}/x",
        "\u{D7FF}/x",
        "\u{E000}/x",
    ];
    let messages = (0..).zip(topics).flat_map(|(second, topic)| {
        [message(acme, boiler, topic, second), message(other, pump, topic, second + 1_000)]
    });
    append(storage, messages.collect()).await;
    let filters = [
        "#",
        "+",
        "+/+",
        "a",
        "A",
        "a/#",
        "a/+",
        "+/b",
        "a/b",
        "a/b/#",
        "a/+/c",
        "a/%",
        "a/_",
        "a/*",
        "a/?",
        "a/[b]",
        "a/'",
        "a/\\",
        "a/é",
        "é",
        "é/#",
        "/",
        "/#",
        "/+",
        "//",
        "+/",
        "$SYS",
        "$SYS/#",
        "$SYS/+",
        "b/#",
        "nowhere",
        "nowhere/#",
        "nowhere/+",
        "a/\u{10FFFF}/#",
        "\u{D7FF}/#",
        "\u{E000}/#",
    ];
    for filter in filters {
        let query = on_topic(filter);
        let expected: Vec<&str> =
            topics.into_iter().filter(|topic| query.topic.as_ref().unwrap().matches(topic)).collect();
        let read = rows(storage, acme, &query).await;
        assert_eq!(read.iter().map(|row| row.topic.as_str()).collect::<Vec<_>>(), expected, "{filter}");
        assert!(read.iter().all(|row| row.device_id == boiler));
    }
}

pub async fn a_topic_filter_holds_through_all_pages(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let messages = (0..50).map(|second| message(acme, boiler, if second % 3 == 0 { "x/y" } else { "x" }, second));
    append(storage, messages.collect()).await;
    let times = |rows: Vec<Telemetry>| rows.iter().map(|row| row.timestamp).collect::<Vec<_>>();
    let expected: Vec<_> = (0..50).filter(|second| second % 3 == 0).map(at).collect();
    for filter in ["x/y", "x/+", "+/y", "x/y/#"] {
        assert_eq!(times(paged(storage, acme, &on_topic(filter), 4).await), expected);
    }
}

pub async fn conditions_of_a_query_hold_together(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let mut messages = Vec::new();
    for second in 0..20 {
        for device in [boiler, pump] {
            for topic in ["x/a", "x/b", "y"] {
                messages.push(message(acme, device, topic, second));
            }
        }
    }
    append(storage, messages).await;
    let query = with(of_device(boiler, on_topic("x/+")), |query| (query.from, query.to) = (Some(at(5)), Some(at(8))));
    let query = in_order(SortOrder::Descending, query);
    let read = paged(storage, acme, &query, 4).await;
    let described: Vec<_> = read.iter().map(|row| (row.timestamp.since(at(0)).as_secs(), row.topic.as_str())).collect();
    assert_eq!(described, [(7, "x/b"), (7, "x/a"), (6, "x/b"), (6, "x/a"), (5, "x/b"), (5, "x/a")]);
    assert!(read.iter().all(|row| row.device_id == boiler));
}
