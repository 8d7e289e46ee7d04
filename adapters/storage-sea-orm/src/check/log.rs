//! The log: messages that are not yet in chunks.

use std::collections::BTreeSet;

use pocket_domain::Timestamp;
use pocket_ports::Finding;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use super::content::wrong_with;
use super::{Check, count, names, rows};
use crate::error::Error;
use crate::telemetry::moment;

/// Rows that are read together.
const ROWS: usize = 2_000;

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    device: i64,
    topic: i64,
    tenant: i64,
    timestamp: i64,
    received_at: i64,
    payload: String,
}

impl Check<'_> {
    /// All rows that are not sealed, page by page.
    pub(super) async fn log(&mut self) -> Result<(), Error> {
        let all = count(self.db.reader(), "telemetry").await?;
        let (mut after, mut done) = (i64::MIN, 0);
        while let Some(last) = self.log_page(after).await? {
            done += ROWS as u64;
            self.report.progress("telemetry", done.min(all), all);
            after = last;
        }
        Ok(())
    }

    /// The rows behind an id. Returns the id of the last; `None` when there is none.
    async fn log_page(&mut self, after: i64) -> Result<Option<i64>, Error> {
        let (transaction, sealed) = moment(self.db).await?;
        let after = after.max(sealed.sealed);
        let columns = "id, device, topic, tenant, timestamp, received_at, payload";
        let sql = format!("SELECT {columns} FROM telemetry WHERE id > {after} ORDER BY id LIMIT {ROWS}");
        let (mut page, mut last) = (Vec::new(), None);
        for row in rows(&transaction, sql).await? {
            let id: i64 = row.try_get("", "id")?;
            last = Some(id);
            match Row::from_query_result(&row, "") {
                Ok(row) => page.push(row),
                Err(error) => self.found(Finding { entry: Some(format!("id {id}")), ..of_log(error.to_string()) }),
            }
        }
        self.checked.messages += page.len() as u64;
        for finding in wrong(&transaction, &page).await? {
            self.found(finding);
        }
        Ok(last)
    }
}

fn of_log(what: String) -> Finding {
    Finding::new("telemetry", what)
}

async fn wrong(connection: &impl ConnectionTrait, page: &[Row]) -> Result<Vec<Finding>, DbErr> {
    let devices: BTreeSet<i64> = page.iter().map(|row| row.device).collect();
    let owners = names::owners(connection, devices).await?;
    let topics = names::tenants_of_topics(connection, page.iter().map(|row| row.topic).collect()).await?;
    let mut found = Vec::new();
    for row in page {
        let owner = owners.get(&row.device);
        let time = Timestamp::from_millis(row.timestamp);
        let mut wrong = Vec::new();
        match owner {
            None => wrong.push("its device cannot be found".to_owned()),
            Some(owner) if owner.tenant != row.tenant => wrong.push("its device is of another tenant".to_owned()),
            Some(_) => {}
        }
        if topics.get(&row.topic) != Some(&row.tenant) {
            wrong.push(format!("its topic of key {} is not one of its tenant", row.topic));
        }
        if time.is_err() {
            wrong.push(format!("its time is {} ms", row.timestamp));
        }
        wrong.extend(wrong_with(row.received_at, &row.payload));
        found.extend(wrong.into_iter().map(|what| Finding {
            entry: Some(format!("id {}", row.id)),
            tenant_id: owner.map(|owner| owner.tenant_id),
            device_id: owner.map(|owner| owner.device_id),
            times: time.clone().ok().map(|time| (time, time)),
            ..of_log(what)
        }));
    }
    Ok(found)
}
