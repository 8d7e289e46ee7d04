//! The keys that a device has in its chunks.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, Statement, Value};

use crate::broker::insert;
use crate::entity::corrupt;
use crate::error::Error;
use crate::json_rows::text;
use crate::key_list::list;

/// Devices in one statement.
const DEVICES: usize = 500;

/// The keys that the payloads of a device have in chunks; in no order.
pub(crate) async fn of_device(connection: &impl ConnectionTrait, device: i64) -> Result<Vec<String>, DbErr> {
    keys(connection, format!("SELECT path FROM telemetry_keys WHERE device = {device}")).await
}

async fn keys(connection: &impl ConnectionTrait, sql: String) -> Result<Vec<String>, DbErr> {
    #[derive(FromQueryResult)]
    struct Key {
        path: String,
    }
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

/// Removes the keys of a device that none of its last values has, and tells them by their hashes. Nothing of a device whose last
/// values are not all there yet.
pub(crate) async fn remove_unused(transaction: &DatabaseTransaction, device: i64) -> Result<Vec<u64>, Error> {
    let backend = transaction.get_database_backend();
    // What stands for U+0000 in keys stands for itself as well.
    let (bytes, is_exact) = match backend {
        DbBackend::Postgres => ("convert_to(telemetry_keys.path, 'UTF8')", "position(chr(65533) IN path) = 0"),
        _ => ("CAST(telemetry_keys.path AS BLOB)", "instr(path, char(65533)) = 0"),
    };
    let of_device =
        format!("device = {device} AND NOT EXISTS (SELECT 1 FROM telemetry_latest_due WHERE device = {device})");
    let sql = format!(
        "DELETE FROM telemetry_keys WHERE {of_device} AND {is_exact} AND NOT EXISTS (SELECT 1 FROM telemetry_latest
            WHERE telemetry_latest.device = {device} AND telemetry_latest.path = {bytes}) RETURNING path"
    );
    let mut removed = keys(transaction, sql).await?;
    let others =
        keys(transaction, format!("SELECT path FROM telemetry_keys WHERE {of_device} AND NOT {is_exact}")).await?;
    if !others.is_empty() {
        let used = used(transaction, device).await?;
        for key in others.into_iter().filter(|key| !used.contains(key)) {
            let sql = format!("DELETE FROM telemetry_keys WHERE device = {device} AND path = $1");
            let statement = Statement::from_sql_and_values(backend, sql, [key.clone().into()]);
            transaction.execute_raw(statement).await?;
            removed.push(key);
        }
    }
    Ok(removed.iter().map(|key| hash_of(device, key)).collect())
}

/// The paths of the last values of a device, as keys are stored.
async fn used(connection: &impl ConnectionTrait, device: i64) -> Result<HashSet<String>, Error> {
    #[derive(FromQueryResult)]
    struct Used {
        path: Vec<u8>,
    }
    let sql = format!("SELECT DISTINCT path FROM telemetry_latest WHERE device = {device}");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let found = Used::find_by_statement(statement).all(connection).await?.into_iter();
    found.map(|used| Ok(text(&String::from_utf8(used.path).map_err(corrupt)?))).collect()
}

/// The keys of devices that are stored, as far as they were met while the history is kept by this process without a break.
#[derive(Default)]
pub(crate) struct Met {
    hashes: HashSet<u64>,
    term: u64,
}

impl Met {
    /// The most; then all are forgotten and met anew.
    pub(crate) const MOST: usize = 200_000;

    /// Forgets all if they were met in another term of keeping the history: others may have removed keys since.
    pub(crate) fn of_term(&mut self, term: u64) {
        if self.term != term {
            *self = Self { hashes: HashSet::new(), term };
        }
    }

    /// Whether a key is not known to be stored.
    pub(crate) fn is_new(&self, device: i64, path: &str) -> bool {
        !self.hashes.contains(&hash_of(device, path))
    }

    /// Notes keys that are committed, by their hashes.
    pub(crate) fn note(&mut self, keys: Vec<u64>) {
        if self.hashes.len() + keys.len() > Self::MOST {
            self.hashes = HashSet::new();
        }
        self.hashes.extend(keys.into_iter().take(Self::MOST));
    }

    /// Forgets keys that go, by their hashes.
    pub(crate) fn forget(&mut self, keys: &[u64]) {
        for key in keys {
            self.hashes.remove(key);
        }
    }
}

/// What a key of a device is remembered as.
pub(crate) fn hash_of(device: i64, path: &str) -> u64 {
    let stored = if path.contains('\0') { Cow::Owned(text(path)) } else { Cow::Borrowed(path) };
    let mut hasher = DefaultHasher::new();
    (device, stored).hash(&mut hasher);
    hasher.finish()
}
