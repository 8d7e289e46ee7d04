//! Write transactions, and what one of them waits for.
//!
//! SQLite has one writer at a time, so a transaction that begins as a writer excludes all others. In PostgreSQL advisory
//! locks, which end with the transaction, exclude those that would break a rule together.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};

/// What is locked. The numbers are the second half of PostgreSQL's key and must stay the same in all versions.
#[derive(Clone, Copy)]
pub(crate) enum Lock {
    /// Changing the schema.
    Migration = 1,
    /// Taking away the role of an administrator.
    Administrators = 2,
    /// Writing the access log, and so every deletion of a device.
    Access = 3,
    /// Recording what was heard of devices.
    Presence = 4,
    /// Storing messages unless they are there.
    Import = 5,
}

/// The first half of the keys of all advisory locks of this program: "pock".
const NAMESPACE: i32 = 0x706f_636b;

/// Begins a transaction that may write from its first statement on. A SQLite transaction that begins as a reader could
/// not become a writer once another process has written.
pub(crate) async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = match connection.get_database_backend() {
        DbBackend::Sqlite => TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        },
        _ => TransactionOptions::default(),
    };
    connection.begin_with_options(options).await
}

/// Waits until no other transaction holds the lock, and holds it until the end of this one.
pub(crate) async fn take(transaction: &DatabaseTransaction, lock: Lock) -> Result<(), DbErr> {
    advisory(transaction, &statement("pg_advisory_xact_lock", lock)).await
}

/// Like [`take`], but together with others that share it.
pub(crate) async fn share(transaction: &DatabaseTransaction, lock: Lock) -> Result<(), DbErr> {
    advisory(transaction, &sharing(lock)).await
}

/// The statement of PostgreSQL that does what [`share`] does.
pub(crate) fn sharing(lock: Lock) -> String {
    statement("pg_advisory_xact_lock_shared", lock)
}

async fn advisory(transaction: &DatabaseTransaction, sql: &str) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    }
    Ok(())
}

fn statement(function: &str, lock: Lock) -> String {
    format!("SELECT {function}({NAMESPACE}, {})", lock as i32)
}
