//! Which key the hashes of device tokens were made with.

use pocket_domain::TokenKeyFingerprint;
use pocket_ports::{KnownTokenKey, StorageError};
use sea_orm::{ConnectionTrait, FromQueryResult, Statement};

use crate::database::Database;
use crate::error::Error;

#[derive(FromQueryResult)]
struct Known {
    fingerprint: Option<Vec<u8>>,
    has_tokens: bool,
}

/// One row, whatever is known.
const KNOWN: &str = "
    SELECT (SELECT fingerprint FROM token_key) AS fingerprint, EXISTS (SELECT 1 FROM device_tokens) AS has_tokens";
/// The first of several wins.
const CLAIM: &str = "INSERT INTO token_key (key, fingerprint) VALUES (1, $1) ON CONFLICT (key) DO NOTHING";
const REPLACE: &str = "
    INSERT INTO token_key (key, fingerprint) VALUES (1, $1)
    ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint";

/// What is known.
pub(crate) async fn known(connection: &impl ConnectionTrait) -> Result<KnownTokenKey, Error> {
    let statement = Statement::from_string(connection.get_database_backend(), KNOWN);
    let nothing = Known { fingerprint: None, has_tokens: false };
    let known = Known::find_by_statement(statement).one(connection).await?.unwrap_or(nothing);
    let fingerprint = known.fingerprint.map(parse).transpose()?;
    Ok(KnownTokenKey { fingerprint, has_tokens: known.has_tokens })
}

fn parse(bytes: Vec<u8>) -> Result<TokenKeyFingerprint, StorageError> {
    let bytes = bytes.try_into().map_err(|bytes: Vec<u8>| {
        StorageError::Corrupt(format!("the fingerprint of the token key has {} bytes", bytes.len()))
    })?;
    Ok(TokenKeyFingerprint::from_bytes(bytes))
}

/// Remembers a key when none is known, and returns the one that is.
pub(crate) async fn claim(db: &Database, key: TokenKeyFingerprint) -> Result<TokenKeyFingerprint, Error> {
    write(db, CLAIM, key).await?;
    let known = known(db.writer()).await?.fingerprint;
    Ok(known.ok_or_else(|| StorageError::Backend("the fingerprint of the token key vanished".to_owned()))?)
}

/// Remembers a key in place of any other.
pub(crate) async fn replace(db: &Database, key: TokenKeyFingerprint) -> Result<(), Error> {
    write(db, REPLACE, key).await
}

async fn write(db: &Database, sql: &str, key: TokenKeyFingerprint) -> Result<(), Error> {
    let transaction = db.begin().await?;
    let values = [key.as_bytes().to_vec().into()];
    transaction.execute_raw(Statement::from_sql_and_values(db.backend(), sql, values)).await?;
    Ok(transaction.commit().await?)
}
