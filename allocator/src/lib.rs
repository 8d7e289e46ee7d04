//! Settings of the C library's allocator.
//!
//! glibc gives a large piece of memory back to the system when it is freed, but takes its size for a reason to keep pieces of that
//! size from then on, up to 32 MiB each and in each of its arenas. After a load that was stored in large batches the process
//! keeps twice what it uses. A size that is set stays as it is.

/// Pieces from this size on go back to the system when they are freed. Smaller ones, such as what a connection reads at once, come and
/// go too often to be fetched anew each time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVEN_BACK_FROM: libc::c_int = 256 * 1024;
/// The free bytes at the end of the heap from which on they go back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_AT_END: libc::c_int = 1024 * 1024;

/// Lets the allocator give freed memory back to the system. To be called when the process starts, before there are other threads.
/// Does nothing where the C library is not glibc, and where the environment has settings of the operator's own (`MALLOC_…_`,
/// `GLIBC_TUNABLES`).
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let is_set = |(name, _): (std::ffi::OsString, std::ffi::OsString)| {
            name.to_str().is_some_and(|name| name == "GLIBC_TUNABLES" || name.starts_with("MALLOC_"))
        };
        if std::env::vars_os().any(is_set) {
            return;
        }
        for (setting, value) in [(libc::M_MMAP_THRESHOLD, GIVEN_BACK_FROM), (libc::M_TRIM_THRESHOLD, KEPT_AT_END)] {
            // SAFETY: `mallopt` takes two integers and touches no memory of the caller; glibc takes its locks, so that it may be
            // called at any time. An answer of 0 means that nothing was changed, which does no harm.
            #[allow(unsafe_code)]
            let _ = unsafe { libc::mallopt(setting, value) };
        }
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn memory_goes_back_after_large_pieces_were_freed() {
        give_back_freed_memory();
        // A large piece that was freed would let glibc keep those up to its size.
        drop(vec![1u8; 16 << 20]);
        let before = resident();
        let pieces: Vec<Vec<u8>> = (0..64).map(|_| vec![1u8; 1 << 20]).collect();
        let held: Vec<Vec<u8>> = (0..64).map(|_| vec![1u8; 64]).collect();
        assert!(resident() > before + 60_000, "{before} kB, then {} kB", resident());
        drop(pieces);
        assert!(resident() < before + 10_000, "{before} kB, then {} kB", resident());
        drop(held);
    }
}
