//! Which process keeps the history.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use pocket_ports::{Clock, SystemClock};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use crate::broker::statement;
use crate::database::Database;
use crate::error::Error;

/// The name under which this process has the lease, or asks for it.
pub(crate) struct Lease {
    name: Vec<u8>,
    term: Duration,
}

impl Lease {
    /// A name that no other process has, and how long it has the lease after it last wrote.
    pub(crate) fn new(term: Duration) -> Self {
        // Each of these states is seeded by the operating system.
        let random = || RandomState::new().hash_one(std::process::id()).to_be_bytes();
        Self { name: [random(), random()].concat(), term }
    }

    /// Begins a transaction that writes, as the process that keeps the history; `None` when another does.
    pub(crate) async fn begin(&self, db: &Database) -> Result<Option<DatabaseTransaction>, Error> {
        let transaction = db.begin().await?;
        Ok(self.renew(&transaction).await?.then_some(transaction))
    }

    async fn renew(&self, transaction: &DatabaseTransaction) -> Result<bool, DbErr> {
        let now = SystemClock.now();
        let sql =
            "UPDATE telemetry_log SET owner = ?, owned_until = ? WHERE owner IS NULL OR owner = ? OR owned_until < ?";
        let values = vec![
            self.name.clone().into(),
            now.plus(self.term).as_millis().into(),
            self.name.clone().into(),
            now.as_millis().into(),
        ];
        let statement = statement(transaction.get_database_backend(), sql, values);
        Ok(transaction.execute_raw(statement).await?.rows_affected() == 1)
    }
}
