//! How much memory a process holds.

use std::time::{Duration, Instant};

use crate::Platform;

/// Memory of a process that is or was in RAM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Bytes now.
    pub now: u64,
    /// The most bytes that it ever had.
    pub peak: u64,
    /// Bytes of its address space.
    pub space: u64,
}

impl Memory {
    /// That of a process; `None` where the system does not tell.
    pub fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let bytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kibibytes * 1_024)
        };
        Some(Self { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")?, space: bytes("VmSize:")? })
    }
}

/// A mebibyte.
pub const MIB: u64 = 1_024 * 1_024;

/// Memory of a platform from one moment on. The peak counts from the start of the process.
pub struct MemoryProbe(Memory);

impl MemoryProbe {
    /// Memory may be given back this long after what took it has ended.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Remembers what the platform takes now.
    pub fn of(platform: &Platform) -> Self {
        Self(platform.memory())
    }

    /// Bytes that are taken now beyond those of before.
    pub fn grown(&self, platform: &Platform) -> u64 {
        platform.memory().now.saturating_sub(self.0.now)
    }

    /// Checks that never more than so many bytes were added to the peak of before.
    ///
    /// # Panics
    /// When more were.
    #[track_caller]
    pub fn never_grew_by(&self, platform: &Platform, bytes: u64) {
        let grown = platform.memory().peak.saturating_sub(self.0.peak);
        assert!(grown <= bytes, "{} MiB were taken, at most {} were due", grown / MIB, bytes / MIB);
    }

    /// Waits until no more than so many bytes are added.
    ///
    /// # Panics
    /// When more stay.
    pub async fn returns_to(&self, platform: &Platform, bytes: u64) {
        let began = Instant::now();
        while self.grown(platform) > bytes {
            let (now, before) = (platform.memory().now / MIB, self.0.now / MIB);
            assert!(began.elapsed() < Self::PATIENCE, "{now} MiB after {before} MiB");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
