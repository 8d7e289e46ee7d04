//! One moment of the history: the log and the chunks as they are together.

use pocket_domain::TenantId;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, IsolationLevel, Statement,
    TransactionTrait,
};

use super::chunks::Chunks;
use super::damage::Damage;
use super::log::Log;
use super::log_index::LogIndex;
use crate::database::Database;
use crate::decoders::Decoders;
use crate::error::Error;

/// How far the log is sealed, as the database says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromQueryResult)]
pub(crate) struct Sealed {
    /// Rows of the log up to here are in chunks.
    pub(crate) sealed: i64,
    /// Chunks of later batches do not count yet.
    pub(crate) batch: i64,
}

impl Sealed {
    /// As a transaction sees it.
    pub(crate) async fn read(transaction: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let sql = "SELECT sealed, batch FROM telemetry_log";
        // With values, though there are none: only then does the driver of SQLite keep the statement prepared.
        let statement = Statement::from_sql_and_values(transaction.get_database_backend(), sql, []);
        Self::find_by_statement(statement).one(transaction).await?.ok_or(DbErr::RecordNotFound("telemetry_log".into()))
    }
}

/// Begins a transaction that reads, and sees nothing of what is committed after its first statement, which tells how far the
/// log is sealed.
pub(crate) async fn moment(db: &Database) -> Result<(DatabaseTransaction, Sealed), DbErr> {
    let transaction = begin(db).await?;
    let sealed = Sealed::read(&transaction).await?;
    Ok((transaction, sealed))
}

/// Begins a transaction that reads, and sees nothing of what is committed after its first statement.
pub(super) async fn begin(db: &Database) -> Result<DatabaseTransaction, DbErr> {
    match db.backend() {
        DbBackend::Postgres => {
            let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
            db.reader().begin_with_config(Some(isolation), Some(access)).await
        }
        // SQLite has one isolation level, which is this one.
        _ => db.reader().begin().await,
    }
}

/// What a snapshot begins with.
#[derive(FromQueryResult)]
pub(super) struct Reach {
    pub(super) sealed: i64,
    batch: i64,
    removals: i64,
    /// The last row of the log of a SQLite file; 0 when all are in chunks and removed.
    pub(super) last: i64,
    /// The numbers of the last batches of all writers to PostgreSQL: as long as they are the same, no row has come.
    batches: Option<String>,
}

impl Reach {
    /// As a transaction sees it.
    pub(super) async fn read(transaction: &DatabaseTransaction) -> Result<Self, DbErr> {
        let backend = transaction.get_database_backend();
        let sql = match backend {
            // Many rows at its end may be such as are not committed.
            DbBackend::Postgres => {
                "SELECT sealed, batch, removals, CAST(0 AS BIGINT) AS last,
                    (SELECT string_agg(key || ':' || number, ' ' ORDER BY key) FROM writers) AS batches
                FROM telemetry_log"
            }
            _ => {
                "SELECT sealed, batch, removals, (SELECT coalesce(max(id), 0) FROM telemetry) AS last,
                    CAST(NULL AS TEXT) AS batches
                FROM telemetry_log"
            }
        };
        let statement = Statement::from_sql_and_values(backend, sql, []);
        Self::find_by_statement(statement).one(transaction).await?.ok_or(DbErr::RecordNotFound("telemetry_log".into()))
    }
}

/// A transaction that reads, and sees nothing of what is committed after its first statement.
pub(crate) struct Snapshot<'a> {
    transaction: DatabaseTransaction,
    sealed: Sealed,
    index: Option<&'a LogIndex>,
    damage: &'a Damage,
    decoders: &'a Decoders,
    /// How often rows were removed from the log before their time.
    removals: i64,
    /// The last row of the log of a SQLite file.
    last: i64,
    /// The numbers of the last batches of all writers to PostgreSQL.
    batches: Option<String>,
}

impl<'a> Snapshot<'a> {
    pub(crate) async fn begin(db: &'a Database) -> Result<Self, Error> {
        let transaction = begin(db).await?;
        let Reach { sealed, batch, removals, last, batches } = Reach::read(&transaction).await?;
        let is_indexed = db.backend() == DbBackend::Sqlite
            && (db.log_index.reaches(sealed, last) || db.log_index.catch_up(&transaction, sealed).await?);
        Ok(Self {
            transaction,
            sealed: Sealed { sealed, batch },
            index: is_indexed.then_some(&db.log_index),
            damage: &db.damage,
            decoders: &db.decoders,
            removals,
            last,
            batches,
        })
    }

    pub(crate) fn transaction(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// How far the log is sealed.
    pub(crate) fn sealed(&self) -> Sealed {
        self.sealed
    }

    /// How often rows were removed from the log that were not in chunks.
    pub(super) fn removals(&self) -> i64 {
        self.removals
    }

    /// The last row of the log of a SQLite file, where rows appear in the order of their ids.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// The numbers of the last batches of all writers to PostgreSQL: as long as they are the same, no row has come.
    pub(super) fn batches(&self) -> Option<&str> {
        self.batches.as_deref()
    }

    pub(crate) fn log(&self) -> Log<'_> {
        Log { transaction: &self.transaction, sealed: self.sealed.sealed, index: self.index }
    }

    /// The chunks, which are decoded in the turn of a tenant.
    pub(crate) fn chunks(&self, tenant: TenantId) -> Chunks<'_> {
        let Self { transaction, sealed, damage, decoders, .. } = self;
        Chunks { transaction, batch: sealed.batch, damage, decoders, tenant }
    }
}
