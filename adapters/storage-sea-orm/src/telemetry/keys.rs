//! The keys that a device has in its chunks.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement, Value};

use crate::broker::insert;
use crate::json_rows::text;
use crate::key_list::list;

/// Devices in one statement.
const DEVICES: usize = 500;

/// The keys that the payloads of a device have, or had, in chunks; in no order.
pub(crate) async fn of_device(connection: &impl ConnectionTrait, device: i64) -> Result<Vec<String>, DbErr> {
    #[derive(FromQueryResult)]
    struct Key {
        path: String,
    }
    let sql = format!("SELECT path FROM telemetry_keys WHERE device = {device}");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    Ok(Key::find_by_statement(statement).all(connection).await?.into_iter().map(|key| key.path).collect())
}

/// How many keys devices have.
pub(crate) async fn count(connection: &impl ConnectionTrait, devices: &[i64]) -> Result<Vec<(i64, i64)>, DbErr> {
    #[derive(FromQueryResult)]
    struct Count {
        device: i64,
        count: i64,
    }
    let mut counts = Vec::new();
    for devices in devices.chunks(DEVICES) {
        let sql = format!(
            "SELECT device, count(*) AS count FROM telemetry_keys WHERE device IN ({}) GROUP BY device",
            list(devices.iter().copied())
        );
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let found = Count::find_by_statement(statement).all(connection).await?;
        counts.extend(found.into_iter().map(|Count { device, count }| (device, count)));
    }
    Ok(counts)
}

/// Adds keys of devices.
pub(crate) async fn add(transaction: &DatabaseTransaction, keys: &[(i64, &str)]) -> Result<(), DbErr> {
    let values: Vec<Value> = keys.iter().flat_map(|(device, path)| [(*device).into(), text(path).into()]).collect();
    insert(transaction, "telemetry_keys (device, path)", 2, "ON CONFLICT DO NOTHING", values).await
}

/// The keys of devices that are stored, as far as they were met.
#[derive(Default)]
pub(crate) struct Met(HashSet<u64>);

impl Met {
    /// The most; then all are forgotten and met anew.
    pub(crate) const MOST: usize = 200_000;

    /// Whether a key is not known to be stored.
    pub(crate) fn is_new(&self, device: i64, path: &str) -> bool {
        !self.0.contains(&hash_of(device, path))
    }

    /// Notes keys that are committed, by their hashes.
    pub(crate) fn note(&mut self, keys: Vec<u64>) {
        if self.0.len() + keys.len() > Self::MOST {
            self.0 = HashSet::new();
        }
        self.0.extend(keys.into_iter().take(Self::MOST));
    }
}

/// What a key of a device is remembered as.
pub(crate) fn hash_of(device: i64, path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (device, path).hash(&mut hasher);
    hasher.finish()
}

/// What a payload is without the figures of its numbers. Payloads of one skeleton have the same keys.
pub(super) fn skeleton(payload: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let (mut is_text, mut is_escaped) = (false, false);
    let rest: Vec<u8> = payload
        .bytes()
        .filter(|byte| {
            let is_figure = !is_text && matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'E');
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_text = !is_text,
                _ => {}
            }
            !is_figure
        })
        .collect();
    rest.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_that_differ_in_their_numbers_have_one_skeleton() {
        let same = |one: &str, other: &str| skeleton(one) == skeleton(other);
        assert!(same(r#"{"a":1.5,"b":[-2,3E4]}"#, r#"{"a":-22,"b":[5,6.0]}"#));
        assert!(same("21.5", "-7"));
        for other in
            [r#"{"b":1}"#, r#"{"a":"1"}"#, r#"{"a":true}"#, r#"{"a1":1}"#, r#"{"a":{"a":1}}"#, r#"{"a":1,"a":1}"#]
        {
            assert!(!same(r#"{"a":1}"#, other), "{other}");
        }
        assert!(!same(r#"{"a1":1}"#, r#"{"a2":1}"#));
        assert!(!same(r#"{"a\"1":1}"#, r#"{"a\"2":1}"#));
    }
}
