//! Whether this process has the key that the hashes of device tokens in the database were made with. With another, no device
//! could connect.

use pocket_ports::{DeviceRepository, DeviceTokenHasher, KnownTokenKey, StorageError};

/// What a database says of a token key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKeyVerdict {
    /// It is the database's key.
    Ours,
    /// The tokens in the database were made with another.
    Foreign,
}

/// Whether a new token key may be made for a database: no key is known, and no token was made with one.
///
/// # Errors
/// Those of storage.
pub async fn may_make_token_key(devices: &dyn DeviceRepository) -> Result<bool, StorageError> {
    let KnownTokenKey { fingerprint, has_tokens } = devices.token_key().await?;
    Ok(fingerprint.is_none() && !has_tokens)
}

/// Compares the key of this process with that of the database. A database that knows none, because it is new or from a
/// version that did not remember keys, takes this one.
///
/// # Errors
/// Those of storage.
pub async fn claim_token_key(
    devices: &dyn DeviceRepository,
    hasher: &dyn DeviceTokenHasher,
) -> Result<TokenKeyVerdict, StorageError> {
    let own = hasher.fingerprint();
    let known = devices.claim_token_key(own).await?;
    Ok(if known == own { TokenKeyVerdict::Ours } else { TokenKeyVerdict::Foreign })
}
