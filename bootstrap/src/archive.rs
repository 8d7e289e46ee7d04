//! The archive of `backup`: a tar file with a manifest, the secrets and the database.
//!
//! The manifest comes first and names each file with its size and SHA-256, so that an archive that was cut off, changed or
//! made by a later version is refused before anything is written.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{Builder, Entry, EntryType, Header};

use crate::Failure;

/// The entry that comes first.
const MANIFEST: &str = "manifest.json";
/// The most bytes of a manifest; it has some hundred.
const MAX_MANIFEST: u64 = 64 * 1_024;
/// The form of the archive that is written here, and the latest that can be read.
const FORMAT: u32 = 1;
const MODE: u32 = 0o600;

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// The form of the archive.
    pub(crate) format: u32,
    /// The version of the program that made it.
    pub(crate) version: String,
    /// When it was made, in RFC 3339.
    pub(crate) created_at: String,
    /// Whose database it is: `sqlite`, which is in the archive, or `postgres`, which is not.
    pub(crate) database: String,
    /// Versions of the schema that the database has, in order.
    pub(crate) migrations: Vec<String>,
    /// Tells the token key from others, in hexadecimal digits.
    pub(crate) token_key_fingerprint: Option<String>,
    /// The files that follow, in this order.
    pub(crate) files: Vec<Listed>,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
}

impl Manifest {
    /// The manifest of an archive that is made now, without files.
    pub(crate) fn new(database: &str, created_at: String) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            database: database.to_owned(),
            migrations: Vec::new(),
            token_key_fingerprint: None,
            files: Vec::new(),
        }
    }
}

/// What a file of an archive is read from, twice.
pub(crate) trait Content: Read + Seek {}

impl<T: Read + Seek> Content for T {}

/// Writes an archive of these files, each with its name. The manifest lists them.
///
/// # Errors
/// Those of the files.
pub(crate) fn write(target: &mut File, mut manifest: Manifest, files: Vec<(&str, Box<dyn Content>)>) -> io::Result<()> {
    let mut opened = Vec::new();
    for (name, mut content) in files {
        let (bytes, sha256) = copy_and_hash(&mut content, &mut io::sink())?;
        content.rewind()?;
        manifest.files.push(Listed { name: name.to_owned(), bytes, sha256 });
        opened.push((name, bytes, content));
    }
    let mut archive = Builder::new(target);
    let text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
    append(&mut archive, MANIFEST, text.len() as u64, &text[..])?;
    for (name, bytes, content) in opened {
        append(&mut archive, name, bytes, content)?;
    }
    archive.into_inner().map(drop)
}

fn append(archive: &mut Builder<&mut File>, name: &str, bytes: u64, data: impl Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(MODE);
    archive.append_data(&mut header, name, data)
}

/// The manifest of an archive.
///
/// # Errors
/// When the file cannot be read, is no archive of `backup`, or is from a later version.
pub(crate) fn manifest(path: &Path) -> Result<Manifest, Failure> {
    let mut reader = open(path)?;
    let mut entries = reader.entries().map_err(|_| no_archive(path))?;
    read_manifest(path, &mut entries)
}

/// Fills these files, one for each that the manifest lists, in its order. When this fails, what is in them is worth nothing.
///
/// # Errors
/// When the archive cannot be read or is damaged, or a file cannot be written to.
pub(crate) fn extract<'a>(
    path: &Path,
    manifest: &Manifest,
    files: impl Iterator<Item = &'a mut File>,
) -> Result<(), Failure> {
    let damaged = |error: io::Error| Failure::Other(format!("{} is damaged or cut off: {error}", path.display()));
    let mut reader = open(path)?;
    let mut entries = reader.entries().map_err(|_| no_archive(path))?;
    if read_manifest(path, &mut entries)? != *manifest {
        return Err(damaged(io::Error::other("it changes while it is read")));
    }
    for (listed, file) in manifest.files.iter().zip(files) {
        let missing = || io::Error::other(format!("{} is missing", listed.name));
        let mut entry = entries.next().unwrap_or_else(|| Err(missing())).map_err(damaged)?;
        if named(&entry).as_deref() != Some(&*listed.name) {
            return Err(damaged(missing()));
        }
        let copied = copy_and_hash(&mut entry, file).map_err(damaged)?;
        if copied != (listed.bytes, listed.sha256.clone()) {
            return Err(damaged(io::Error::other(format!("{} is not as it was backed up", listed.name))));
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<tar::Archive<File>, Failure> {
    let file = File::open(path);
    let file = file.map_err(|error| Failure::while_doing(format_args!("cannot read {}", path.display()), error))?;
    Ok(tar::Archive::new(file))
}

fn no_archive(path: &Path) -> Failure {
    Failure::Other(format!("{} is no archive that `pocket-iot backup` made", path.display()))
}

fn read_manifest(path: &Path, entries: &mut tar::Entries<'_, File>) -> Result<Manifest, Failure> {
    let mut first = entries.next().and_then(Result::ok).ok_or_else(|| no_archive(path))?;
    if named(&first).as_deref() != Some(MANIFEST) || first.size() > MAX_MANIFEST {
        return Err(no_archive(path));
    }
    let mut text = String::new();
    first.read_to_string(&mut text).map_err(|_| no_archive(path))?;
    parse(&text, &path.display().to_string())
}

/// The name of an entry that is a file.
fn named(entry: &Entry<'_, File>) -> Option<String> {
    let name = String::from_utf8(entry.path_bytes().into_owned()).ok();
    name.filter(|_| entry.header().entry_type() == EntryType::Regular)
}

fn parse(text: &str, shown: &str) -> Result<Manifest, Failure> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
        version: String,
    }
    let wrong = |error| Failure::Other(format!("{shown} has a manifest that cannot be understood: {error}"));
    let Format { format, version } = serde_json::from_str(text).map_err(wrong)?;
    if format > FORMAT {
        return Err(Failure::Other(format!(
            "{shown} was made by the later version {version} in a form that this version does not know; restore it with that one"
        )));
    }
    serde_json::from_str(text).map_err(wrong)
}

/// Copies all, and gives its length and SHA-256.
fn copy_and_hash(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut hash, mut length, mut block) = (Sha256::new(), 0, vec![0; 256 * 1_024]);
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
        to.write_all(&block[..read])?;
        length += read as u64;
    }
    Ok((length, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
