//! `backup` and `restore` as a shell sees them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory with a platform that has an administrator, and its archive.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.succeeds(&["user", "create-admin", "ann"]);
        place.succeeds(&["backup", "backup.tar"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pocket-iot"));
        command.args(arguments).current_dir(self.0.path()).env_clear().output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command ends with this code and says this; nothing is left of what it began.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], code: i32, words: &str) {
        let before = names(self.0.path());
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(words), "{words:?} is not in {error}");
        assert!(names(self.0.path()).iter().all(|name| !name.ends_with(".partial")));
        if let Some(new) = names(self.0.path()).iter().find(|name| !before.contains(name)) {
            assert_eq!(names(&self.path(new)), [""; 0], "{new} has something in it");
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_archive_becomes_the_same_platform_in_another_directory() {
    let place = Place::new();
    assert_eq!(mode(&place.path("backup.tar")), 0o600);
    assert_eq!(names(place.0.path()), ["backup.tar", "data"]);
    let told = place.succeeds(&["restore", "backup.tar", "--data-dir", "new"]);
    assert!(told.starts_with("new is restored from backup.tar, made by version "), "{told}");
    assert_eq!(names(&place.path("new")), ["jwt-secret", "pocket.db", "token-key"]);
    assert_eq!(mode(&place.path("new")), 0o700);
    for name in ["jwt-secret", "pocket.db", "token-key"] {
        assert_eq!(mode(&place.path("new").join(name)), 0o600, "{name}");
    }
    for secret in ["jwt-secret", "token-key"] {
        let read = |directory: &str| std::fs::read(place.path(directory).join(secret)).unwrap();
        assert_eq!(read("new"), read("data"));
    }
    // The administrator is there, and the key is the database's.
    place.succeeds(&["user", "reset-password", "ann", "--data-dir", "new"]);
}

#[test]
fn nothing_is_overwritten() {
    let place = Place::new();
    place.refuses(&["backup", "backup.tar"], 1, "backup.tar: the file exists already");
    place.refuses(&["restore", "backup.tar"], 1, "POCKET_DATA_DIR=./data is not empty");
    std::fs::write(place.path("other.db"), "precious").unwrap();
    let other = ["restore", "backup.tar", "--data-dir", "new", "--set", "database.url=sqlite://other.db"];
    place.refuses(&other, 1, "other.db exists already; nothing is overwritten");
    assert_eq!(std::fs::read(place.path("other.db")).unwrap(), b"precious");
    std::os::unix::fs::symlink("nowhere", place.path("link.tar")).unwrap();
    place.refuses(&["backup", "link.tar"], 1, "link.tar: the file exists already");
    assert!(!place.path("nowhere").exists());
}

#[test]
fn what_is_no_archive_or_damaged_is_refused() {
    let place = Place::new();
    let restore = |name: &'static str| ["restore", name, "--data-dir", "new"];
    place.refuses(&restore("missing.tar"), 1, "cannot read missing.tar: No such file");
    let whole = std::fs::read(place.path("backup.tar")).unwrap();
    for (name, text) in
        [("empty.tar", Vec::new()), ("text.tar", b"no archive, ".repeat(1_000)), ("zeros.tar", vec![0; 4_096])]
    {
        std::fs::write(place.path(name), text).unwrap();
        place.refuses(&["restore", name, "--data-dir", "new"], 1, "is no archive that `pocket-iot backup` made");
    }
    for length in [whole.len() / 2, 3_000] {
        std::fs::write(place.path("cut.tar"), &whole[..length]).unwrap();
        place.refuses(&restore("cut.tar"), 1, "cut.tar is damaged or cut off");
    }
    let mut changed = whole.clone();
    let place_of_database = whole.windows(15).position(|bytes| bytes == b"SQLite format 3").unwrap();
    changed[place_of_database + 5_000] ^= 1;
    std::fs::write(place.path("changed.tar"), changed).unwrap();
    place.refuses(&restore("changed.tar"), 1, "pocket.db is not as it was backed up");
    place.succeeds(&restore("backup.tar"));
}

/// The archive with a text of its manifest replaced by another of the same length.
fn with_manifest(place: &Place, name: &str, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut archive = std::fs::read(place.path("backup.tar")).unwrap();
    let found = archive.windows(from.len()).position(|bytes| bytes == from.as_bytes()).expect("the manifest has it");
    archive[found..found + from.len()].copy_from_slice(to.as_bytes());
    std::fs::write(place.path(name), archive).unwrap();
}

#[test]
fn an_archive_of_a_later_version_is_refused() {
    let place = Place::new();
    let restore = |name: &'static str| ["restore", name, "--data-dir", "new"];
    with_manifest(&place, "format.tar", "\"format\": 1", "\"format\": 2");
    place.refuses(&restore("format.tar"), 1, "in a form that this version does not know");
    with_manifest(&place, "schema.tar", "m0001_first", "m9001_first");
    place.refuses(&restore("schema.tar"), 1, "has the migration m9001_first, which this version");
    with_manifest(&place, "kind.tar", "\"database\": \"sqlite\"", "\"database\": \"oracle\"");
    place.refuses(&restore("kind.tar"), 2, "is of the kind oracle");
    with_manifest(&place, "name.tar", "\"name\": \"token-key\"", "\"name\": \"../en-key\"");
    place.refuses(&restore("name.tar"), 1, "../en-key");
}

#[test]
fn the_token_key_must_be_that_of_the_database() {
    let place = Place::new();
    let other = format!("auth.token_key={}", "k".repeat(32));
    place.refuses(&["backup", "b.tar", "--set", &other], 2, "POCKET_TOKEN_KEY");
    let restore = ["restore", "backup.tar", "--data-dir", "new", "--set", &other];
    place.refuses(&restore, 2, "POCKET_TOKEN_KEY is not the key");
    let key = std::fs::read(place.path("data/token-key")).unwrap();
    std::fs::remove_file(place.path("data/token-key")).unwrap();
    place.refuses(&["backup", "b.tar"], 2, "token-key does not exist");
    // A key that is configured is part of the backup as well.
    let key = format!("auth.token_key={}", String::from_utf8(key).unwrap().trim());
    place.succeeds(&["backup", "b.tar", "--set", &key]);
    place.succeeds(&["restore", "b.tar", "--data-dir", "new"]);
    place.succeeds(&["user", "reset-password", "ann", "--data-dir", "new"]);
}
