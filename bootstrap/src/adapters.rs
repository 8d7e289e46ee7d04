//! The adapters that every command and the platform itself run on: database, passwords, tokens, randomness, time.
//!
//! Architecture invariant: which storage adapter runs is decided here, by the scheme of the address, and nowhere else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pocket_application::Adapters;
use pocket_auth::{Argon2PasswordHasher, HashingLimits, HmacTokenHasher, JwtIssuer, KeyTooShort, OsEntropy};
use pocket_domain::TokenKeyFingerprint;
use pocket_ports::{DeviceTokenHasher, Storage, StorageCheck, SystemClock};
use tokio::runtime::Handle;

use crate::config::{DatabaseKind, DatabaseSettings, Secret, Settings};
use crate::data_dir::DataDir;
use crate::secrets::Secrets;
use crate::{Failure, features, token_key};

/// Opens the data directory, the secrets and the database, whose schema is brought up to date. Passwords are hashed and
/// queries run on the current tokio runtime.
///
/// # Errors
/// When the data directory, a secret or the database cannot be used.
pub(crate) async fn open(settings: &Settings) -> Result<Adapters, Failure> {
    let data_dir = DataDir::open(&settings.data_dir)?;
    let storage = open_storage(&settings.database).await?;
    match over(settings, &data_dir, &storage).await {
        Ok(adapters) => Ok(adapters),
        Err(failure) => {
            storage.health.close().await;
            Err(failure)
        }
    }
}

/// What stands over a database: the secrets, of which the token key must be the database's.
async fn over(settings: &Settings, data_dir: &DataDir, storage: &Storage) -> Result<Adapters, Failure> {
    let entropy = OsEntropy;
    token_key::require(settings, data_dir, &*storage.devices).await?;
    let secrets = Secrets::open(&settings.auth, data_dir, &entropy)?;
    let issuer = JwtIssuer::new(secrets.jwt_secret.expose().as_bytes(), settings.auth.jwt_ttl).map_err(too_short)?;
    let hasher = token_hasher(&secrets.token_key)?;
    token_key::claim(settings, data_dir, &*storage.devices, &hasher).await?;
    Ok(Adapters {
        storage: storage.clone(),
        password_hasher: Arc::new(Argon2PasswordHasher::new(Handle::current(), HashingLimits::default())),
        token_issuer: Arc::new(issuer),
        token_hasher: Arc::new(hasher),
        entropy: Arc::new(entropy),
        clock: Arc::new(SystemClock),
    })
}

/// The hasher of device tokens with this key.
///
/// # Errors
/// When its key is too short.
pub(crate) fn token_hasher(key: &Secret) -> Result<HmacTokenHasher, Failure> {
    HmacTokenHasher::new(key.expose().as_bytes()).map_err(too_short)
}

/// Makes the hasher's key that of the database.
///
/// # Errors
/// Those of the database.
pub(crate) async fn replace_token_key(storage: &Storage, hasher: &dyn DeviceTokenHasher) -> Result<(), Failure> {
    let replaced = storage.devices.replace_token_key(hasher.fingerprint()).await;
    replaced.map_err(|error| Failure::while_doing("cannot write to the database", error))
}

fn too_short(error: KeyTooShort) -> Failure {
    Failure::while_doing("cannot use a secret", error)
}

/// Opens the database. Its schema is brought up to date.
///
/// # Errors
/// When it cannot be used, is newer than this binary, or its adapter is not built in.
pub(crate) async fn open_storage(settings: &DatabaseSettings) -> Result<Storage, Failure> {
    match settings.url.kind() {
        #[cfg(feature = "storage-memory")]
        DatabaseKind::Memory => Ok(pocket_storage_memory::storage()),
        #[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
        DatabaseKind::Sqlite | DatabaseKind::Postgres => {
            pocket_storage_sea_orm::open(sea_orm_options(settings)).await.map_err(|error| unusable(settings, error))
        }
        #[allow(unreachable_patterns, reason = "reached where a feature is left out")]
        kind => Err(not_built_in(kind)),
    }
}

/// Whether what the address of the database names on this machine can be used. Nothing is changed, and no server is asked.
///
/// # Errors
/// What is wrong, without the name of the setting.
pub(crate) fn check_address(settings: &Settings) -> Result<(), String> {
    let database = &settings.database;
    match database.url.kind() {
        DatabaseKind::Memory => Ok(()),
        // The data directory is made at the start, and was looked at by itself.
        DatabaseKind::Sqlite
            if !settings.data_dir.exists()
                && database_file(database).is_ok_and(|file| file.parent() == Some(&*settings.data_dir)) =>
        {
            Ok(())
        }
        #[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
        DatabaseKind::Sqlite | DatabaseKind::Postgres => {
            pocket_storage_sea_orm::check_address(&sea_orm_options(database)).map_err(|error| error.to_string())
        }
        #[allow(unreachable_patterns, reason = "reached where a feature is left out")]
        kind => Err(not_built_in(kind).to_string()),
    }
}

/// Brings the schema of the database up to date and tells what was done.
///
/// # Errors
/// Those of [`open_storage`].
pub(crate) async fn migrate(settings: &DatabaseSettings) -> Result<String, Failure> {
    match settings.url.kind() {
        #[cfg(feature = "storage-memory")]
        DatabaseKind::Memory => Ok("a database in memory has no schema to bring up to date".into()),
        #[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
        DatabaseKind::Sqlite | DatabaseKind::Postgres => {
            let report = pocket_storage_sea_orm::migrate(sea_orm_options(settings)).await;
            report.map(|report| told(&report)).map_err(|error| unusable(settings, error))
        }
        #[allow(unreachable_patterns, reason = "reached where a feature is left out")]
        kind => Err(not_built_in(kind)),
    }
}

/// Copies a SQLite database, consistent as of one moment, into a new file, while others may use it, and tells what the copy is.
///
/// # Errors
/// When the database is of another kind or cannot be used, or the file exists or cannot be written.
#[allow(unused_variables, reason = "unused where SQLite is left out")]
pub(crate) async fn backup(settings: &DatabaseSettings, file: &Path) -> Result<Described, Failure> {
    match settings.url.kind() {
        DatabaseKind::Memory => Err(in_memory()),
        DatabaseKind::Postgres => Err(Failure::Other(
            "only SQLite is copied; PostgreSQL has its own tool: pg_dump --format=custom --file=FILE ADDRESS".into(),
        )),
        #[cfg(feature = "storage-sqlite")]
        DatabaseKind::Sqlite => {
            use pocket_storage_sea_orm::Options;
            let failed = |error| Failure::while_doing(format_args!("cannot copy {}", settings.url), error);
            pocket_storage_sea_orm::backup(&sea_orm_options(settings), file).await.map_err(failed)?;
            let copy = Options::new(crate::config::DatabaseUrl::of_file(file).expose());
            let described = pocket_storage_sea_orm::describe(&copy).await.map_err(failed)?;
            Ok(Described { migrations: described.migrations, token_key: described.token_key })
        }
        #[cfg(not(feature = "storage-sqlite"))]
        DatabaseKind::Sqlite => Err(not_built_in(DatabaseKind::Sqlite)),
    }
}

/// What a database is.
pub(crate) struct Described {
    /// Versions of its schema, in order.
    pub(crate) migrations: Vec<String>,
    /// The key of its token hashes.
    pub(crate) token_key: Option<TokenKeyFingerprint>,
}

/// Tells what a database is, and changes nothing.
///
/// # Errors
/// When it is in memory, cannot be used or its adapter is not built in.
pub(crate) async fn describe(settings: &DatabaseSettings) -> Result<Described, Failure> {
    match settings.url.kind() {
        DatabaseKind::Memory => Err(in_memory()),
        #[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
        DatabaseKind::Sqlite | DatabaseKind::Postgres => {
            let described = pocket_storage_sea_orm::describe(&sea_orm_options(settings)).await;
            let described = described.map_err(|error| unusable(settings, error))?;
            Ok(Described { migrations: described.migrations, token_key: described.token_key })
        }
        #[allow(unreachable_patterns, reason = "reached where a feature is left out")]
        kind => Err(not_built_in(kind)),
    }
}

/// Versions of the schema that this binary knows, in order.
///
/// # Errors
/// When the database is in memory or its adapter is not built in.
pub(crate) fn known_migrations(settings: &DatabaseSettings) -> Result<Vec<String>, Failure> {
    match settings.url.kind() {
        DatabaseKind::Memory => Err(in_memory()),
        #[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
        DatabaseKind::Sqlite | DatabaseKind::Postgres => {
            let known = pocket_storage_sea_orm::known_migrations(&sea_orm_options(settings));
            known.map_err(|error| unusable(settings, error))
        }
        #[allow(unreachable_patterns, reason = "reached where a feature is left out")]
        kind => Err(not_built_in(kind)),
    }
}

/// The file of a SQLite database.
///
/// # Errors
/// When it is another kind of database.
pub(crate) fn database_file(settings: &DatabaseSettings) -> Result<PathBuf, Failure> {
    match settings.url.kind() {
        #[cfg(feature = "storage-sqlite")]
        DatabaseKind::Sqlite => {
            let file = pocket_storage_sea_orm::database_file(&sea_orm_options(settings));
            file.map_err(|error| unusable(settings, error))
        }
        kind => Err(Failure::Usage(format!("a database of the kind {} has no file", kind.as_str()))),
    }
}

fn in_memory() -> Failure {
    Failure::Other("a database in memory ends with its process".into())
}

/// Opens the database to verify it. Nothing is changed.
///
/// # Errors
/// When it is in memory, cannot be used, is older or newer than this binary, or its adapter is not built in.
pub(crate) async fn open_check(settings: &DatabaseSettings) -> Result<Arc<dyn StorageCheck>, Failure> {
    match settings.url.kind() {
        DatabaseKind::Memory => Err(in_memory()),
        #[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
        DatabaseKind::Sqlite | DatabaseKind::Postgres => {
            let opened = pocket_storage_sea_orm::open_check(&sea_orm_options(settings)).await;
            opened.map_err(|error| unusable(settings, error))
        }
        #[allow(unreachable_patterns, reason = "reached where a feature is left out")]
        kind => Err(not_built_in(kind)),
    }
}

#[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
fn sea_orm_options(settings: &DatabaseSettings) -> pocket_storage_sea_orm::Options {
    use crate::config::Synchronous;
    pocket_storage_sea_orm::Options {
        url: settings.url.expose().to_owned(),
        pool: settings.pool,
        disk_reserve: settings.disk_reserve,
        synchronous: match settings.synchronous {
            Synchronous::Full => pocket_storage_sea_orm::Synchronous::Full,
            Synchronous::Normal => pocket_storage_sea_orm::Synchronous::Normal,
        },
        sealing: pocket_storage_sea_orm::Sealing {
            rows: settings.seal_rows,
            after: settings.seal_after,
            keys_per_device: settings.max_device_keys,
            ..pocket_storage_sea_orm::Sealing::default()
        },
    }
}

#[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
fn told(report: &pocket_storage_sea_orm::MigrationReport) -> String {
    let mut text = match &report.applied[..] {
        [] => "the schema is up to date".to_owned(),
        applied => format!("applied {}", applied.join(", ")),
    };
    if let Some(copy) = &report.snapshot {
        text.push_str(&format!("; a copy of the database as it was before is {}", copy.display()));
    }
    text
}

#[cfg(any(feature = "storage-sqlite", feature = "storage-postgres"))]
fn unusable(settings: &DatabaseSettings, error: impl std::fmt::Display) -> Failure {
    Failure::while_doing(format_args!("cannot use the database POCKET_DATABASE_URL={}", settings.url), error)
}

/// The configuration refuses such an address already; settings that were made in another way come here.
fn not_built_in(kind: DatabaseKind) -> Failure {
    debug_assert!(!features::is_built_in(kind.feature()));
    Failure::Usage(format!("this binary is built without the feature {}", kind.feature()))
}
