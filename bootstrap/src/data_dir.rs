//! The data directory: the database and the generated secrets, for nobody else's eyes.
//!
//! Several processes may start on one directory at once; whoever takes the lock first makes a secret, the others read it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::config::Secret;
use crate::private_file::Unfinished;

/// A data directory that exists.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Random bytes of a generated secret; it is written as twice as many hexadecimal digits.
    const SECRET_BYTES: usize = 32;

    /// Makes the directory with mode 0700 when it is missing. One that exists is left as it is, with a warning when others can
    /// enter it.
    ///
    /// # Errors
    /// When it cannot be made or is no directory.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        private_directory(&mut builder);
        match builder.create(path) {
            Ok(()) => {
                warn_if_others_can_enter(path);
                Ok(Self(path.to_owned()))
            }
            Err(error) => Err(Failure::while_doing(
                format_args!("cannot make the data directory POCKET_DATA_DIR={}", path.display()),
                error,
            )),
        }
    }

    /// One that exists, and is not made.
    ///
    /// # Errors
    /// When there is none.
    pub fn existing(path: &Path) -> Result<Self, Failure> {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self(path.to_owned())),
            Ok(_) => Err(Failure::Other(format!("the data directory POCKET_DATA_DIR={} is a file", path.display()))),
            Err(error) => Err(Failure::while_doing(
                format_args!("cannot read the data directory POCKET_DATA_DIR={}", path.display()),
                error,
            )),
        }
    }

    /// One that is made, or has nothing in it.
    ///
    /// # Errors
    /// When there is something in it, or it cannot be made.
    pub fn empty(path: &Path) -> Result<Self, Failure> {
        let dir = Self::open(path)?;
        let cannot_read = |error| {
            Failure::while_doing(
                format_args!("cannot read the data directory POCKET_DATA_DIR={}", path.display()),
                error,
            )
        };
        for entry in std::fs::read_dir(path).map_err(cannot_read)? {
            let name = entry.map_err(cannot_read)?.file_name();
            // A file system that is mounted here has it.
            if name != "lost+found" {
                return Err(Failure::Other(format!(
                    "the data directory POCKET_DATA_DIR={} is not empty: it has {}; nothing is overwritten, name another with \
                     --data-dir",
                    path.display(),
                    name.display()
                )));
            }
        }
        Ok(dir)
    }

    /// The path of a file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The secret in the file of this name, which is made with mode 0600 when it is missing.
    ///
    /// # Errors
    /// When the file cannot be made or read, or is too short to be what was written here.
    pub fn secret(&self, name: &str, random: impl FnOnce(&mut [u8])) -> Result<Secret, Failure> {
        let path = self.file(name);
        let text = self
            .read_or_make(&path, random)
            .map_err(|error| Failure::while_doing(format_args!("cannot keep the secret {}", path.display()), error))?;
        Self::checked(&path, text)
    }

    /// The secret in the file of this name, when the file is there.
    ///
    /// # Errors
    /// When the file cannot be read, or is too short to be what was written here.
    pub fn present_secret(&self, name: &str) -> Result<Option<Secret>, Failure> {
        let path = self.file(name);
        match read(&path) {
            Ok(text) => Self::checked(&path, text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::while_doing(format_args!("cannot read the secret {}", path.display()), error)),
        }
    }

    fn checked(path: &Path, text: String) -> Result<Secret, Failure> {
        if text.len() < Self::SECRET_BYTES {
            let (shown, bytes, least) = (path.display(), text.len(), Self::SECRET_BYTES);
            return Err(Failure::Other(format!("the secret {shown} has {bytes} bytes; {least} are the least")));
        }
        Ok(Secret::new(text))
    }

    fn read_or_make(&self, path: &Path, random: impl FnOnce(&mut [u8])) -> io::Result<String> {
        if !path.exists() {
            let lock = private_file(OpenOptions::new().create(true).truncate(false), &self.file("lock"))?;
            lock.lock()?;
            // Another process may have made it before this one had the lock.
            if !path.exists() {
                let mut bytes = [0; Self::SECRET_BYTES];
                random(&mut bytes);
                Self::write(path, &hex(&bytes))?;
            }
        }
        read(path)
    }

    /// Writes beside the file and renames, so that a crash never leaves half a secret.
    fn write(path: &Path, text: &str) -> io::Result<()> {
        let mut unfinished = Unfinished::beside(path)?;
        writeln!(unfinished.file(), "{text}")?;
        unfinished.replace()
    }
}

fn read(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    warn_if_others_can_read(path);
    Ok(text.trim_end().to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(unix)]
fn private_directory(builder: &mut DirBuilder) {
    use std::os::unix::fs::DirBuilderExt;
    builder.mode(0o700);
}

#[cfg(not(unix))]
fn private_directory(_: &mut DirBuilder) {}

fn private_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.write(true).open(path)
}

fn warn_if_others_can_read(path: &Path) {
    if let Some(mode) = open_to_others(path) {
        tracing::warn!(path = %path.display(), mode, "others can read this secret; chmod 600 ends it");
    }
}

fn warn_if_others_can_enter(path: &Path) {
    if let Some(mode) = open_to_others(path) {
        tracing::warn!(path = %path.display(), mode, "others can enter the data directory; chmod 700 ends it");
    }
}

/// The mode of a file or directory that others than its owner have any right to.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    (mode & 0o077 != 0).then(|| format!("{:03o}", mode & 0o777))
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn directory_and_secrets_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        let dir = DataDir::open(&path).unwrap();
        let secret = dir.secret("jwt-secret", |bytes| bytes.fill(0xab)).unwrap();
        assert_eq!(secret.expose(), "ab".repeat(32));
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("jwt-secret")), 0o600);
    }

    #[test]
    fn a_secret_is_made_once() {
        let outer = tempfile::tempdir().unwrap();
        let dir = DataDir::open(outer.path()).unwrap();
        let first = dir.secret("token-key", |bytes| bytes.fill(1)).unwrap();
        let second = DataDir::open(outer.path()).unwrap().secret("token-key", |_| panic!("made again")).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn those_who_start_at_once_have_the_same_secret() {
        let outer = tempfile::tempdir().unwrap();
        let dir = DataDir::open(outer.path()).unwrap();
        let make = |n: u8| dir.secret("token-key", |bytes| bytes.fill(n)).unwrap().expose().to_owned();
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|n| scope.spawn(move || make(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]), "{secrets:?}");
    }

    #[test]
    fn a_damaged_secret_is_refused_by_name() {
        let outer = tempfile::tempdir().unwrap();
        let dir = DataDir::open(outer.path()).unwrap();
        std::fs::write(dir.file("jwt-secret"), "x".repeat(31)).unwrap();
        let error = dir.secret("jwt-secret", |_| ()).unwrap_err().to_string();
        assert!(error.contains("jwt-secret has 31 bytes; 32 are the least"), "{error}");
        std::fs::write(dir.file("jwt-secret"), "x".repeat(32)).unwrap();
        assert!(dir.secret("jwt-secret", |_| ()).is_ok());
    }

    #[test]
    fn a_path_that_is_a_file_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("POCKET_DATA_DIR="), "{error}");
    }
}
