//! `token-key adopt`: the way on when the key of a database is lost.

use pocket_auth::OsEntropy;

use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::{Failure, Secrets, adapters, console};

/// Makes the token key of this process, which is generated when it is missing, that of the database.
///
/// # Errors
/// Those of the data directory, the secrets and the database.
pub(super) async fn adopt(settings: &Settings) -> Result<(), Failure> {
    let data_dir = DataDir::open(&settings.data_dir)?;
    let secrets = Secrets::open(&settings.auth, &data_dir, &OsEntropy)?;
    let hasher = adapters::token_hasher(&secrets.token_key)?;
    let storage = adapters::open_storage(&settings.database).await?;
    let replaced = adapters::replace_token_key(&storage, &hasher).await;
    storage.health.close().await;
    replaced?;
    console::finish(format_args!(
        "{} has the token key of this process now; devices whose tokens were made with another need new ones\n",
        settings.database.url
    ))
}
