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

/// So many of `wanted` connections, and of those whose CONNECT has not come yet, as leave the rest of the process its files; a
/// warning when those are fewer. Where nobody `asked` for a number, as many as fit are right.
pub(crate) fn room_for(wanted: usize, pending: usize, asked: bool) -> (usize, usize) {
    let limit = getrlimit(Resource::Nofile).current;
    let (connections, pending) = limit.map_or((wanted, pending), |limit| within(limit, wanted, pending));
    if connections < wanted && !asked {
        tracing::info!(connections, files = limit, "limit of connections set by the open files of this process");
    } else if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            files = limit,
            "fewer connections are accepted than POCKET_MQTT_MAX_CONNECTIONS says: this process may open too few files; \
             raise the limit (ulimit -n, LimitNOFILE of systemd)"
        );
    }
    (connections, pending)
}

fn within(files: u64, wanted: usize, pending: usize) -> (usize, usize) {
    let (least, most) = RESERVED;
    let free = usize::try_from(files.saturating_sub((files / 4).clamp(least, most))).unwrap_or(usize::MAX);
    // Sockets whose CONNECT has not come, and as many again that are just being answered, get at most a quarter.
    let pending = pending.min(free / 8).max(1);
    (wanted.min(free.saturating_sub(2 * pending)).max(1), pending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        for (files, connections, pending) in
            [(0, 1, 1), (256, 120, 20), (1_024, 576, 96), (20_000, 14_232, 2_372), (1_048_576, 1_039_360, 4_096)]
        {
            assert_eq!(within(files, usize::MAX, 4_096), (connections, pending), "{files}");
        }
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        assert_eq!(room_for(1, 1, true), (1, 1));
    }
}
