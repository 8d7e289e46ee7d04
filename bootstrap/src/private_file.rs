//! Files that are written beside their place under a random name, for their owner alone, and get their name when they are
//! whole.
//!
//! Invariants: an existing file or link is never opened for writing; what others may read is never written; half a file never
//! has the name of a whole one.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// A file that has no name of its own yet. It is removed when it is dropped.
pub(crate) struct Unfinished {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    /// Makes a new file with mode 0600 in the directory of `target`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn beside(target: &Path) -> io::Result<Self> {
        let path = random_name_beside(target)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        private(&mut options);
        Ok(Self { file: options.open(&path)?, path, target: target.to_owned() })
    }

    /// The file, for writing.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Waits until it is on the disk and gives it its name, in place of a file that has the name.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn replace(self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, &self.target)?;
        sync_directory_of(&self.target)
    }

    /// Like [`replace`](Self::replace), but nothing is replaced.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name; those of the file system.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        rename_to_new(&self.path, &self.target)?;
        sync_directory_of(&self.target)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has another name when it is finished; and half a file is of no use.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A directory of mode 0700 under a random name, which is removed with all that is in it when this is dropped.
pub(crate) struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// Makes one in the directory of `target`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn beside(target: &Path) -> io::Result<Self> {
        let path = random_name_beside(target)?;
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }

    /// A path in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Gives a file another name that nothing has.
///
/// # Errors
/// `AlreadyExists` when something has the name; those of the file system.
pub(crate) fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Network file systems do not know this, but links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// The directory that a path is in.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

/// A hidden name that nobody can foresee.
fn random_name_beside(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a path of a file"))?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{:016x}.partial", u64::from_ne_bytes(random)));
    Ok(directory_of(target).join(hidden))
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("it is a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
        names.collect()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        let mut file = Unfinished::beside(&target).unwrap();
        file.file().write_all(b"new").unwrap();
        assert!(!target.exists());
        file.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn nothing_is_left_of_half_a_file() {
        let directory = tempfile::tempdir().unwrap();
        drop(Unfinished::beside(&directory.path().join("a")).unwrap());
        let temporary = TemporaryDirectory::beside(&directory.path().join("a")).unwrap();
        std::fs::write(temporary.file("b"), "").unwrap();
        drop(temporary);
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn what_is_there_is_replaced_only_when_that_is_said_and_links_are_never_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (target, victim) = (directory.path().join("a"), directory.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &target).unwrap();
        let refused = Unfinished::beside(&target).unwrap().finish().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        Unfinished::beside(&target).unwrap().replace().unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert!(target.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn a_directory_has_no_name_of_a_file() {
        for path in ["", "..", "/"] {
            assert_eq!(
                Unfinished::beside(Path::new(path)).err().unwrap().kind(),
                io::ErrorKind::InvalidInput,
                "{path}"
            );
        }
    }
}
