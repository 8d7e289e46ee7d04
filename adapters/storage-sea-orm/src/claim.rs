//! The name of a node belongs to one process at a time.
//!
//! What tells so ends with the process, however it ends: an advisory lock of a connection of its own in PostgreSQL, and a
//! lock on a file beside the database of SQLite. The lock keeps a second process from starting. It may be lost while its process
//! lives, with the connection; then the row of the writer (see `writers`) lets only one of two commit.

use std::fs::{File, TryLockError};

use pocket_ports::{Conflict, StorageError};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, FromQueryResult, Statement};

use crate::database::Database;
use crate::error::Error;
use crate::open::connect_alone;
use crate::suspicion::NOTICE_OUR_END;

/// The first half of the keys of these locks: "node". The second half is a hash of the name.
pub(crate) const NAMESPACE: i32 = 0x6e6f_6465;

/// What holds the name.
pub(crate) enum Claim {
    /// The lock of a connection.
    Connection(DatabaseConnection),
    /// The lock of a file, which ends when it is closed.
    File(File),
    /// The database is in memory, where nobody else can be.
    Alone,
}

impl Claim {
    /// Takes the name, unless another process has it.
    pub(crate) async fn take(db: &Database, node: &str) -> Result<Self, Error> {
        match db.backend() {
            DbBackend::Postgres => Ok(Self::Connection(lock_name(db, node).await?)),
            _ => Ok(lock_file(db, node).await?.map_or(Self::Alone, Self::File)),
        }
    }

    /// Takes a name again that this process has, as far as the server remembers.
    pub(crate) async fn renew(&self, node: &str) -> Result<(), Error> {
        match self {
            Self::Connection(connection) => lock(connection, node).await,
            Self::File(_) | Self::Alone => Ok(()),
        }
    }

    /// Gives the name back.
    pub(crate) async fn end(self) -> Result<(), DbErr> {
        match self {
            Self::Connection(connection) => connection.close().await,
            Self::File(file) => {
                drop(file);
                Ok(())
            }
            Self::Alone => Ok(()),
        }
    }
}

#[derive(FromQueryResult)]
struct Locked {
    locked: bool,
}

async fn lock_name(db: &Database, node: &str) -> Result<DatabaseConnection, Error> {
    // The lock ends with the connection, so this one is never exchanged for another.
    let opened = connect_alone(db.url()).await;
    let connection = opened.map_err(|error| StorageError::Unavailable(error.to_string()))?;
    lock(&connection, node).await?;
    Ok(connection)
}

/// Locks the name for a connection, which may have the lock.
async fn lock(connection: &DatabaseConnection, node: &str) -> Result<(), Error> {
    connection.execute_unprepared(NOTICE_OUR_END).await?;
    let sql = "SELECT pg_try_advisory_lock($1, hashtext($2)) AS locked";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [NAMESPACE.into(), node.into()]);
    let found = Locked::find_by_statement(statement).one(connection).await?;
    if found.is_some_and(|found| found.locked) { Ok(()) } else { Err(Conflict::Node.into()) }
}

#[derive(FromQueryResult)]
struct Name {
    name: String,
}

/// Nodes other than this one that run on the same PostgreSQL database.
pub(crate) async fn others(db: &Database, node: &str) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT name FROM writers WHERE lasts AND name <> $2 AND EXISTS (SELECT 1 FROM pg_locks
            WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid::bigint = $1 AND objid::bigint = hashtext(name)::bigint & 4294967295 AND granted)
        ORDER BY name";
    let values = [i64::from(NAMESPACE).into(), node.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Name::find_by_statement(statement).all(db.reader()).await?.into_iter().map(|row| row.name).collect())
}

#[derive(FromQueryResult)]
struct Opened {
    file: Option<String>,
}

/// The locked file; `None` when the database is in memory, where nobody else can be.
async fn lock_file(db: &Database, node: &str) -> Result<Option<File>, Error> {
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    let statement = Statement::from_string(DbBackend::Sqlite, sql);
    let opened = db.reader().query_one_raw(statement).await?.ok_or(DbErr::RecordNotFound(sql.to_owned()))?;
    let Opened { file } = Opened::from_query_result(&opened, "")?;
    let Some(file) = file.filter(|file| !file.is_empty()) else { return Ok(None) };
    let name = format!("{file}.{node}.lock");
    let failed = |error: std::io::Error| StorageError::Unavailable(format!("{name} cannot be locked: {error}"));
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let locked = options.open(&name).map_err(failed)?;
    // An earlier version made it for everybody's eyes. The lock holds too where its mode is somebody else's to change.
    #[cfg(unix)]
    let _ = locked.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    match locked.try_lock() {
        Ok(()) => Ok(Some(locked)),
        Err(TryLockError::WouldBlock) => Err(Conflict::Node.into()),
        Err(TryLockError::Error(error)) => Err(failed(error).into()),
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use pocket_domain::NodeName;
    use pocket_ports::{Conflict, StorageError, WriteBatch};

    use crate::sample::Sample;

    #[tokio::test]
    async fn a_name_belongs_to_one_process_until_it_closes() {
        let sample = Sample::new().await;
        let other = crate::open(sample.options.clone()).await.unwrap();
        let (one, two) = (sample.storage.broker.as_ref().unwrap(), other.broker.as_ref().unwrap());
        assert_eq!(one.claim(&NodeName::default()).await, Ok(()));
        assert_eq!(two.claim(&NodeName::default()).await, Err(StorageError::Conflict(Conflict::Node)));
        let refused = other.write.commit(Some(&NodeName::default()), WriteBatch::default()).await;
        assert_eq!(refused, Err(StorageError::Conflict(Conflict::Node)));
        assert_eq!(two.claim(&NodeName::parse("other").unwrap()).await, Ok(()));
        sample.storage.health.close().await;
        assert_eq!(two.claim(&NodeName::default()).await, Ok(()));
    }
}
