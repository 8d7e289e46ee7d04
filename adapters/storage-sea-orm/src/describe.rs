//! What a database is, without opening it for use.

use pocket_domain::TokenKeyFingerprint;
use pocket_ports::StorageError;
use sea_orm_migration::{MigratorTrait, SchemaManager};

use crate::migration::{self, Migrator, PostgresMigrator};
use crate::open::connect_unchanged;
use crate::options::Kind;
use crate::{OpenError, Options, token_key};

/// What a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The migrations that it has, in order.
    pub migrations: Vec<String>,
    /// The key of its token hashes, when it knows one.
    pub token_key: Option<TokenKeyFingerprint>,
}

/// Looks at a database, of any version. Nothing is changed.
///
/// # Errors
/// When an option is wrong, the kind of database is not built in, or it cannot be reached.
pub async fn describe(options: &Options) -> Result<Description, OpenError> {
    let connection = connect_unchanged(options).await?;
    let failed = |error: &dyn ToString| OpenError::Unavailable(error.to_string());
    let migrations = migration::applied(&connection).await.map_err(|error| failed(&error))?;
    let is_known = SchemaManager::new(&connection).has_table("token_key").await.map_err(|error| failed(&error))?;
    let known = if is_known { Some(token_key::known(&connection).await) } else { None };
    let closed = connection.close().await;
    let known = known.transpose().map_err(|error| failed(&StorageError::from(error)))?;
    closed.map_err(|error| failed(&error))?;
    Ok(Description { migrations, token_key: known.and_then(|known| known.fingerprint) })
}

/// The migrations that this version knows of such databases, in order.
///
/// # Errors
/// When an option is wrong.
pub fn known_migrations(options: &Options) -> Result<Vec<String>, OpenError> {
    let known = match options.kind()? {
        Kind::Sqlite => Migrator::migrations(),
        Kind::Postgres => PostgresMigrator::migrations(),
    };
    Ok(known.iter().map(|migration| migration.name().to_owned()).collect())
}
