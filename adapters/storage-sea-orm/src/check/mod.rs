//! Verification of a whole database, while others may use it.
//!
//! Each part reads what it compares in one transaction, which sees one moment: a device with its chunks, a page of the log with
//! the devices and topics that it names. So what others write meanwhile is never taken for damage. Nothing is written, and the
//! schema is not brought up to date. What cannot be read at all is told, and the next part follows.

mod chunks;
mod content;
mod doubles;
mod file;
mod log;
mod names;
mod registry;
mod sessions;
mod tables;

use std::sync::Arc;

use async_trait::async_trait;
use pocket_ports::{BrokerRecords, CheckReport, Checked, Finding, StorageCheck, StorageError};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use crate::OpenError;
use crate::database::{Connections, Database};
use crate::error::Error;
use crate::migration::{Migrator, PostgresMigrator, plan};
use crate::open::connect_unchanged;
use crate::options::Options;

/// Opens a database to verify it, on the tokio runtime that is to run the queries. Neither the schema nor anything else is
/// changed.
///
/// # Errors
/// When an option is wrong, the kind of database is not built in, it cannot be reached, or it is older or newer than this program.
pub async fn open_check(options: &Options) -> Result<Arc<dyn StorageCheck>, OpenError> {
    let connection = connect_unchanged(options).await?;
    let plan = match connection.get_database_backend() {
        DbBackend::Postgres => plan::<PostgresMigrator>(&connection).await?,
        _ => plan::<Migrator>(&connection).await?,
    };
    if let Some(first) = plan.pending.first() {
        return Err(OpenError::Older(first.clone()));
    }
    let connections = Connections {
        writer: connection.clone(),
        reader: connection,
        suspicion: Arc::default(),
        timeline: Arc::default(),
    };
    Ok(Arc::new(DatabaseCheck(Arc::new(Database::new(connections, &options.url)))))
}

struct DatabaseCheck(Arc<Database>);

#[async_trait]
impl StorageCheck for DatabaseCheck {
    async fn check(
        &self,
        records: Option<Arc<dyn BrokerRecords>>,
        report: Arc<dyn CheckReport>,
    ) -> Result<Checked, StorageError> {
        let work = |db: Arc<Database>| async move {
            Check { db: &db, records, report, checked: Checked::default() }.run().await
        };
        self.0.run_to_its_end(work).await
    }
}

/// A verification that is under way.
struct Check<'a> {
    db: &'a Database,
    records: Option<Arc<dyn BrokerRecords>>,
    report: Arc<dyn CheckReport>,
    checked: Checked,
}

impl Check<'_> {
    async fn run(mut self) -> Result<Checked, Error> {
        if self.db.backend() == sea_orm::DbBackend::Sqlite {
            let done = self.file().await;
            self.go_on("the file", done)?;
        }
        self.registry().await?;
        self.sessions().await?;
        let done = self.chunks().await;
        self.go_on("telemetry_chunks", done)?;
        let done = self.log().await;
        self.go_on("telemetry", done)?;
        Ok(self.checked)
    }

    fn found(&self, finding: Finding) {
        self.report.found(finding);
    }

    /// Tells of a part that ended early, unless the database is away.
    fn go_on(&self, place: &'static str, done: Result<(), Error>) -> Result<(), Error> {
        match done.map_err(StorageError::from) {
            Ok(()) => Ok(()),
            Err(away @ StorageError::Unavailable(_)) => Err(away.into()),
            Err(error) => {
                self.found(Finding::new(place, format!("not all of it can be read: {}", told(error))));
                Ok(())
            }
        }
    }
}

/// What an error says of damage.
fn told(error: StorageError) -> String {
    match error {
        StorageError::Corrupt(what) => what,
        other => other.to_string(),
    }
}

/// Rows one by one, so that one that is not understood leaves the others.
async fn rows(connection: &impl ConnectionTrait, sql: String) -> Result<Vec<QueryResult>, DbErr> {
    connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await
}

/// How many rows a table has, or a part of it.
async fn count(connection: &impl ConnectionTrait, table: &str) -> Result<u64, DbErr> {
    let found = rows(connection, format!("SELECT count(*) AS count FROM {table}")).await?;
    let count = found.first().map(|row| row.try_get::<i64>("", "count")).transpose()?;
    Ok(count.unwrap_or_default().unsigned_abs())
}

#[cfg(all(test, feature = "sqlite"))]
pub(crate) mod tests;
