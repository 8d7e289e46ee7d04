//! A copy of a SQLite database that others go on using.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::OpenError;
use crate::options::{Kind, Options};

/// Copies a SQLite database into a new file: consistent as of one moment, compact, and complete or not there at all.
/// Whoever writes to the database meanwhile is not held up.
///
/// # Errors
/// `Options` when the database is of another kind, `Unavailable` when it cannot be read, `Copy` when the file exists or
/// cannot be written.
pub async fn backup(options: &Options, file: &Path) -> Result<(), OpenError> {
    if options.kind()? != Kind::Sqlite {
        return Err(OpenError::Options("only SQLite databases are copied; PostgreSQL has pg_dump".to_owned()));
    }
    if file.exists() {
        return Err(not_made(file, "the file exists already"));
    }
    let connection = crate::sqlite::open_existing(options).await?;
    let copied = copy_into(&connection, file).await;
    let closed = connection.close().await;
    copied?;
    closed.map_err(|error| OpenError::Unavailable(error.to_string()))
}

/// The file that the URL of a SQLite database names.
///
/// # Errors
/// When an option is wrong, or the database is no file.
pub fn database_file(options: &Options) -> Result<PathBuf, OpenError> {
    match options.kind()? {
        Kind::Sqlite => crate::sqlite::file_of(&options.url),
        Kind::Postgres => Err(OpenError::Options("a PostgreSQL database is no file".to_owned())),
    }
}

/// Copies what the connection sees into a new file. The name is given when the copy is complete and on the disk, so that
/// what has it can be used.
pub(crate) async fn copy_into(connection: &DatabaseConnection, file: &Path) -> Result<(), OpenError> {
    let failed = |error: &dyn ToString| not_made(file, error.to_string());
    let partial = partial_name(file);
    let target = partial.to_str().ok_or_else(|| failed(&"its path is not UTF-8"))?;
    make_private(&partial).map_err(|error| failed(&error))?;
    let copy = Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO ?", [target.into()]);
    let copied = match connection.execute_raw(copy).await {
        Ok(_) => finish(file, &partial).map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    };
    if copied.is_err() {
        // Half a copy is of no use, and what went wrong with it is told already.
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

fn not_made(file: &Path, cause: impl Into<String>) -> OpenError {
    OpenError::Copy { file: file.to_owned(), cause: cause.into() }
}

fn partial_name(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Makes an empty file for this user alone, which SQLite fills.
fn make_private(partial: &Path) -> io::Result<()> {
    if partial.exists() {
        std::fs::remove_file(partial)?;
    }
    let mut new = File::options();
    new.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut new, 0o600);
    new.open(partial).map(drop)
}

fn finish(file: &Path, partial: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sample(directory: &Path) -> Options {
        let options = Options::new(format!("sqlite://{}?mode=rwc", directory.join("pocket.db").display()));
        crate::open(options.clone()).await.unwrap().health.close().await;
        options
    }

    #[tokio::test]
    async fn a_copy_is_a_whole_database_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let options = sample(directory.path()).await;
        let storage = crate::open(options.clone()).await.unwrap();
        let copy = directory.path().join("copy.db");
        backup(&options, &copy).await.unwrap();
        storage.health.check().await.unwrap();
        let report = crate::migrate(Options::new(format!("sqlite://{}", copy.display()))).await.unwrap();
        assert!(report.applied.is_empty(), "{report:?}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!partial_name(&copy).exists());
    }

    #[tokio::test]
    async fn nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let options = sample(directory.path()).await;
        let copy = directory.path().join("copy.db");
        std::fs::write(&copy, "precious").unwrap();
        assert!(matches!(backup(&options, &copy).await, Err(OpenError::Copy { .. })));
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "precious");
    }

    #[tokio::test]
    async fn what_cannot_be_copied_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("copy.db");
        let missing = Options::new(format!("sqlite://{}?mode=rwc", directory.path().join("none.db").display()));
        assert!(matches!(backup(&missing, &copy).await, Err(OpenError::Unavailable(_))));
        assert!(!directory.path().join("none.db").exists());
        let options = sample(directory.path()).await;
        let nowhere = directory.path().join("no/such/directory/copy.db");
        assert!(matches!(backup(&options, &nowhere).await, Err(OpenError::Copy { .. })));
        assert!(matches!(backup(&Options::new("postgres://a@b/c"), &copy).await, Err(OpenError::Options(_))));
    }
}
