//! How fast a device publishes, and how long it is to be held back when that is too fast.

use std::time::{Duration, Instant};

/// The pace of one device: every message takes its share of a second, and up to a second may be saved up.
#[derive(Clone, Copy, Debug)]
pub struct PublishRate {
    share: Duration,
    /// When the shares of all messages so far are over.
    due: Instant,
}

impl PublishRate {
    const BURST: Duration = Duration::from_secs(1);

    /// Of a device that has not published for a while and may publish so many messages a second; `None`: without limit,
    /// for 0.
    pub fn per_second(messages: u32, now: Instant) -> Option<Self> {
        (messages > 0).then(|| Self { share: Duration::from_secs(1) / messages, due: now })
    }

    /// A message came. Returns how long to wait before the next is read; zero: not at all.
    pub fn take(&mut self, now: Instant) -> Duration {
        self.take_many(1, now)
    }

    /// The same for a message that counts for many.
    pub fn take_many(&mut self, shares: u32, now: Instant) -> Duration {
        // What was not used for longer than the burst is lost.
        self.due = self.due.max(now) + self.share * shares;
        // The next one is in time when its own share ends within the burst.
        (self.due + self.share).saturating_duration_since(now + Self::BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_comes_at_once_and_the_next_waits_for_its_share() {
        let now = Instant::now();
        let mut rate = PublishRate::per_second(4, now).unwrap();
        let waits: Vec<u128> = (0..5).map(|_| rate.take(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 250, 500]);
    }

    #[test]
    fn a_device_at_its_rate_never_waits() {
        let start = Instant::now();
        let mut rate = PublishRate::per_second(4, start).unwrap();
        for place in 0..100 {
            assert_eq!(rate.take(start + Duration::from_millis(250) * place), Duration::ZERO);
        }
    }

    #[test]
    fn no_more_than_a_second_is_saved_up() {
        let start = Instant::now();
        let mut rate = PublishRate::per_second(2, start).unwrap();
        let later = start + Duration::from_secs(3_600);
        assert_eq!(rate.take(later), Duration::ZERO);
        assert_eq!(rate.take(later), Duration::from_millis(500));
    }

    #[test]
    fn the_slowest_and_the_fastest_rates_work() {
        let now = Instant::now();
        assert_eq!(PublishRate::per_second(1, now).unwrap().take(now), Duration::from_secs(1));
        assert_eq!(PublishRate::per_second(u32::MAX, now).unwrap().take(now), Duration::ZERO);
        assert!(PublishRate::per_second(0, now).is_none());
    }
}
