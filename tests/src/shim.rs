//! What a test does to the system calls of the binary, without root and without harm to others: a small library, compiled
//! here, that is loaded into it first. It needs a C compiler, as SQLite does.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Launch;

/// A disk that can fail and a clock that can jump.
pub struct Shim(TempDir);

/// How writes to the database fail.
#[derive(Clone, Copy, Debug)]
pub enum DiskFault {
    /// `ENOSPC`.
    Full,
    /// `EROFS`.
    ReadOnly,
    /// `EIO`.
    Broken,
}

impl Shim {
    /// Compiles the library.
    ///
    /// # Panics
    /// When that fails.
    #[allow(clippy::new_without_default, reason = "it compiles something")]
    pub fn new() -> Self {
        let shim = Self(tempfile::tempdir().expect("a temporary directory"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(shim.library()).arg(source).arg("-ldl");
        let compiled = compiler.output().expect("there is a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        shim
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("shim.so")
    }

    /// A launch of the binary with the library.
    #[must_use]
    pub fn under(&self, launch: Launch) -> Launch {
        let path = |path: &Path| path.to_str().expect("a path of text").to_owned();
        launch.env("LD_PRELOAD", &path(&self.library())).env("POCKET_SHIM", &path(self.0.path()))
    }

    /// From now on, every write to the database and every sync of it fails; `None`: all is well.
    pub fn set_disk(&self, fault: Option<DiskFault>) {
        let errno = fault.map(|fault| match fault {
            DiskFault::Full => 28,
            DiskFault::ReadOnly => 30,
            DiskFault::Broken => 5,
        });
        self.set("fault", errno);
    }

    /// The time of day is later by so many seconds, or earlier, than it is.
    pub fn set_clock(&self, seconds: i64) {
        self.set("clock", Some(seconds));
    }

    /// Writes the number so that nobody reads half of it.
    fn set(&self, name: &str, number: Option<i64>) {
        let (file, new) = (self.0.path().join(name), self.0.path().join("new"));
        match number {
            Some(number) => {
                std::fs::write(&new, number.to_string())
                    .and_then(|()| std::fs::rename(&new, &file))
                    .expect("it is written");
            }
            // It may not be there.
            None => drop(std::fs::remove_file(file)),
        }
    }
}
