//! SQLite: one writer, several readers, a write-ahead log.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Access;
use sea_orm::sqlx::Connection;
use sea_orm::sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, RuntimeErr, SqlxError, Statement,
};
use sea_orm_migration::MigratorTrait;

use crate::OpenError;
use crate::backup::copy_into;
use crate::database::Connections;
use crate::error::primary;
use crate::migration::{MigrationReport, apply, plan};
use crate::options::{Options, Synchronous};

/// A file that is made anew in a few seconds, also on an SD card.
const QUICK_BYTES: u64 = 64 << 20;
/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before a file that was busy is opened again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long a call waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A reader that was not needed for so long is closed, so that a server at rest holds no caches.
const READER_IDLE: Duration = Duration::from_secs(60);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Migrate,
    Write,
    Read,
    /// Reading without changing anything of the file, not even its mode.
    Check,
}

/// Opens the writer and the readers of a file that is up to date.
pub(crate) async fn connect(options: &Options) -> Result<Connections, OpenError> {
    let writer = open(options, Use::Write).await?;
    let reader = open(options, Use::Read).await?;
    Ok(Connections { writer, reader, suspicion: Arc::default(), timeline: Arc::default() })
}

/// Brings the file up to date, after a copy when it holds anything.
pub(crate) async fn migrate<M: MigratorTrait>(options: &Options) -> Result<MigrationReport, OpenError> {
    let file = prepare_file(&options.url)?;
    let connection = open(options, Use::Migrate).await?;
    let plan = plan::<M>(&connection).await?;
    let mut report = MigrationReport::default();
    if let Some(first) = plan.pending.first() {
        if !plan.applied.is_empty() {
            report.snapshot = Some(snapshot(&connection, &file, first).await?);
        }
        apply::<M>(&connection).await?;
        report.applied = plan.pending;
    }
    make_shrinkable(&connection, &file).await.map_err(|error| unavailable(&error))?;
    connection.close().await.map_err(|error| unavailable(&error))?;
    Ok(report)
}

/// A file of an earlier version does not become shorter. It is made anew if that is quick, and otherwise left as it is.
async fn make_shrinkable(connection: &DatabaseConnection, file: &Path) -> Result<(), DbErr> {
    let ask = Statement::from_string(DbBackend::Sqlite, "SELECT auto_vacuum FROM pragma_auto_vacuum");
    let mode: Option<i64> = match connection.query_one_raw(ask).await? {
        Some(row) => row.try_get_by_index(0)?,
        None => None,
    };
    if mode != Some(0) {
        return Ok(());
    }
    let bytes = std::fs::metadata(file).map_or(u64::MAX, |data| data.len());
    let file = file.display();
    if bytes > QUICK_BYTES {
        tracing::warn!(
            %file,
            bytes,
            "the file does not become shorter when telemetry is removed, since an earlier version made it; to change that, \
             stop the server and run: sqlite3 FILE 'PRAGMA auto_vacuum = INCREMENTAL; VACUUM'"
        );
        return Ok(());
    }
    // The connection has said already what the file is to be.
    match connection.execute_unprepared("VACUUM").await {
        Ok(_) => tracing::info!(%file, "the file becomes shorter from now on when telemetry is removed"),
        // Another process has it open, or the disk is full: the next start tries again.
        Err(error) => tracing::warn!(%file, %error, "the file could not be made anew, and does not become shorter"),
    }
    Ok(())
}

fn unavailable(error: &impl ToString) -> OpenError {
    OpenError::Unavailable(error.to_string())
}

/// Opens a file that exists for a copy of it.
pub(crate) async fn open_existing(options: &Options) -> Result<DatabaseConnection, OpenError> {
    open_present(options, Use::Migrate).await
}

/// Opens a file that exists to look at it.
pub(crate) async fn open_unchanged(options: &Options) -> Result<DatabaseConnection, OpenError> {
    open_present(options, Use::Check).await
}

async fn open_present(options: &Options, what: Use) -> Result<DatabaseConnection, OpenError> {
    let parsed = SqliteConnectOptions::from_str(&options.url).map_err(|error| OpenError::Options(error.to_string()))?;
    if !parsed.get_filename().exists() {
        return Err(unavailable(&format!("{} does not exist", parsed.get_filename().display())));
    }
    open(options, what).await
}

/// The path that the URL names.
pub(crate) fn file_of(url: &str) -> Result<PathBuf, OpenError> {
    let parsed = SqliteConnectOptions::from_str(url).map_err(|error| OpenError::Options(error.to_string()))?;
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(OpenError::Options("a SQLite database in memory has one connection only; use memory:".to_owned()));
    }
    Ok(parsed.get_filename().to_owned())
}

/// Whether the file of the URL can be used, or made where the URL allows that, as far as that shows without a change.
pub(crate) fn check_file(url: &str) -> Result<(), OpenError> {
    const HEADER: &[u8; 16] = b"SQLite format 3\0";
    let file = file_of(url)?;
    let shown = file.display();
    let wrong = |reason: &dyn std::fmt::Display| Err(OpenError::Options(format!("{shown}: {reason}")));
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(parent) {
        Ok(data) if !data.is_dir() => return wrong(&format_args!("{} is not a directory", parent.display())),
        Ok(_) => {}
        Err(error) => return wrong(&format_args!("the directory {}: {error}", parent.display())),
    }
    // SQLite writes its log beside the file.
    if let Err(error) = rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK) {
        let error = std::io::Error::from(error);
        return wrong(&format_args!("the directory {} cannot be written to: {error}", parent.display()));
    }
    let mut begin = Vec::new();
    match File::options().read(true).write(true).open(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return if url.contains("mode=rwc") { Ok(()) } else { Err(missing(&file)) };
        }
        Err(error) => return wrong(&error),
        Ok(opened) => {
            if let Err(error) = opened.take(HEADER.len() as u64).read_to_end(&mut begin) {
                return wrong(&error);
            }
        }
    }
    if begin.is_empty() || begin == HEADER { Ok(()) } else { wrong(&"is not a SQLite database") }
}

fn missing(file: &Path) -> OpenError {
    unavailable(&format!("{} does not exist; ?mode=rwc in the URL creates it", file.display()))
}

/// The path that the URL names. Where the URL allows it to be created, it is created for this user alone.
fn prepare_file(url: &str) -> Result<PathBuf, OpenError> {
    let file = file_of(url)?;
    if file.exists() {
        return Ok(file);
    }
    if !url.contains("mode=rwc") {
        return Err(missing(&file));
    }
    let mut new = OpenOptions::new();
    new.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut new, 0o600);
    new.open(&file).map_err(|error| unavailable(&format!("{}: {error}", file.display())))?;
    Ok(file)
}

async fn open(options: &Options, what: Use) -> Result<DatabaseConnection, OpenError> {
    let mut connect = ConnectOptions::new(&options.url);
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connect
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(None)
        // A file does not go away as a server does; the test would be one more trip to the connection's thread.
        .test_before_acquire(false)
        .max_connections(if what == Use::Read { options.pool } else { 1 })
        .min_connections(u32::from(what != Use::Read))
        .idle_timeout((what == Use::Read).then_some(READER_IDLE))
        .map_sqlx_sqlite_opts(move |file| {
            let file = file.busy_timeout(BUSY_TIMEOUT);
            if what == Use::Check {
                return file.read_only(true).create_if_missing(false).pragma("query_only", "ON");
            }
            let file = file
                .foreign_keys(what != Use::Migrate)
                // For a file that is new, or made anew by VACUUM. It is said before all else, whichever order is here.
                .auto_vacuum(SqliteAutoVacuum::Incremental)
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", synchronous)
                // Temporary tables and sorts stay off the disk: on an SD card they would wear it.
                .pragma("temp_store", "MEMORY");
            match what {
                // Enough for the inner pages of the indexes; the rest is in the cache of the operating system.
                Use::Read => file.pragma("query_only", "ON").pragma("cache_size", "-256"),
                // The pages that a batch of many devices touches. Checkpoints every 8 MB: at 4 MB more pages are moved twice, and at
                // 16 MB the commit that makes one takes more than 20 ms. The log is cut back to 16 MB after a burst.
                _ => file
                    .pragma("cache_size", "-8192")
                    .pragma("wal_autocheckpoint", "2000")
                    .pragma("journal_size_limit", "16777216"),
            }
        });
    connect.map_sqlx_sqlite_pool_opts(|pool| {
        pool.after_release(|connection, _| Box::pin(async { is_at_rest(connection).await }))
    });
    connect_patiently(connect).await.map_err(|error| unavailable(&error))
}

/// Whether a connection that comes back to the pool has no transaction; one that has is closed, and another is opened in its
/// place.
///
/// SQLite gives a transaction up by itself when the disk is full or fails. The driver does not notice: it takes the next
/// transaction for one within the one that is gone, and what is only the end of a savepoint for a commit.
async fn is_at_rest(connection: &mut SqliteConnection) -> Result<bool, SqlxError> {
    // Without a transaction nothing is on its way to the connection's thread.
    if !connection.is_in_transaction() {
        return Ok(true);
    }
    // A rollback may be on its way there; this comes behind it.
    connection.ping().await?;
    let is_at_rest = !connection.is_in_transaction();
    if !is_at_rest {
        tracing::debug!("a connection to the database file is opened anew");
    }
    Ok(is_at_rest)
}

/// Connects, again and again for the busy timeout: the change to the write-ahead log needs the file alone, and SQLite does
/// not wait for that by itself when another process opens a new file at the same time.
async fn connect_patiently(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => tokio::time::sleep(BUSY_PAUSE).await,
            result => return result,
        }
    }
}

/// Whether another connection holds what a statement of SQLite needs.
fn is_busy(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    cause.as_database_error().and_then(|refusal| primary(&refusal.code()?)) == Some(5)
}

/// Copies the database to a file beside it.
async fn snapshot(connection: &DatabaseConnection, file: &Path, before: &str) -> Result<PathBuf, OpenError> {
    let mut copy = file.as_os_str().to_owned();
    copy.push(format!(".before-{before}"));
    let copy = PathBuf::from(copy);
    copy_into(connection, &copy).await?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::{connect, migrate};
    use crate::sample::new_file;

    async fn refusal(url: String) -> String {
        migrate(Options::new(url)).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("none.db");
        let message = refusal(format!("sqlite://{}", missing.display())).await;
        assert!(message.contains("none.db does not exist") && message.contains("mode=rwc"), "{message}");
        let message = refusal(format!("sqlite://{}?mode=rwc", directory.path().join("no/dir.db").display())).await;
        assert!(message.contains("no/dir.db"), "{message}");
        let text = directory.path().join("text.db");
        std::fs::write(&text, "this is no database, ".repeat(100)).unwrap();
        let message = refusal(format!("sqlite://{}", text.display())).await;
        assert!(message.contains("not a database"), "{message}");
        for url in ["sqlite::memory:", "sqlite://x.db?mode=memory"] {
            assert!(refusal(url.to_owned()).await.contains("memory:"));
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_new_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let (directory, options) = new_file();
        let _storage = crate::open(options).await.unwrap();
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
        }
    }

    #[tokio::test]
    async fn readers_do_not_write() {
        let (_directory, options) = new_file();
        migrate(options.clone()).await.unwrap();
        let connections = connect(&options).await.unwrap();
        assert!(connections.reader.execute_unprepared("DELETE FROM telemetry").await.is_err());
        assert!(connections.writer.execute_unprepared("DELETE FROM telemetry").await.is_ok());
    }

    async fn number(connection: &DatabaseConnection, sql: &str) -> i64 {
        let row = connection.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    #[tokio::test]
    async fn a_new_file_gives_pages_back() {
        let (_directory, options) = new_file();
        migrate(options.clone()).await.unwrap();
        let connections = connect(&options).await.unwrap();
        assert_eq!(number(&connections.reader, "SELECT auto_vacuum FROM pragma_auto_vacuum").await, 2);
    }

    #[tokio::test]
    async fn a_file_of_an_earlier_version_is_made_anew() {
        let (_directory, options) = new_file();
        migrate(options.clone()).await.unwrap();
        let connection = Database::connect(&options.url).await.unwrap();
        connection.execute_unprepared("PRAGMA auto_vacuum = NONE; VACUUM").await.unwrap();
        connection.close().await.unwrap();
        let connections = connect(&options).await.unwrap();
        assert_eq!(number(&connections.reader, "SELECT auto_vacuum FROM pragma_auto_vacuum").await, 0);
        connections.reader.close().await.unwrap();
        connections.writer.close().await.unwrap();
        migrate(options.clone()).await.unwrap();
        let connections = connect(&options).await.unwrap();
        assert_eq!(number(&connections.reader, "SELECT auto_vacuum FROM pragma_auto_vacuum").await, 2);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_gave_up_does_not_make_the_next_ones_look_committed() {
        let (_directory, options) = new_file();
        migrate(options.clone()).await.unwrap();
        let connections = connect(&options).await.unwrap();
        let begin = || crate::locks::begin(&connections.writer);
        let transaction = begin().await.unwrap();
        let duplicate = "INSERT OR ROLLBACK INTO seaql_migrations SELECT * FROM seaql_migrations";
        assert!(transaction.execute_unprepared(duplicate).await.is_err());
        drop(transaction);
        begin().await.unwrap().rollback().await.unwrap();
        let transaction = begin().await.unwrap();
        transaction.execute_unprepared("INSERT INTO seaql_migrations VALUES ('test', 0)").await.unwrap();
        transaction.commit().await.unwrap();
        let count = "SELECT count(*) FROM seaql_migrations WHERE version = 'test'";
        assert_eq!(number(&connections.reader, count).await, 1);
    }
}
