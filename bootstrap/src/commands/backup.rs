//! `backup`: one file from which the platform can be restored.

use std::fs::File;
use std::io::{self, Cursor};
use std::path::Path;

use pocket_domain::TokenKeyFingerprint;
use pocket_ports::{Clock, DeviceTokenHasher, SystemClock};

use super::restore::DATABASE;
use crate::archive::{self, Content, Manifest};
use crate::config::{DatabaseKind, Settings};
use crate::data_dir::DataDir;
use crate::private_file::{TemporaryDirectory, Unfinished, rename_to_new};
use crate::{Failure, Secrets, adapters, console};

/// Writes the database, consistent as of one moment, and the secrets into a new archive. Of PostgreSQL only the secrets: its
/// own tools copy the database.
///
/// # Errors
/// When the database or a secret cannot be read, the token key is not the database's, or the file exists or cannot be written.
pub(super) async fn run(settings: &Settings, file: &Path, database_only: bool) -> Result<(), Failure> {
    let cannot_write = |error: io::Error| {
        let told = if error.kind() == io::ErrorKind::AlreadyExists {
            "the file exists already".into()
        } else {
            error.to_string()
        };
        Failure::while_doing(format_args!("cannot write {}", file.display()), told)
    };
    if file.symlink_metadata().is_ok() {
        return Err(cannot_write(io::ErrorKind::AlreadyExists.into()));
    }
    let (shown, url) = (file.display(), &settings.database.url);
    if settings.database.url.kind() == DatabaseKind::Postgres && !database_only {
        let key = adapters::describe(&settings.database).await?.token_key;
        let secrets = secrets(settings, key)?;
        write(file, Manifest::new("postgres", now()), &secrets, key, None).map_err(cannot_write)?;
        return console::finish(format_args!(
            "{shown} has the secrets of {url}, and not the database, which the tools of PostgreSQL copy:\n  \
             pg_dump --format=custom --file=FILE ADDRESS\n"
        ));
    }
    let directory = TemporaryDirectory::beside(file).map_err(cannot_write)?;
    let copy = directory.file(DATABASE);
    let copied = adapters::backup(&settings.database, &copy).await?;
    if database_only {
        rename_to_new(&copy, file).map_err(cannot_write)?;
        return console::finish(format_args!("{shown} is a copy of {url}, without the secrets\n"));
    }
    let secrets = secrets(settings, copied.token_key)?;
    let manifest = Manifest { migrations: copied.migrations, ..Manifest::new("sqlite", now()) };
    let database = File::open(&copy).map_err(cannot_write)?;
    write(file, manifest, &secrets, copied.token_key, Some(database)).map_err(cannot_write)?;
    console::finish(format_args!(
        "{shown} has {url} and its secrets; `pocket-iot restore {shown}` makes a platform of it\n"
    ))
}

fn now() -> String {
    SystemClock.now().to_string()
}

/// The secrets of the database with this token key. There are none yet when nothing was ever started on it.
fn secrets(settings: &Settings, key: Option<TokenKeyFingerprint>) -> Result<Vec<(&'static str, String)>, Failure> {
    let data_dir = DataDir::existing(&settings.data_dir)?;
    let Some(key) = key else {
        let present = Secrets::present(&settings.auth, &data_dir);
        return Ok(present.map_or_else(|_| Vec::new(), |secrets| named(&secrets)));
    };
    let secrets = Secrets::present(&settings.auth, &data_dir)?;
    if adapters::token_hasher(&secrets.token_key)?.fingerprint() != key {
        return Err(Failure::Usage(format!(
            "the token key of this process (POCKET_TOKEN_KEY, or {}) is not the one that the tokens of the devices in {} were made \
             with: no device could connect to what is restored from this",
            data_dir.file(Secrets::TOKEN_KEY).display(),
            settings.database.url
        )));
    }
    Ok(named(&secrets))
}

fn named(secrets: &Secrets) -> Vec<(&'static str, String)> {
    let line = |secret: &crate::config::Secret| format!("{}\n", secret.expose());
    vec![(Secrets::JWT_SECRET, line(&secrets.jwt_secret)), (Secrets::TOKEN_KEY, line(&secrets.token_key))]
}

fn write(
    path: &Path,
    manifest: Manifest,
    secrets: &[(&'static str, String)],
    key: Option<TokenKeyFingerprint>,
    database: Option<File>,
) -> io::Result<()> {
    let manifest = Manifest { token_key_fingerprint: key.map(|key| key.to_string()), ..manifest };
    let mut files: Vec<(&str, Box<dyn Content>)> = Vec::new();
    for (name, text) in secrets {
        files.push((name, Box::new(Cursor::new(text.clone()))));
    }
    if let Some(file) = database {
        files.push((DATABASE, Box::new(file)));
    }
    let mut archive = Unfinished::beside(path)?;
    archive::write(archive.file(), manifest, files)?;
    archive.finish()
}
