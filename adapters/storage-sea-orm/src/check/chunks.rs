//! Chunks: their content, what the table says of them, and what they refer to.

use std::collections::{BTreeSet, HashMap, HashSet};

use pocket_domain::Timestamp;
use pocket_ports::{Finding, StorageError};
use pocket_telemetry_codec::Damaged;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement};

use super::content::{self, Content};
use super::doubles::{Span, shared};
use super::names::{self, Owner};
use super::{Check, count, told};
use crate::error::Error;
use crate::telemetry::{Chunks, Sealed, keys_of_device, moment};

/// Chunks and bytes that are read together.
const MOST_CHUNKS: usize = 64;
const MOST_BYTES: i64 = 4_000_000;

/// A chunk as the table has it.
#[derive(Clone, Copy, Debug, FromQueryResult)]
struct Row {
    key: i64,
    tenant: i64,
    first_at: i64,
    last_at: i64,
    row_count: i64,
    bytes: i64,
}

/// What the chunks of a device are compared with.
struct Device<'a> {
    transaction: &'a DatabaseTransaction,
    sealed: Sealed,
    owner: Option<Owner>,
    keys: HashSet<String>,
    /// The tenants of the topics that were looked up.
    topics: HashMap<i64, Option<i64>>,
}

impl Check<'_> {
    /// All chunks that count, device by device.
    pub(super) async fn chunks(&mut self) -> Result<(), Error> {
        let all = count(self.db.reader(), "telemetry_chunks").await?;
        let mut device = next_device(self.db.reader(), i64::MIN).await?;
        while let Some(key) = device {
            let done = self.device(key, all).await;
            self.go_on("telemetry_chunks", done)?;
            device = next_device(self.db.reader(), key).await?;
        }
        Ok(())
    }

    async fn device(&mut self, device: i64, all: u64) -> Result<(), Error> {
        let (transaction, sealed) = moment(self.db).await?;
        let owner = names::owners(&transaction, [device].into()).await?.remove(&device);
        let keys = keys_of_device(&transaction, device).await?.into_iter().collect();
        let rows = counting(&transaction, device, sealed.batch).await?;
        let mut device = Device { transaction: &transaction, sealed, owner, keys, topics: HashMap::new() };
        let mut spans = Vec::new();
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let (part, others) = rest.split_at(portion(rest));
            for (row, content) in self.read(&device, part).await? {
                self.checked.chunks += 1;
                match content {
                    Ok(content) => {
                        self.checked.messages += content.rows as u64;
                        spans.push(Span { key: row.key, first: *content.ids.start(), last: *content.ids.end() });
                        for what in device.wrong(&row, &content).await? {
                            self.found(device.finding(&row, what));
                        }
                    }
                    Err(damaged) => self.found(device.finding(&row, damaged.to_string())),
                }
            }
            self.report.progress("telemetry_chunks", self.checked.chunks, all);
            rest = others;
        }
        let by_key: HashMap<i64, &Row> = rows.iter().map(|row| (row.key, row)).collect();
        for ((one, other), (count, first)) in shared(&transaction, spans).await? {
            let what = format!("{count} of its rows are in the chunk of key {other} too, the first is {first}");
            if let Some(row) = by_key.get(&one) {
                self.found(device.finding(row, what));
            }
        }
        Ok(())
    }

    /// Reads and decodes chunks. Where one cannot be read they are tried one by one.
    async fn read(&self, device: &Device<'_>, part: &[Row]) -> Result<Vec<(Row, Result<Content, Damaged>)>, Error> {
        let keys: Vec<i64> = part.iter().map(|row| row.key).collect();
        let mut contents = HashMap::new();
        match Chunks::contents(device.transaction, &keys).await {
            Ok(found) => contents.extend(found),
            Err(_) => {
                for row in part {
                    match Chunks::contents(device.transaction, &[row.key]).await.map_err(StorageError::from) {
                        Ok(found) => contents.extend(found),
                        Err(away @ StorageError::Unavailable(_)) => return Err(away.into()),
                        Err(error) => self.found(device.finding(row, told(error))),
                    }
                }
            }
        }
        let part = part.to_vec();
        let decode = move || {
            let content = |row: Row| Some((row, content::read(contents.get(&row.key)?)));
            part.into_iter().filter_map(content).collect()
        };
        Ok(tokio::task::spawn_blocking(decode).await.map_err(|error| DbErr::Custom(error.to_string()))?)
    }
}

impl Device<'_> {
    fn finding(&self, row: &Row, what: impl Into<String>) -> Finding {
        let time = |millis| Timestamp::from_millis(millis).ok();
        Finding {
            entry: Some(format!("key {}", row.key)),
            tenant_id: self.owner.map(|owner| owner.tenant_id),
            device_id: self.owner.map(|owner| owner.device_id),
            times: time(row.first_at).zip(time(row.last_at)),
            ..Finding::new("telemetry_chunks", what)
        }
    }

    /// What is wrong with a chunk that can be read.
    async fn wrong(&mut self, row: &Row, content: &Content) -> Result<Vec<String>, DbErr> {
        let mut wrong = content.wrong.clone();
        let told = [
            ("first_at", row.first_at, *content.times.start()),
            ("last_at", row.last_at, *content.times.end()),
            ("row_count", row.row_count, content.rows.cast_signed() as i64),
            ("bytes", row.bytes, content.bytes.cast_signed() as i64),
        ];
        let differ = told.iter().filter(|(_, told, is)| told != is);
        wrong.extend(differ.map(|(name, told, is)| format!("{name} is {told}, and {is} in its content")));
        if content.ids.end() > &self.sealed.sealed.unsigned_abs() {
            let (last, sealed) = (content.ids.end(), self.sealed.sealed);
            wrong.push(format!(
                "its rows up to {last} are behind {sealed}, the last that is sealed, and so in the log too"
            ));
        }
        match self.owner {
            None => wrong.push("its device cannot be found".to_owned()),
            Some(owner) if owner.tenant != row.tenant => wrong.push("its device is of another tenant".to_owned()),
            Some(_) => {}
        }
        if let Some(key) = content.keys.iter().find(|key| !self.keys.contains(*key)) {
            wrong.push(format!("its key {key:?} is not among those of the device in telemetry_keys"));
        }
        wrong.extend(self.wrong_topics(row.tenant, &content.topics).await?);
        Ok(wrong)
    }

    async fn wrong_topics(&mut self, tenant: i64, topics: &[i64]) -> Result<Option<String>, DbErr> {
        let unknown: BTreeSet<i64> = topics.iter().copied().filter(|topic| !self.topics.contains_key(topic)).collect();
        if !unknown.is_empty() {
            let found = names::tenants_of_topics(self.transaction, unknown.clone()).await?;
            self.topics.extend(unknown.into_iter().map(|topic| (topic, found.get(&topic).copied())));
        }
        let wrong = topics.iter().find(|topic| self.topics.get(topic) != Some(&Some(tenant)));
        Ok(wrong.map(|topic| format!("its topic of key {topic} is not one of its tenant")))
    }
}

async fn next_device(connection: &impl ConnectionTrait, after: i64) -> Result<Option<i64>, DbErr> {
    let sql = format!("SELECT min(device) AS device FROM telemetry_chunks WHERE device > {after}");
    let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), sql)).await?;
    row.map(|row| row.try_get("", "device")).transpose().map(Option::flatten)
}

async fn counting(transaction: &DatabaseTransaction, device: i64, batch: i64) -> Result<Vec<Row>, DbErr> {
    let sql = format!(
        "SELECT key, tenant, first_at, last_at, row_count, bytes FROM telemetry_chunks
        WHERE device = {device} AND batch <= {batch} ORDER BY key"
    );
    Row::find_by_statement(Statement::from_string(transaction.get_database_backend(), sql)).all(transaction).await
}

/// The chunks that are read together, from the beginning.
fn portion(rows: &[Row]) -> usize {
    let mut bytes = 0i64;
    let fits = |row: &&Row| {
        bytes = bytes.saturating_add(row.bytes.max(0));
        bytes <= MOST_BYTES
    };
    rows.iter().take(MOST_CHUNKS).take_while(fits).count().max(1).min(rows.len())
}
