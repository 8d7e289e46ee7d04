//! Slows down guessing: counts failed log-ins per source address and per account, in windows of time.
//!
//! Only failures count. The tables are bounded; a full one forgets windows that are over, then the fullest entries stay.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::Timestamp;

/// How many failures are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// Failures of one account in a window.
    pub per_account: u32,
    /// Failures from one source address (IPv6: one /64 network) in a window.
    pub per_source: u32,
    /// The length of a window.
    pub window: Duration,
}

impl ThrottleLimits {
    /// For people: a password is worth guessing.
    pub const PEOPLE: Self = Self { per_account: 10, per_source: 50, window: Duration::from_secs(60) };
    /// For devices, and for people who show a bearer token: sixty random bits and a signature are not, and a whole site may
    /// share one address.
    pub const DEVICES: Self = Self { per_account: 30, per_source: 1_000, window: Duration::from_secs(60) };
}

/// Counts failed log-ins.
pub struct LoginThrottle {
    limits: ThrottleLimits,
    windows: Mutex<HashMap<Key, Window>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Source(IpAddr),
    Account(String),
}

#[derive(Clone, Copy)]
struct Window {
    began: Timestamp,
    failures: u32,
}

impl LoginThrottle {
    /// The most sources and accounts that are remembered.
    pub const MAX_ENTRIES: usize = 20_000;

    /// A throttle that has seen nothing.
    pub fn new(limits: ThrottleLimits) -> Self {
        Self { limits, windows: Mutex::default() }
    }

    /// Whether an attempt is heard; otherwise how long the window lasts.
    ///
    /// # Errors
    /// The time to wait.
    pub fn check(&self, source: IpAddr, account: &str, now: Timestamp) -> Result<(), Duration> {
        let windows = self.lock();
        for (key, allowed) in self.keys(source, account) {
            if let Some(window) = windows.get(&key).filter(|window| window.failures >= allowed)
                && !self.is_over(window, now)
            {
                return Err(self.limits.window.saturating_sub(now.since(window.began)));
            }
        }
        Ok(())
    }

    /// Counts a failed attempt.
    pub fn failed(&self, source: IpAddr, account: &str, now: Timestamp) {
        let mut windows = self.lock();
        for (key, _) in self.keys(source, account) {
            self.make_room(&mut windows, now);
            let window = windows.entry(key).or_insert(Window { began: now, failures: 0 });
            if self.is_over(window, now) {
                *window = Window { began: now, failures: 0 };
            }
            window.failures = window.failures.saturating_add(1);
        }
    }

    /// Forgets the failures of an account that proved itself.
    pub fn succeeded(&self, account: &str) {
        self.lock().remove(&Key::Account(account.to_owned()));
    }

    /// One that begins later than now is from before the clock was put back; nobody is to wait until it is reached again.
    fn is_over(&self, window: &Window, now: Timestamp) -> bool {
        now < window.began || now.since(window.began) >= self.limits.window
    }

    fn make_room(&self, windows: &mut HashMap<Key, Window>, now: Timestamp) {
        if windows.len() < Self::MAX_ENTRIES {
            return;
        }
        windows.retain(|_, window| !self.is_over(window, now));
        let mut keep = 1;
        while windows.len() >= Self::MAX_ENTRIES {
            // Those who failed least are forgotten first, so that a flood of new names does not free a guesser.
            windows.retain(|_, window| window.failures > keep);
            keep += 1;
        }
    }

    fn keys(&self, source: IpAddr, account: &str) -> [(Key, u32); 2] {
        [
            (Key::Source(network_of(source)), self.limits.per_source),
            (Key::Account(account.to_owned()), self.limits.per_account),
        ]
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Window>> {
        // Counters cannot be left half changed.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One customer usually has a whole /64 of IPv6.
fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const LIMITS: ThrottleLimits = ThrottleLimits { per_account: 2, per_source: 5, window: Duration::from_secs(60) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000).unwrap()
    }

    #[test]
    fn an_account_is_heard_until_its_limit_and_again_after_the_window() {
        let throttle = LoginThrottle::new(LIMITS);
        throttle.failed(HERE, "ann", at(0));
        assert_eq!(throttle.check(HERE, "ann", at(1)), Ok(()));
        throttle.failed(HERE, "ann", at(1));
        assert_eq!(throttle.check(HERE, "ann", at(10)), Err(Duration::from_secs(50)));
        assert_eq!(throttle.check(HERE, "bob", at(10)), Ok(()));
        assert_eq!(throttle.check(HERE, "ann", at(60)), Ok(()));
    }

    #[test]
    fn a_source_is_heard_until_its_limit() {
        let throttle = LoginThrottle::new(LIMITS);
        for n in 0..5 {
            assert_eq!(throttle.check(HERE, "new", at(0)), Ok(()));
            throttle.failed(HERE, &format!("account{n}"), at(0));
        }
        assert!(throttle.check(HERE, "new", at(0)).is_err());
        assert_eq!(throttle.check("10.0.0.1".parse().unwrap(), "new", at(0)), Ok(()));
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        assert_eq!(network_of("2001:db8::1".parse().unwrap()), network_of("2001:db8::ffff:2".parse().unwrap()));
        assert_eq!(network_of("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn success_forgets_the_account_but_not_the_source() {
        let throttle = LoginThrottle::new(LIMITS);
        for _ in 0..5 {
            throttle.failed(HERE, "ann", at(0));
        }
        throttle.succeeded("ann");
        assert!(throttle.check(HERE, "ann", at(0)).is_err());
        assert_eq!(throttle.check("10.0.0.1".parse().unwrap(), "ann", at(0)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_put_back_locks_nobody_out() {
        let throttle = LoginThrottle::new(LIMITS);
        for _ in 0..LIMITS.per_account {
            throttle.failed(HERE, "somebody", at(50_000));
        }
        assert!(throttle.check(HERE, "somebody", at(50_000)).is_err());
        assert_eq!(throttle.check(HERE, "somebody", at(10)), Ok(()));
        throttle.failed(HERE, "somebody", at(10));
        assert_eq!(throttle.check(HERE, "somebody", at(10)), Ok(()));
    }

    #[test]
    fn a_flood_of_names_neither_grows_the_table_nor_frees_a_guesser() {
        let throttle = LoginThrottle::new(ThrottleLimits { per_source: u32::MAX, ..LIMITS });
        for _ in 0..2 {
            throttle.failed(HERE, "guesser", at(0));
        }
        for n in 0..2 * LoginThrottle::MAX_ENTRIES {
            throttle.failed(HERE, &format!("flood{n}"), at(1));
        }
        assert!(throttle.lock().len() <= LoginThrottle::MAX_ENTRIES);
        assert!(throttle.check(HERE, "guesser", at(2)).is_err());
    }
}
