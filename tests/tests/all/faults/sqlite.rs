//! A SQLite file: locked for long, on a disk that is full, read-only or broken.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use pocket_tests::{DiskFault, Launch, Shim};

use super::{Locker, Site};

#[tokio::test]
async fn a_file_that_another_process_locks_for_long_stalls_publishing_until_it_is_free() {
    let mut site = Site::start(Launch::default()).await;
    let locker = Locker::lock(&site.platform).await;
    site.stalls(&["another process holds the lock"]).await;
    assert!(site.figure("pocket_ingest_retries_total").await > 0);
    locker.let_go().await;
    site.goes_on().await;
    site.all_is_stored_once().await;
}

/// A file system of so many bytes, which ends with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(path: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let size = format!("size={bytes},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "pocket-test"]).arg(path);
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned()))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: when the test fails, the platform still has its files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "whoever reads the log of the test is told what was not tested")]
async fn a_full_disk_stalls_publishing_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&directory.path().join("disk"), 8 << 20) else {
        eprintln!(
            "this process may not mount a file system, so no disk is full here; ENOSPC is injected in another test"
        );
        return;
    };
    let url = format!("sqlite://{}?mode=rwc", disk.0.join("pocket.db").display());
    let mut site = Site::start(Launch::default().set("database.url", &url)).await;
    disk.fill();
    // The log of SQLite has pages that are used again, so it takes some messages before it grows.
    site.fill_up().await;
    site.stalls(&["the disk is full"]).await;
    disk.empty();
    site.goes_on().await;
    site.all_is_stored_once().await;
}

impl Site {
    /// Publishes until the disk is full.
    async fn fill_up(&mut self) {
        let began = tokio::time::Instant::now();
        while self.ready().await.0 == 200 {
            self.publish().await;
            assert!(began.elapsed() < super::PATIENCE, "a full disk takes everything");
            self.mqtt.take_all(std::time::Duration::from_millis(20)).await.unwrap();
        }
    }
}

/// Writes fail as they do on such a disk, and then work again.
async fn fails_and_recovers(fault: DiskFault, words: &[&str]) {
    let shim = Shim::new();
    let mut site = Site::start(shim.under(Launch::default())).await;
    for _ in 0..2 {
        shim.set_disk(Some(fault));
        site.stalls(words).await;
        shim.set_disk(None);
        site.goes_on().await;
    }
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn a_write_that_finds_no_space_is_tried_until_there_is_some() {
    fails_and_recovers(DiskFault::Full, &["the disk is full"]).await;
}

#[tokio::test]
async fn a_file_system_that_becomes_read_only_stalls_publishing_until_it_is_writable() {
    fails_and_recovers(DiskFault::ReadOnly, &["read-only", "the disk fails"]).await;
}

#[tokio::test]
async fn a_disk_that_reports_errors_stalls_publishing_until_it_works() {
    fails_and_recovers(DiskFault::Broken, &["the disk fails"]).await;
}
