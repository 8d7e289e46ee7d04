//! Rows of the registry and of what is kept beside it: whether each is what the domain allows, and whose it is.

use pocket_domain::{DeviceId, TenantId};
use pocket_ports::Finding;
use sea_orm::QueryResult;
use sea_orm::prelude::Uuid;

use super::tables::{OF_DEVICES, Owned, TABLES, Table};
use super::{Check, rows, told};
use crate::error::Error;

/// Rows that are read together, and devices whose rows are.
const ROWS: usize = 500;
const DEVICES: usize = 100;

impl Check<'_> {
    /// All tables but those of telemetry and of brokers.
    pub(super) async fn registry(&mut self) -> Result<(), Error> {
        for table in TABLES {
            let done = self.table(table).await;
            self.go_on(table.name, done)?;
        }
        for table in OF_DEVICES {
            let done = self.table_of_devices(table).await;
            self.go_on(table.name, done)?;
        }
        let done = self.state_of_log().await;
        self.go_on("telemetry_log", done)
    }

    async fn table(&mut self, table: &Table) -> Result<(), Error> {
        let Table { columns, from, key, .. } = table;
        let mut after = i64::MIN;
        loop {
            let sql = format!(
                "SELECT {key} AS entry_key, {columns} FROM {from} WHERE {key} > {after} ORDER BY {key} LIMIT {ROWS}"
            );
            let page = rows(self.db.reader(), sql).await?;
            for row in &page {
                after = row.try_get("", "entry_key")?;
                self.row(table, row, &format!("key {after}"));
            }
            if page.len() < ROWS {
                return Ok(());
            }
        }
    }

    /// Rows that have no key of their own, by the keys of devices.
    async fn table_of_devices(&mut self, table: &Table) -> Result<(), Error> {
        let Table { columns, from, key, .. } = table;
        let mut after = i64::MIN;
        loop {
            let sql = format!("SELECT key FROM devices WHERE key > {after} ORDER BY key LIMIT {DEVICES}");
            let devices = rows(self.db.reader(), sql).await?;
            // Behind the last device there may be rows of devices that are not there.
            let last = match devices.last() {
                Some(device) if devices.len() == DEVICES => device.try_get("", "key")?,
                _ => i64::MAX,
            };
            let sql = format!("SELECT {columns} FROM {from} WHERE {key} > {after} AND {key} <= {last}");
            for row in rows(self.db.reader(), sql).await? {
                let device = row.try_get::<i64>("", "device").unwrap_or_default();
                self.row(table, &row, &format!("of the device of key {device}"));
            }
            if last == i64::MAX {
                return Ok(());
            }
            after = last;
        }
    }

    fn row(&mut self, table: &Table, row: &QueryResult, entry: &str) {
        self.checked.entries += 1;
        let id = |column| row.try_get::<Option<Uuid>>("", column).ok().flatten();
        let (tenant, device) = (id("owner_tenant"), id("owner_device"));
        let mut wrong = Vec::new();
        if matches!(table.owned, Owned::Tenant | Owned::Device) && tenant.is_none() {
            wrong.push("its tenant cannot be found".to_owned());
        }
        if table.owned == Owned::Device && device.is_none() {
            wrong.push("its device cannot be found".to_owned());
        }
        wrong.extend((table.check)(row).err().map(told));
        for what in wrong {
            self.found(Finding {
                entry: Some(entry.to_owned()),
                tenant_id: tenant.map(TenantId::from_uuid),
                device_id: device.map(DeviceId::from_uuid),
                ..Finding::new(table.name, what)
            });
        }
    }

    /// The one row that says how far the log is sealed.
    async fn state_of_log(&mut self) -> Result<(), Error> {
        let sql = "SELECT sealed, batch, (SELECT max(batch) FROM telemetry_chunks) AS newest FROM telemetry_log";
        let found = rows(self.db.reader(), sql.to_owned()).await?;
        self.checked.entries += found.len() as u64;
        let [row] = &found[..] else {
            self.found(Finding::new("telemetry_log", format!("it has {} rows and must have one", found.len())));
            return Ok(());
        };
        let read = |column| row.try_get::<i64>("", column);
        for (column, value) in [("sealed", read("sealed")?), ("batch", read("batch")?)] {
            if value < 0 {
                self.found(Finding::new("telemetry_log", format!("{column} is {value}")));
            }
        }
        // Chunks of the batch after the one that counts are under way; none are of a later one.
        let newest: Option<i64> = row.try_get::<Option<i64>>("", "newest")?;
        let batch = read("batch")?;
        if let Some(newest) = newest.filter(|newest| *newest > batch.saturating_add(1)) {
            self.found(Finding::new("telemetry_log", format!("batch is {batch}, and there are chunks of {newest}")));
        }
        Ok(())
    }
}
