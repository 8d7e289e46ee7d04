//! How a database is opened.

use std::fmt;
use std::time::Duration;

use crate::OpenError;

/// Which database, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// `sqlite://<path>?mode=rwc` or `postgres://<user>:<password>@<host>:<port>/<database>`.
    pub url: String,
    /// Connections to PostgreSQL, or readers of the SQLite file: 1 to 1,000.
    pub pool: u32,
    /// When SQLite waits for the disk.
    pub synchronous: Synchronous,
    /// When telemetry is compressed, and removed.
    pub sealing: Sealing,
    /// Bytes of the disk of a SQLite file that telemetry leaves free, or a twentieth of the disk if that is less.
    pub disk_reserve: u64,
}

/// When rows of telemetry are compressed into chunks, and when they are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// As soon as there are so many,
    pub rows: u32,
    /// and so many for each device that sends, but not more than a batch: smaller chunks would soon be merged.
    pub per_device: u32,
    /// As soon as one was received so long ago.
    pub after: Duration,
    /// The most rows that are compressed together.
    pub batch: u32,
    /// The most keys that a device has in chunks; payloads with others are kept without leaves.
    pub keys_per_device: u32,
    /// How often to look.
    pub every: Duration,
    /// For how long a process that shares the database keeps the others from doing it, from its last step on, by the clock of
    /// the database.
    pub lease: Duration,
}

impl Sealing {
    /// Rows that may be in memory for a few devices.
    const FEW: usize = 80_000;

    /// The rows that are worth sealing when so many devices send.
    pub(crate) fn enough(self, devices: usize) -> i64 {
        let of_devices = i64::try_from(devices).unwrap_or(i64::MAX).saturating_mul(self.per_device.into());
        i64::from(self.rows).max(of_devices.min(self.batch.into()))
    }

    /// The rows that are sealed together when there are more: such that chunks of so many devices are not small, and no more,
    /// because they are in memory.
    pub(crate) fn most(self, devices: usize) -> usize {
        let of_devices = devices.saturating_mul(4 * self.per_device as usize);
        of_devices.max(Self::FEW).min(self.batch as usize)
    }
}

impl Default for Sealing {
    fn default() -> Self {
        Self {
            rows: 20_000,
            per_device: 64,
            after: Duration::from_secs(3_600),
            batch: 400_000,
            keys_per_device: 10_000,
            every: Duration::from_secs(1),
            lease: Duration::from_secs(60),
        }
    }
}

/// When SQLite waits for the disk. PostgreSQL has its own setting, `synchronous_commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// At each commit: what was acknowledged survives a power cut.
    #[default]
    Full,
    /// At checkpoints only: a power cut may lose the latest commits, a crash of the process does not.
    Normal,
}

/// The kinds of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// The Cargo feature of this crate that builds it in.
    pub(crate) fn feature(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

impl Options {
    /// The reserve by default: a checkpoint and a step of a removal take some megabytes.
    pub const DISK_RESERVE: u64 = 64 << 20;
    /// The most connections.
    pub const MAX_POOL: u32 = 1_000;

    /// The database of the URL with ten connections, which waits for the disk at each commit.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pool: 10,
            synchronous: Synchronous::Full,
            sealing: Sealing::default(),
            disk_reserve: Self::DISK_RESERVE,
        }
    }

    /// Which kind of database the URL names, when the options are in their bounds.
    pub(crate) fn kind(&self) -> Result<Kind, OpenError> {
        if !(1..=Self::MAX_POOL).contains(&self.pool) {
            return Err(OpenError::Options(format!("the pool must be 1 to {} connections", Self::MAX_POOL)));
        }
        let scheme = self.url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "sqlite" => Ok(Kind::Sqlite),
            "postgres" | "postgresql" => Ok(Kind::Postgres),
            // The URL may hold a password, so only its scheme is repeated.
            _ => Err(OpenError::Options(format!(
                "the database URL must begin with sqlite:// or postgres://, not {:?}",
                scheme.chars().take(16).collect::<String>()
            ))),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, pool, synchronous, sealing, disk_reserve } = self;
        f.debug_struct("Options")
            .field("pool", pool)
            .field("synchronous", synchronous)
            .field("sealing", sealing)
            .field("disk_reserve", disk_reserve)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_tells_the_kind() {
        for (url, kind) in [
            ("sqlite://data/pocket.db?mode=rwc", Kind::Sqlite),
            ("sqlite:pocket.db", Kind::Sqlite),
            ("postgres://a:b@localhost/db", Kind::Postgres),
            ("postgresql://localhost/db", Kind::Postgres),
        ] {
            assert_eq!(Options::new(url).kind().unwrap(), kind);
        }
        for url in ["", "pocket.db", "mysql://a:secret@b", "memory:"] {
            let message = Options::new(url).kind().unwrap_err().to_string();
            assert!(message.contains("sqlite://") && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn the_pool_has_two_bounds() {
        for (pool, right) in [(0, false), (1, true), (1_000, true), (1_001, false)] {
            assert_eq!(Options { pool, ..Options::new("sqlite:x") }.kind().is_ok(), right);
        }
    }

    #[test]
    fn a_password_in_the_url_is_not_printed() {
        assert!(!format!("{:?}", Options::new("postgres://u:secret@h/db")).contains("secret"));
    }
}
