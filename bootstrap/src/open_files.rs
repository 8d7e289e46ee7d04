//! Files and sockets that this process may have open, and how many connections that leaves room for.
//!
//! Without a bound below the system's, connections that say nothing could take the last one, and then neither the REST API
//! nor the database could open any.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are left for the REST API, the database and the rest: a quarter, at least and at most so many.
const RESERVED: (u64, u64) = (96, 1_024);

/// Raises the limit as far as this process may by itself.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // A failure leaves the limit as it was, which is told where it matters.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// So many of `wanted` connections as leave the rest of the process its files; a warning when those are fewer.
pub(crate) fn room_for(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let connections = limit.map_or(wanted, |limit| wanted.min(connections_within(limit)));
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            files = limit,
            "fewer connections are accepted than POCKET_MQTT_MAX_CONNECTIONS says: this process may open too few files; \
             raise the limit (ulimit -n, LimitNOFILE of systemd)"
        );
    }
    connections
}

fn connections_within(files: u64) -> usize {
    let (least, most) = RESERVED;
    let free = files.saturating_sub((files / 4).clamp(least, most));
    // An eighth more are answered before they are refused.
    usize::try_from(free.saturating_mul(8) / 9).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        for (files, connections) in [(0, 1), (256, 142), (1_024, 682), (20_000, 16_867), (1_048_576, 931_157)] {
            assert_eq!(connections_within(files), connections, "{files}");
        }
        assert_eq!(connections_within(u64::MAX), usize::MAX / 9);
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        assert_eq!(room_for(1), 1);
    }
}
