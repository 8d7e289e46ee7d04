//! Room on the disk of a SQLite file that telemetry leaves free.
//!
//! SQLite needs room to remove anything. If messages took all of it, nothing could be deleted through the product. So they
//! are not stored while less than a reserve is free; everything else is. Pages of the file that are free count as room.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pocket_ports::StorageError;
use sea_orm::{ConnectionTrait, DbErr, Statement};

use crate::database::Database;
use crate::error::Error;

/// How long what was found out is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// The reserve is at most this part of the disk.
const PART: u64 = 20;

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Disk {
    size: u64,
    free: u64,
}

/// The reserve on the disk of a file.
pub(crate) struct Room {
    file: PathBuf,
    reserve: u64,
    found: Mutex<Option<(Instant, Result<(), StorageError>)>>,
}

impl Room {
    /// Keeps so many bytes free on the disk of this file.
    #[allow(dead_code, reason = "only files have a disk that is known")]
    pub(crate) fn new(file: PathBuf, reserve: u64) -> Self {
        Self { file, reserve, found: Mutex::default() }
    }

    /// Whether telemetry may be stored.
    ///
    /// # Errors
    /// `Unavailable`, with the bytes that are free, when it may not.
    pub(crate) async fn require(&self, db: &Database) -> Result<(), Error> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, verdict)) = known.filter(|(at, _)| at.elapsed() < BELIEVED) {
            return Ok(verdict?);
        }
        let verdict = self.look(db).await?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), verdict.clone()));
        Ok(verdict?)
    }

    async fn look(&self, db: &Database) -> Result<Result<(), StorageError>, Error> {
        // Where the system does not tell, the disk itself will.
        let Some(disk) = disk_of(&self.file) else { return Ok(Ok(())) };
        if is_enough(disk, self.reserve) {
            return Ok(Ok(()));
        }
        let disk = Disk { free: disk.free.saturating_add(free_pages(db).await?), ..disk };
        if is_enough(disk, self.reserve) {
            return Ok(Ok(()));
        }
        Ok(Err(StorageError::Unavailable(format!(
            "the disk of the database is full: {} bytes are free, and POCKET_DISK_RESERVE keeps {} for removing what is there",
            disk.free,
            kept(disk, self.reserve)
        ))))
    }
}

/// Bytes that are kept free.
fn kept(disk: Disk, reserve: u64) -> u64 {
    reserve.min(disk.size / PART)
}

fn is_enough(disk: Disk, reserve: u64) -> bool {
    disk.free >= kept(disk, reserve)
}

#[cfg(unix)]
fn disk_of(file: &std::path::Path) -> Option<Disk> {
    let disk = rustix::fs::statvfs(file).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Some(Disk { size: bytes(disk.f_blocks), free: bytes(disk.f_bavail) })
}

#[cfg(not(unix))]
fn disk_of(_: &std::path::Path) -> Option<Disk> {
    None
}

/// Bytes of the file that have nothing in them.
async fn free_pages(db: &Database) -> Result<u64, DbErr> {
    let sql = "SELECT freelist_count * page_size AS bytes FROM pragma_freelist_count, pragma_page_size";
    let row = db.reader().query_one_raw(Statement::from_string(db.backend(), sql)).await?;
    let bytes: i64 = row.map_or(Ok(0), |row| row.try_get("", "bytes"))?;
    Ok(bytes.unsigned_abs())
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    const MIB: u64 = 1_024 * 1_024;

    #[test]
    fn the_reserve_is_kept_and_no_more_than_a_twentieth_of_the_disk() {
        let large = |free| Disk { size: 32_000 * MIB, free };
        assert!(is_enough(large(64 * MIB), 64 * MIB) && !is_enough(large(64 * MIB - 1), 64 * MIB));
        let small = |free| Disk { size: 20 * MIB, free };
        assert!(is_enough(small(MIB), 64 * MIB) && !is_enough(small(MIB - 1), 64 * MIB));
        assert!(is_enough(large(0), 0));
    }

    #[tokio::test]
    async fn the_disk_of_a_file_is_known_and_its_free_pages_count() {
        let sample = crate::sample::Sample::new().await;
        let directory = tempfile::tempdir().unwrap();
        let disk = disk_of(directory.path()).expect("the system tells");
        assert!(disk.size >= disk.free && disk.size > 0);
        assert_eq!(free_pages(&sample.database).await.unwrap() % 512, 0);
        let room = Room::new(directory.path().to_owned(), 0);
        assert!(room.require(&sample.database).await.is_ok());
    }

    #[tokio::test]
    async fn messages_wait_for_room_and_deletions_do_not() {
        let sample = crate::sample::Sample::new().await;
        let device = sample.device;
        let full = Err(StorageError::Unavailable("the disk of the database is full".into()));
        let room = sample.database.room().expect("a file has a disk");
        let much_later = Instant::now() + Duration::from_secs(60);
        *room.found.lock().unwrap() = Some((much_later, full));
        let message = sample.message(device, 1);
        let refused = sample.storage.telemetry.append(vec![message].into()).await.unwrap_err();
        assert!(matches!(&refused, StorageError::Unavailable(why) if why.contains("full")), "{refused}");
        assert!(matches!(sample.storage.health.check().await, Err(StorageError::Unavailable(_))));
        assert_eq!(sample.storage.devices.delete(sample.tenant, device).await, Ok(true));
        *room.found.lock().unwrap() = None;
        assert_eq!(sample.storage.health.check().await, Ok(()));
    }
}
