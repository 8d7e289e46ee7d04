//! When a silent client counts as gone.

use std::time::{Duration, Instant};

/// The agreed keep-alive of a connection. Works on monotonic time: a corrected wall clock must not end connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive(Option<Duration>);

impl KeepAlive {
    /// From the seconds of CONNECT or of the server's answer; 0 switches it off.
    pub fn from_seconds(seconds: u16) -> Self {
        // [MQTT-3.1.2-22] one and a half times the keep-alive
        Self((seconds > 0).then(|| Duration::from_millis(u64::from(seconds) * 1_500)))
    }

    /// Whether a client of which the last packet came at `last_packet` is gone at `now`.
    pub fn is_over(self, last_packet: Instant, now: Instant) -> bool {
        self.0.is_some_and(|patience| now.saturating_duration_since(last_packet) > patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_one_and_a_half_times_its_keep_alive() {
        let keep_alive = KeepAlive::from_seconds(10);
        let start = Instant::now();
        assert!(!keep_alive.is_over(start, start + Duration::from_secs(15)));
        assert!(keep_alive.is_over(start, start + Duration::from_millis(15_001)));
    }

    #[test]
    fn zero_switches_it_off() {
        let start = Instant::now();
        assert!(!KeepAlive::from_seconds(0).is_over(start, start + Duration::from_secs(1_000_000)));
    }
}
