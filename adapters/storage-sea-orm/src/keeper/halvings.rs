//! How large the steps of sealing are. A batch that failed, or over which a process died, is tried again with half as many
//! rows, and half as many again; one that succeeds doubles the next.
//!
//! What is kept in the database is one more while a batch is being sealed. So a start that finds more than it left knows that
//! a process died, whatever it died of.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement};

use crate::database::Database;

/// Halvings after which there is one row in a batch; then it is sealed without leaves.
pub(super) const MOST: u32 = 20;

/// How often batches are halved.
#[derive(Default)]
pub(super) struct Halvings {
    now: u32,
    /// What this process left in the database.
    left: Option<i64>,
    /// Whether a batch was begun, and neither succeeded nor was given up for a reason that has nothing to do with it.
    is_under_way: bool,
}

impl Halvings {
    /// How often the batch is halved.
    pub(super) fn now(&self) -> u32 {
        self.now
    }

    /// Notes that a batch begins, in the transaction with which it does.
    pub(super) async fn begin(&mut self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        #[derive(FromQueryResult)]
        struct Kept {
            halvings: i64,
        }
        let sql = "SELECT halvings FROM telemetry_log";
        let statement = Statement::from_string(transaction.get_database_backend(), sql);
        let kept = Kept::find_by_statement(statement).one(transaction).await?.map_or(0, |kept| kept.halvings);
        if std::mem::take(&mut self.is_under_way) {
            self.now = MOST.min(self.now + 1);
        }
        let of_others = if self.left == Some(kept) { 0 } else { u32::try_from(kept).unwrap_or(0).min(MOST) };
        if of_others > self.now {
            tracing::warn!(
                halvings = of_others,
                "a process ended while compressing telemetry; continuing in smaller steps"
            );
            self.now = of_others;
        }
        let left = i64::from(self.now) + 1;
        transaction.execute_unprepared(&format!("UPDATE telemetry_log SET halvings = {left}")).await?;
        self.left = Some(left);
        Ok(())
    }

    /// A batch is being sealed from here on.
    pub(super) fn is_begun(&mut self) {
        self.is_under_way = true;
    }

    /// The batch was given up for a reason that has nothing to do with it.
    pub(super) fn given_up(&mut self) {
        self.is_under_way = false;
    }

    /// Takes back that a batch is under way, because another process has the lease or there was nothing to seal. The other has
    /// taken this one for dead, and would halve its batches for that; two slow processes would drive each other to the end.
    pub(super) async fn take_back(&mut self, db: &Database) -> Result<(), DbErr> {
        self.is_under_way = false;
        self.left = None;
        let transaction = db.begin().await?;
        transaction.execute_unprepared("UPDATE telemetry_log SET halvings = halvings - 1 WHERE halvings > 0").await?;
        transaction.commit().await
    }

    /// How often the next batch is halved if this one succeeds.
    pub(super) fn next(&self) -> u32 {
        self.now.saturating_sub(1)
    }

    /// The batch succeeded, and [`next`](Self::next) is in the database.
    pub(super) fn succeeded(&mut self) {
        self.now = self.next();
        self.left = Some(self.now.into());
        self.is_under_way = false;
    }
}
