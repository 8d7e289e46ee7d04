//! How much memory a process holds.

/// Memory of a process that is or was in RAM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Bytes now.
    pub now: u64,
    /// The most bytes that it ever had.
    pub peak: u64,
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
        Some(Self { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }
}
