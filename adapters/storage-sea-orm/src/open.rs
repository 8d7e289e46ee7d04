//! Opens a database: picks the kind, brings the schema up to date, connects, starts what goes on in the background.

use std::sync::Arc;

use pocket_ports::{Storage, StorageError};
use sea_orm::DatabaseConnection;
use tokio::sync::Mutex;

use crate::access_log::AccessLogReader;
use crate::access_rules::AccessRules;
use crate::broker::BrokerTables;
use crate::database::{Connections, Database};
use crate::dead_letters::DeadLetters;
use crate::device_logins::DeviceLogins;
use crate::devices::Devices;
use crate::health::Health;
use crate::keeper::Keeper;
use crate::migration::{self, MigrationReport};
use crate::options::Options;
use crate::presence::Presence;
use crate::room::Room;
use crate::telemetry::TelemetryHistory;
use crate::tenants::Tenants;
use crate::topic_rules::TopicRuleLists;
use crate::users::Users;
use crate::write::Batches;
use crate::{OpenError, absent_brokers, keeper, purge};

/// Opens a database, after bringing its schema up to date. Must be called on the tokio runtime that is to run the
/// queries; it has to outlive the storage.
///
/// # Errors
/// When an option is wrong, the kind of database is not built in, it cannot be reached, is newer than this program, or
/// cannot be migrated.
pub async fn open(options: Options) -> Result<Storage, OpenError> {
    bring_up_to_date(&options).await?;
    let database = Database::new(connect(&options).await?, &options.url).with_room(room(&options));
    let database = Arc::new(database);
    purge::start(&database);
    absent_brokers::start(&database);
    let keeper = Arc::new(Mutex::new(Keeper::new(options.sealing)));
    keeper::start(&database, Arc::clone(&keeper), options.sealing.every);
    Ok(ports_of(database, keeper))
}

/// Whether what an address names on this machine can be used, without connecting: the file of SQLite, and the files of certificates
/// of a PostgreSQL address. Nothing is changed.
///
/// # Errors
/// What is wrong.
pub fn check_address(options: &Options) -> Result<(), OpenError> {
    match options.kind()? {
        #[cfg(feature = "sqlite")]
        crate::options::Kind::Sqlite => crate::sqlite::check_file(&options.url),
        #[cfg(feature = "postgres")]
        crate::options::Kind::Postgres => crate::postgres::check_address(&options.url),
        #[allow(unreachable_patterns, reason = "reached when a kind is not built in")]
        kind => Err(OpenError::NotBuiltIn(kind.feature())),
    }
}

pub(crate) fn ports_of(database: Arc<Database>, keeper: Arc<Mutex<Keeper>>) -> Storage {
    Storage {
        tenants: Arc::new(Tenants(Arc::clone(&database))),
        users: Arc::new(Users(Arc::clone(&database))),
        devices: Arc::new(Devices(Arc::clone(&database))),
        device_logins: Arc::new(DeviceLogins(Arc::clone(&database))),
        presence: Arc::new(Presence(Arc::clone(&database))),
        access_rules: Arc::new(AccessRules(Arc::clone(&database))),
        topic_rules: Arc::new(TopicRuleLists(Arc::clone(&database))),
        write: Arc::new(Batches(Arc::clone(&database))),
        telemetry: Arc::new(TelemetryHistory(Arc::clone(&database), Arc::clone(&keeper))),
        dead_letters: Arc::new(DeadLetters(Arc::clone(&database))),
        broker: Some(Arc::new(BrokerTables(Arc::clone(&database)))),
        sessions: Some(Arc::new(BrokerTables(Arc::clone(&database)))),
        access_log: Arc::new(AccessLogReader(Arc::clone(&database))),
        health: Arc::new(Health(database, keeper)),
    }
}

/// Brings the schema of a database up to date, compresses a long log of an earlier version, which may take minutes, and
/// closes it.
///
/// # Errors
/// As [`open`].
pub async fn migrate(options: Options) -> Result<MigrationReport, OpenError> {
    let report = bring_up_to_date(&options).await?;
    let database = Database::new(connect(&options).await?, &options.url);
    let mut keeper = Keeper::new(options.sealing);
    let compressed = keeper.catch_up(&database).await;
    compressed.map_err(|error| OpenError::Migration(StorageError::from(error).to_string()))?;
    keeper::end(&database, &Mutex::new(keeper)).await;
    database.close().await.map_err(|error| OpenError::Unavailable(error.to_string()))?;
    Ok(report)
}

async fn bring_up_to_date(options: &Options) -> Result<MigrationReport, OpenError> {
    match options.kind()? {
        #[cfg(feature = "sqlite")]
        crate::options::Kind::Sqlite => crate::sqlite::migrate::<migration::Migrator>(options).await,
        #[cfg(feature = "postgres")]
        crate::options::Kind::Postgres => crate::postgres::migrate::<migration::PostgresMigrator>(options).await,
        #[allow(unreachable_patterns, reason = "reached when a kind is not built in")]
        kind => Err(OpenError::NotBuiltIn(kind.feature())),
    }
}

pub(crate) async fn connect(options: &Options) -> Result<Connections, OpenError> {
    match options.kind()? {
        #[cfg(feature = "sqlite")]
        crate::options::Kind::Sqlite => crate::sqlite::connect(options).await,
        #[cfg(feature = "postgres")]
        crate::options::Kind::Postgres => crate::postgres::connect(options).await,
        #[allow(unreachable_patterns, reason = "reached when a kind is not built in")]
        kind => Err(OpenError::NotBuiltIn(kind.feature())),
    }
}

/// The room on the disk of a file. A server has its own.
pub(crate) fn room(options: &Options) -> Option<Room> {
    match options.kind() {
        #[cfg(feature = "sqlite")]
        Ok(crate::options::Kind::Sqlite) => {
            let file = crate::sqlite::file_of(&options.url).ok()?;
            Some(Room::new(file, options.disk_reserve))
        }
        _ => None,
    }
}

/// Why the PostgreSQL server of the URL gave no answer within that time.
#[cfg(feature = "postgres")]
pub(crate) use crate::postgres::why_no_answer;

/// Opens a connection to a PostgreSQL server that belongs to its opener alone.
#[cfg(feature = "postgres")]
pub(crate) use crate::postgres::connect_alone;

/// There is no such server.
#[cfg(not(feature = "postgres"))]
pub(crate) async fn connect_alone(_: &str) -> Result<DatabaseConnection, OpenError> {
    Err(OpenError::NotBuiltIn("postgres"))
}

/// No server was asked.
#[cfg(not(feature = "postgres"))]
pub(crate) async fn why_no_answer(_: &str, _: std::time::Duration) -> Option<String> {
    None
}

/// Connects to look at a database, of which nothing is changed.
pub(crate) async fn connect_unchanged(options: &Options) -> Result<DatabaseConnection, OpenError> {
    match options.kind()? {
        #[cfg(feature = "sqlite")]
        crate::options::Kind::Sqlite => crate::sqlite::open_unchanged(options).await,
        #[cfg(feature = "postgres")]
        crate::options::Kind::Postgres => crate::postgres::open_unchanged(options).await,
        #[allow(unreachable_patterns, reason = "reached when a kind is not built in")]
        kind => Err(OpenError::NotBuiltIn(kind.feature())),
    }
}

#[cfg(all(test, not(feature = "postgres")))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kind_that_is_not_built_in_is_named() {
        let refused = open(Options::new("postgres://localhost/pocket")).await.err().unwrap();
        assert_eq!(refused, OpenError::NotBuiltIn("postgres"));
        assert!(refused.to_string().contains("storage-postgres"));
    }
}
