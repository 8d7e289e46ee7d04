//! Versions of the schema, one file each, and how a database is brought to the newest.
//!
//! All pending migrations run in one transaction that other processes wait for, so that a database is either as it was
//! or up to date. A SQLite file that has rows is copied before.

mod m0001_first;
mod m0002_access_rules;
mod m0003_presence;
mod m0004_access_of_people;
mod m0005_broker_state;
mod m0006_chunks;
mod m0007_retention;
mod m0008_one_index;
mod m0009_writers;
mod m0011_last_values;
mod m0012_weights;
mod m0013_times;
mod m0014_topics;
mod m0016_ended_logins;
mod m0017_token_key;
mod m0018_keys_without_wrapper;
mod m0019_keys_in_use;
mod m0020_device_logins;
mod m0026_received;
mod m0027_topic_rules;
mod m0028_ended_sessions;
mod m0029_deliveries_in_order;
mod m0031_broker_absences;

use std::path::PathBuf;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryOrder};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations};

use crate::OpenError;
use crate::locks::{self, Lock};

/// The migrations of this version that concern both databases.
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_first::Migration),
            Box::new(m0002_access_rules::Migration),
            Box::new(m0003_presence::Migration),
            Box::new(m0004_access_of_people::Migration),
            Box::new(m0005_broker_state::Migration),
            Box::new(m0006_chunks::Migration),
            Box::new(m0007_retention::Migration),
            Box::new(m0011_last_values::Migration),
            Box::new(m0012_weights::Migration),
            Box::new(m0013_times::Migration),
            Box::new(m0014_topics::Migration),
            Box::new(m0016_ended_logins::Migration),
            Box::new(m0017_token_key::Migration),
            Box::new(m0018_keys_without_wrapper::Migration),
            Box::new(m0019_keys_in_use::Migration),
            Box::new(m0020_device_logins::Migration),
            Box::new(m0026_received::Migration),
            Box::new(m0027_topic_rules::Migration),
            Box::new(m0028_ended_sessions::Migration),
            Box::new(m0029_deliveries_in_order::Migration),
            Box::new(m0031_broker_absences::Migration),
        ]
    }
}

/// Those of PostgreSQL, with what concerns it alone. A SQLite file with rows would be copied before, for nothing.
pub(crate) struct PostgresMigrator;

impl MigratorTrait for PostgresMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = Migrator::migrations();
        all.push(Box::new(m0008_one_index::Migration));
        all.push(Box::new(m0009_writers::Migration));
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }
}

/// What [`migrate`](crate::migrate) did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MigrationReport {
    /// The migrations that were applied, in order; none when the database was up to date.
    pub applied: Vec<String>,
    /// Where a copy of the SQLite file as it was before is.
    pub snapshot: Option<PathBuf>,
}

/// What is between a database and a set of migrations.
pub(crate) struct Plan {
    /// Names of migrations that are to be applied.
    pub(crate) pending: Vec<String>,
    /// Names of those that were applied before; none in a new database.
    pub(crate) applied: Vec<String>,
}

/// Compares what a database has with what this program knows.
pub(crate) async fn plan<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<Plan, OpenError> {
    let applied = applied(connection).await.map_err(|error| OpenError::Unavailable(error.to_string()))?;
    let known: Vec<String> = M::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    if let Some(unknown) = applied.iter().rev().find(|name| !known.contains(name)) {
        return Err(OpenError::Newer(unknown.clone()));
    }
    Ok(Plan { pending: known.into_iter().filter(|name| !applied.contains(name)).collect(), applied })
}

/// The migrations that a database has, in order; none in a new one.
pub(crate) async fn applied(connection: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    if !SchemaManager::new(connection).has_table("seaql_migrations").await? {
        return Ok(Vec::new());
    }
    let found =
        seaql_migrations::Entity::find().order_by_asc(seaql_migrations::Column::Version).all(connection).await?;
    Ok(found.into_iter().map(|row| row.version).collect())
}

/// Applies what is pending. When another process is at it, waits and finds nothing to do.
pub(crate) async fn apply<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<(), OpenError> {
    let failed = |error: DbErr| OpenError::Migration(error.to_string());
    let transaction = locks::begin(connection).await.map_err(failed)?;
    locks::take(&transaction, Lock::Migration).await.map_err(failed)?;
    M::up(&transaction, None).await.map_err(failed)?;
    if transaction.get_database_backend() == DbBackend::Sqlite {
        // Foreign keys are off on this connection, so that re-creating a parent table deletes no rows of its children;
        // instead they are checked as a whole before the commit.
        let broken = transaction.query_one_raw(sqlite_statement("PRAGMA foreign_key_check")).await.map_err(failed)?;
        if broken.is_some() {
            return Err(OpenError::Migration("rows would refer to others that are not there".to_owned()));
        }
    }
    transaction.commit().await.map_err(failed)
}

fn sqlite_statement(sql: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(DbBackend::Sqlite, sql)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
