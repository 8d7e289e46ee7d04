//! Damage that only an index, a reference or a moment shows.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::sync::{Arc, Mutex};

use pocket_ports::{CheckReport, Checked, Finding};

use super::open_check;
use crate::sample::Sample;

#[derive(Default)]
struct Found(Mutex<Vec<String>>);

impl CheckReport for Found {
    fn found(&self, finding: Finding) {
        self.0.lock().unwrap().push(finding.to_string());
    }

    fn progress(&self, _: &'static str, _: u64, _: u64) {}
}

pub(crate) async fn check(sample: &Sample) -> (Checked, Vec<String>) {
    let found = Arc::new(Found::default());
    let checked = open_check(&sample.options).await.unwrap().check(None, Arc::clone(&found) as _).await.unwrap();
    let found = std::mem::take(&mut *found.0.lock().unwrap());
    (checked, found)
}

async fn sample() -> Sample {
    let sample = Sample::new().await;
    sample.append(sample.device, 10).await;
    sample.connect(sample.device, "a").await;
    sample
}

#[tokio::test]
async fn what_a_row_must_be_is_told_with_its_table() {
    let sample = sample().await;
    let (checked, found) = check(&sample).await;
    assert_eq!((found.len(), checked.chunks, checked.messages), (0, 0, 10), "{found:?}");
    for (sql, table, what) in [
        ("UPDATE tenants SET name = 'No Name'", "tenants key 1", "name"),
        ("UPDATE devices SET labels = '{}'", "devices key 1", "invalid type: map"),
        ("UPDATE devices SET id = x'00'", "devices key 1", "expected 16 bytes"),
        ("UPDATE topics SET name = 'a/#'", "topics key 1", "topic"),
        ("UPDATE device_events SET kind = 'x'", "device_events of the device of key 1", "an event of a device is"),
        ("UPDATE device_presence SET remote_address = 'x'", "device_presence of the device of key 1", "invalid socket"),
        ("UPDATE telemetry_log SET batch = -1", "telemetry_log", "batch is -1"),
        ("UPDATE telemetry SET timestamp = -5 WHERE id = 3", "telemetry id 3", "its time is -5 ms"),
        ("UPDATE telemetry SET tenant = 5 WHERE id = 3", "telemetry id 3", "its device is of another tenant"),
        ("UPDATE telemetry SET device = 5 WHERE id = 3", "telemetry id 3", "its device cannot be found"),
    ] {
        let sample = self::sample().await;
        sample.execute(sql).await;
        let (_, found) = check(&sample).await;
        let is_meant = |line: &String| line.starts_with(table) && line.contains(what);
        assert!(found.iter().any(is_meant), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn a_reference_to_what_is_not_there_is_told() {
    let sample = sample().await;
    let database = sea_orm::Database::connect(&sample.options.url).await.unwrap();
    let sql = "PRAGMA foreign_keys = OFF; DELETE FROM tenants";
    sea_orm::ConnectionTrait::execute_unprepared(&database, sql).await.unwrap();
    database.close().await.unwrap();
    let (_, found) = check(&sample).await;
    for line in [
        "the file row 1: a row of devices refers to one of tenants that is not there",
        "topics key 1: its tenant cannot be found",
    ] {
        assert!(found.iter().any(|found| found == line), "{line}: {found:?}");
    }
}

#[tokio::test]
async fn an_index_that_lacks_a_row_is_told() {
    let sample = sample().await;
    let sql = "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = 'CREATE INDEX topics_name ON topics (name, tenant)' WHERE name = 'topics_name';
        PRAGMA writable_schema = OFF";
    let database = sea_orm::Database::connect(&sample.options.url).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&database, sql).await.unwrap();
    database.close().await.unwrap();
    let (_, found) = check(&sample).await;
    assert!(found.iter().any(|line| line.starts_with("the file: ") && line.contains("topics_name")), "{found:?}");
}
