//! The one place where errors of the database become those of the ports.

use std::path::PathBuf;

use pocket_ports::{Conflict, StorageError};
use sea_orm::{DbErr, RuntimeErr, SqlErr, SqlxError};

/// Why a database could not be opened or migrated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An option is wrong.
    #[error("{0}")]
    Options(String),
    /// The URL names a kind of database that is not built in.
    #[error("this build has no support for {0} databases; build it with the feature storage-{0}")]
    NotBuiltIn(&'static str),
    /// The database was written by a later version.
    #[error(
        "the database is newer than this program: it has the migration {0}, which is not known here; use a newer program"
    )]
    Newer(String),
    /// The database was written by an earlier version, and is not to be changed.
    #[error(
        "the database is older than this program: it has no migration {0}; `pocket-iot migrate`, or a start, brings it up to date"
    )]
    Older(String),
    /// The database cannot be reached or opened.
    #[error("the database cannot be opened: {0}")]
    Unavailable(String),
    /// The schema could not be brought up to date. The database is as it was before.
    #[error("the database could not be migrated: {0}")]
    Migration(String),
    /// A copy of the database was not made. The database is as it was before.
    #[error("the copy {} was not made: {cause}", .file.display())]
    Copy {
        /// The file that was to be written.
        file: PathBuf,
        /// What came in the way.
        cause: String,
    },
}

/// What goes wrong inside: the database's errors, and answers of the ports that are errors.
#[derive(Debug)]
pub(crate) enum Error {
    Database(DbErr),
    Answer(StorageError),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Self::Answer(error)
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::Answer(StorageError::Conflict(conflict))
    }
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::Answer(answer) => answer,
            Error::Database(error) => from_database(&error),
        }
    }
}

fn from_database(error: &DbErr) -> StorageError {
    if let Some(SqlErr::UniqueConstraintViolation(message)) = error.sql_err()
        && let Some(conflict) = conflict(&message)
    {
        return StorageError::Conflict(conflict);
    }
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => from_driver(cause),
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => StorageError::Unavailable(error.to_string()),
        DbErr::Type(_) | DbErr::Json(_) => StorageError::Corrupt(error.to_string()),
        _ => StorageError::Backend(error.to_string()),
    }
}

/// Which rule a violated unique index stands for. SQLite names its columns, PostgreSQL the index.
fn conflict(message: &str) -> Option<Conflict> {
    [
        ("tenants.name", "tenants_name", Conflict::TenantName),
        ("users.username", "users_username", Conflict::Username),
        ("device_logins.username", "device_logins_username", Conflict::DeviceUsername),
        ("devices.name", "devices_name", Conflict::DeviceName),
    ]
    .into_iter()
    .find(|(columns, index, _)| message.contains(columns) || message.contains(index))
    .map(|(_, _, conflict)| conflict)
}

fn from_driver(cause: &SqlxError) -> StorageError {
    let unavailable = |words: &str| StorageError::Unavailable(format!("{words} ({cause})"));
    match cause {
        SqlxError::Io(_) => unavailable("the database cannot be reached"),
        SqlxError::PoolTimedOut => unavailable("the database does not answer, or all connections to it are in use"),
        SqlxError::PoolClosed => unavailable("the database was closed"),
        SqlxError::Tls(_) | SqlxError::Protocol(_) | SqlxError::WorkerCrashed | SqlxError::BeginFailed => {
            StorageError::Unavailable(cause.to_string())
        }
        SqlxError::Database(refusal) => from_refusal(refusal.code().as_deref().unwrap_or_default(), &**refusal),
        SqlxError::ColumnDecode { .. } | SqlxError::Decode(_) => StorageError::Corrupt(cause.to_string()),
        _ => StorageError::Backend(cause.to_string()),
    }
}

fn from_refusal(code: &str, refusal: &dyn std::fmt::Display) -> StorageError {
    match passes(code) {
        Some("") => StorageError::Unavailable(refusal.to_string()),
        Some(words) => StorageError::Unavailable(format!("{words} ({refusal})")),
        None if damaged(code) => StorageError::Corrupt(refusal.to_string()),
        None => StorageError::Backend(refusal.to_string()),
    }
}

/// Whether an error means that the same statement may succeed later.
pub(crate) fn is_unavailable(error: &DbErr) -> bool {
    matches!(from_database(error), StorageError::Unavailable(_))
}

/// Whether the same statement may succeed later, and then what is in its way in the words of an operator, if there is more
/// to say than the database does. PostgreSQL's codes are those of its manual, appendix A; SQLite's are numbers whose low
/// byte is the primary code (<https://www.sqlite.org/rescode.html>).
fn passes(code: &str) -> Option<&'static str> {
    if code.len() == 5 {
        return match (code, code.get(..2)?) {
            ("53100", _) => Some("the disk of the PostgreSQL server is full"),
            ("53300", _) => Some("the PostgreSQL server has no connection left, see max_connections"),
            ("25006", _) => Some("the PostgreSQL server takes no writes"),
            // Not the fault of any message, and the operator's to change.
            ("42501" | "42P01" | "3D000", _) | (_, "28") => {
                Some("the PostgreSQL server does not let this program work")
            }
            // lock; connection, transaction rollback, resources, operator intervention, system
            ("55P03", _) | (_, "08" | "40" | "53" | "57" | "58") => Some(""),
            _ => None,
        };
    }
    match primary(code)? {
        5 | 6 => Some("another process holds the lock of the database file"),
        8 => Some("the database file or its file system is read-only"),
        10 => Some("the disk fails or is read-only"),
        13 => Some("the disk is full"),
        14 => Some("the database file cannot be opened"),
        // NOMEM, INTERRUPT, PROTOCOL
        7 | 9 | 15 => Some(""),
        _ => None,
    }
}

/// Whether the file or an index is damaged: SQLite's CORRUPT and NOTADB, PostgreSQL's class XX.
fn damaged(code: &str) -> bool {
    (code.len() == 5 && ["XX001", "XX002"].contains(&code))
        || primary(code).is_some_and(|code| [11, 26].contains(&code))
}

/// SQLite's primary result code within an extended one.
pub(crate) fn primary(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|code| code & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_are_told_from_those_that_stay() {
        for code in [
            "5", "261", "517", "8", "1032", "10", "522", "13", "14", "08006", "53300", "57P01", "40P01", "25006",
            "28P01", "28000", "42501",
        ] {
            assert!(passes(code).is_some(), "{code}");
        }
        for code in ["", "1", "11", "19", "2067", "787", "20", "22021", "23505", "42601", "54000", "P0001", "XX001"] {
            assert!(passes(code).is_none(), "{code}");
        }
        assert!(damaged("11") && damaged("267") && damaged("26") && damaged("XX001") && !damaged("5"));
    }

    #[test]
    fn an_operator_reads_what_is_in_the_way() {
        let told = |code| from_refusal(code, &"cause").to_string();
        assert_eq!(told("13"), "storage is unavailable: the disk is full (cause)");
        assert_eq!(told("261"), "storage is unavailable: another process holds the lock of the database file (cause)");
        assert_eq!(told("57P01"), "storage is unavailable: cause");
        let refused = SqlxError::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(from_driver(&refused).to_string().contains("the database cannot be reached (error communicating"));
        let from = |error| from_database(&error);
        let full = DbErr::Conn(RuntimeErr::SqlxError(SqlxError::PoolTimedOut.into()));
        assert!(matches!(from(full), StorageError::Unavailable(_)));
        assert!(!matches!(from(DbErr::RecordNotInserted), StorageError::Unavailable(_)));
    }

    #[test]
    fn a_unique_index_stands_for_a_rule() {
        assert_eq!(conflict("UNIQUE constraint failed: tenants.name"), Some(Conflict::TenantName));
        assert_eq!(conflict("UNIQUE constraint failed: users.tenant, users.username"), Some(Conflict::Username));
        assert_eq!(
            conflict("duplicate key value violates unique constraint \"devices_name\""),
            Some(Conflict::DeviceName)
        );
        assert_eq!(conflict("UNIQUE constraint failed: devices.id"), None);
    }
}
