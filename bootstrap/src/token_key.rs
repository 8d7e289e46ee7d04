//! The key of device tokens' hashes belongs to a database. A process that has another, or none, says so and does not start:
//! it would let no device in.

use std::path::Path;

use pocket_application::{TokenKeyVerdict, claim_token_key, may_make_token_key};
use pocket_ports::{DeviceRepository, DeviceTokenHasher, StorageError};

use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::{Failure, Secrets};

/// What to do when the key is not the database's.
const WAYS_OUT: &str = "Set POCKET_TOKEN_KEY (or POCKET_TOKEN_KEY_FILE) to the key of the other processes on this database, or \
    put the file token-key of its data directory or backup there. If that key is lost: `pocket-iot token-key adopt` takes the \
    key of this process, and each device needs a new token";

/// Checks that a token key is there, unless one may be made for the database.
///
/// # Errors
/// When there is none for a database that has tokens.
pub(crate) async fn require(
    settings: &Settings,
    data_dir: &DataDir,
    devices: &dyn DeviceRepository,
) -> Result<(), Failure> {
    // Asked first: another process that makes the key of this data directory now claims the database after that.
    let may_be_made = may_make_token_key(devices).await.map_err(unreadable)?;
    let file = data_dir.file(Secrets::TOKEN_KEY);
    if may_be_made || settings.auth.token_key.is_some() || file.exists() {
        return Ok(());
    }
    let (file, url) = (file.display(), &settings.database.url);
    Err(Failure::Usage(format!(
        "POCKET_TOKEN_KEY is not set and {file} does not exist, but the tokens of the devices in {url} were made with a key; \
         with a new one no device could connect. {WAYS_OUT}"
    )))
}

/// Compares the token key of this process with that of the database, which takes it when it knows none.
///
/// # Errors
/// When the database has another.
pub(crate) async fn claim(
    settings: &Settings,
    data_dir: &DataDir,
    devices: &dyn DeviceRepository,
    hasher: &dyn DeviceTokenHasher,
) -> Result<(), Failure> {
    match claim_token_key(devices, hasher).await.map_err(unreadable)? {
        TokenKeyVerdict::Ours => Ok(()),
        TokenKeyVerdict::Foreign => Err(Failure::Usage(foreign(settings, &data_dir.file(Secrets::TOKEN_KEY)))),
    }
}

fn foreign(settings: &Settings, file: &Path) -> String {
    let ours = match &settings.auth.token_key {
        Some(_) => "POCKET_TOKEN_KEY".to_owned(),
        None => format!("POCKET_TOKEN_KEY is not set, and the key in {}", file.display()),
    };
    let url = &settings.database.url;
    format!(
        "{ours} is not the key that the tokens of the devices in {url} were made with; no device could connect. {WAYS_OUT}"
    )
}

fn unreadable(error: StorageError) -> Failure {
    Failure::while_doing("cannot read which token key the database has", error)
}
