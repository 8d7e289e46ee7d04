//! Which process serves from a data directory, told to those who start another one there.
//!
//! A process that serves holds a lock on a file with its id. The file is for people alone: that two brokers never share a name is the
//! database's affair, and several processes may serve from one directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::config::{DatabaseKind, Settings};

/// How names of these files end.
const SUFFIX: &str = ".pid";

/// The note of this process, which goes with it.
pub(crate) struct Serving {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Serving {
    /// Writes the note of this process. Without it, which a directory that cannot be written to or an older process prevents, messages say less.
    pub(crate) fn note(settings: &Settings) -> Option<Self> {
        let what = if settings.mode.serves_mqtt() { format!("broker.{}", settings.node) } else { "api".to_owned() };
        let path = settings.data_dir.join(format!("{what}{SUFFIX}"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).ok()?;
        file.try_lock().ok()?;
        file.set_len(0).ok()?;
        writeln!(file, "{}", std::process::id()).ok()?;
        Some(Self { path, _file: file })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The lock is still held, so it is the note of this process that goes.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The id of a process that serves from the directory.
pub(crate) fn process_of(data_dir: &Path) -> Option<u32> {
    let files = std::fs::read_dir(data_dir).ok()?.flatten();
    let notes = files.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(SUFFIX));
    notes.into_iter().find_map(|path| {
        let held = matches!(File::open(&path).ok()?.try_lock(), Err(TryLockError::WouldBlock));
        held.then(|| std::fs::read_to_string(&path).ok()?.trim().parse().ok()).flatten()
    })
}

/// Another process serves what this one was to serve.
pub(crate) fn runs_already(settings: &Settings) -> Failure {
    let (node, url, dir) = (&settings.node, &settings.database.url, settings.data_dir.display());
    let is_server = url.kind() == DatabaseKind::Postgres;
    let what = match process_of(&settings.data_dir) {
        Some(id) => format!("the platform already runs on {dir} (pid {id}, {url})"),
        None if is_server => {
            format!("a broker with the name {node} already runs on {url}, from another data directory than {dir}")
        }
        None => format!("the platform already runs on {url} (the data directory here is {dir})"),
    };
    Failure::Other(if is_server {
        format!("{what}: stop that process, or give this one another name with POCKET_NODE")
    } else {
        format!("{what}: stop that process, or start this one in a data directory of its own with --data-dir")
    })
}

/// A socket that could not be had, with the process of this directory that may have it.
pub(crate) fn or_runs_already(settings: &Settings, failure: Failure) -> Failure {
    match (failure, process_of(&settings.data_dir)) {
        (Failure::Other(text), Some(id)) => {
            Failure::Other(format!("{text} (the platform already runs on {}, pid {id})", settings.data_dir.display()))
        }
        (failure, _) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_while_it_serves() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().display().to_string();
        let settings = Settings::with([("data_dir", &*data_dir)]).unwrap();
        assert_eq!(process_of(dir.path()), None);
        let serving = Serving::note(&settings).unwrap();
        assert_eq!(process_of(dir.path()), Some(std::process::id()));
        assert!(Serving::note(&settings).is_none(), "it is another's");
        let told = runs_already(&settings).to_string();
        assert!(told.starts_with(&format!("the platform already runs on {data_dir} (pid ")), "{told}");
        drop(serving);
        assert_eq!(process_of(dir.path()), None);
        // What a crash left is nobody's.
        std::fs::write(dir.path().join("broker.main.pid"), "1\n").unwrap();
        assert_eq!(process_of(dir.path()), None);
        assert!(Serving::note(&settings).is_some());
    }
}
