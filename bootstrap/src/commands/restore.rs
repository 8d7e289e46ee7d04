//! `restore`: an archive of `backup` becomes a data directory.

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use pocket_auth::HmacTokenHasher;
use pocket_ports::DeviceTokenHasher;

use crate::archive::{self, Listed, Manifest};
use crate::config::{DatabaseKind, Settings};
use crate::data_dir::DataDir;
use crate::private_file::Unfinished;
use crate::{Failure, Secrets, adapters, console};

/// The name of the database in an archive.
pub(super) const DATABASE: &str = "pocket.db";

/// Writes what an archive holds into a data directory that is empty or missing, and the database where the settings have it.
/// Nothing has its name before all of it was read and is as it was backed up.
///
/// # Errors
/// An archive that is damaged or from a later version, a data directory that is not empty, a database that exists, settings that
/// name another kind of database or another token key, and those of the file system.
pub(super) async fn run(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let manifest = archive::manifest(file)?;
    fits(settings, &manifest, file)?;
    DataDir::empty(&settings.data_dir)?;
    let mut written = Vec::new();
    for listed in &manifest.files {
        let target = target(settings, listed, file)?;
        let unfinished = Unfinished::beside(&target).map_err(|error| cannot_write(&target, &error))?;
        written.push((target, unfinished));
    }
    archive::extract(file, &manifest, written.iter_mut().map(|(_, unfinished)| unfinished.file()))?;
    let keys = manifest.files.iter().zip(&mut written).filter(|(listed, _)| listed.name == Secrets::TOKEN_KEY);
    for (_, (path, unfinished)) in keys {
        is_its_key(&manifest, unfinished).map_err(|error| cannot_write(path, &error))?;
    }
    for (target, unfinished) in written {
        unfinished.finish().map_err(|error| cannot_write(&target, &error))?;
    }
    let Manifest { version, created_at, .. } = &manifest;
    let (from, to) = (file.display(), settings.data_dir.display());
    let next = match settings.database.url.kind() {
        DatabaseKind::Postgres => {
            "the database is not in it: restore it with pg_restore before the platform is started"
        }
        _ => "the platform can be started",
    };
    console::finish(format_args!("{to} is restored from {from}, made by version {version} at {created_at}; {next}\n"))
}

/// Whether the archive can become what the settings describe, and this version can work with it.
fn fits(settings: &Settings, manifest: &Manifest, file: &Path) -> Result<(), Failure> {
    let (shown, version) = (file.display(), &manifest.version);
    let kind = settings.database.url.kind().as_str();
    if kind != manifest.database {
        return Err(Failure::Usage(format!(
            "POCKET_DATABASE_URL={} is a database of the kind {kind}, and {shown} is of the kind {}",
            settings.database.url, manifest.database
        )));
    }
    let known = adapters::known_migrations(&settings.database)?;
    if let Some(unknown) = manifest.migrations.iter().find(|name| !known.contains(name)) {
        return Err(Failure::Other(format!(
            "{shown} was made by version {version} and its database has the migration {unknown}, which this version, {}, does not \
             know; restore it with version {version} or a later one",
            env!("CARGO_PKG_VERSION")
        )));
    }
    let Some(configured) = &settings.auth.token_key else { return Ok(()) };
    let hasher = adapters::token_hasher(configured)?;
    if manifest.token_key_fingerprint.as_ref().is_some_and(|key| *key != hasher.fingerprint().to_string()) {
        return Err(Failure::Usage(format!(
            "POCKET_TOKEN_KEY is not the key that the tokens of the devices in {shown} were made with; leave it out, and the key of \
             the archive is used"
        )));
    }
    Ok(())
}

/// Where a file of the archive belongs. Nothing is there yet.
fn target(settings: &Settings, listed: &Listed, file: &Path) -> Result<PathBuf, Failure> {
    let target = match &*listed.name {
        Secrets::JWT_SECRET | Secrets::TOKEN_KEY => settings.data_dir.join(&listed.name),
        DATABASE => adapters::database_file(&settings.database)?,
        name => {
            return Err(Failure::Other(format!(
                "{} has a file {name:?}, which this version does not know",
                file.display()
            )));
        }
    };
    match target.symlink_metadata() {
        Ok(_) => Err(Failure::Other(format!("{} exists already; nothing is overwritten", target.display()))),
        Err(_) => Ok(target),
    }
}

fn is_its_key(manifest: &Manifest, unfinished: &mut Unfinished) -> io::Result<()> {
    let mut text = String::new();
    let file = unfinished.file();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let hasher = HmacTokenHasher::new(text.trim_end().as_bytes()).map_err(io::Error::other)?;
    let own = hasher.fingerprint().to_string();
    match &manifest.token_key_fingerprint {
        Some(key) if *key != own => Err(io::Error::other("it is not the token key of the database in the archive")),
        _ => Ok(()),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::while_doing(format_args!("cannot write {}", path.display()), error)
}
