//! The file of SQLite, as SQLite itself sees it.

use pocket_ports::Finding;
use sea_orm::QueryResult;

use super::{Check, rows};
use crate::error::Error;

impl Check<'_> {
    /// Pages, indexes and the references between tables.
    pub(super) async fn file(&self) -> Result<(), Error> {
        for row in rows(self.db.reader(), "PRAGMA integrity_check".to_owned()).await? {
            let said: String = row.try_get_by_index(0)?;
            if said != "ok" {
                self.found(Finding::new("the file", said));
            }
        }
        for row in rows(self.db.reader(), "PRAGMA foreign_key_check".to_owned()).await? {
            let (table, row, parent) = broken(&row)?;
            let entry = row.map(|row| format!("row {row}"));
            let what = format!("a row of {table} refers to one of {parent} that is not there");
            self.found(Finding { entry, ..Finding::new("the file", what) });
        }
        Ok(())
    }
}

fn broken(row: &QueryResult) -> Result<(String, Option<i64>, String), Error> {
    Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?))
}
