//! Slows down guessing: counts failed log-ins in windows of time.
//!
//! Three counters: of an account from one source, of a source, and of an account from everywhere.
//!
//! - Whoever fails too often for an account from one source waits there. Others, who log in to the account from elsewhere, do not.
//! - A source that fails too often waits, except for accounts that it has logged in to before: others may share the address.
//! - When an account is guessed at from many sources, each source that never logged in to it has one guess in a window.
//!   The right password is heard from everywhere even then.
//!
//! An attempt is counted before it is judged, and taken back when it succeeds, so that attempts in parallel are not more than
//! the limit. One that is given up before it is judged stays counted.
//!
//! What is kept: hashes of a fixed size under a key of this process, never names or addresses. The tables are bounded, and
//! entries go when their window is over.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::Timestamp;
use tokio::sync::Notify;

/// How many failures are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// Failures of one account from one source in a window.
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

    /// Failures of one account from all sources together, after which sources that it does not know have one guess.
    fn per_account_everywhere(&self) -> u32 {
        self.per_account.saturating_mul(10)
    }
}

/// Counts failed log-ins.
pub struct LoginThrottle {
    limits: ThrottleLimits,
    key: RandomState,
    state: Mutex<State>,
    /// Told when an attempt is judged.
    judged: Notify,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct State {
    windows: HashMap<u64, Window>,
    /// Sources with the accounts that they have logged in to; the older half is forgotten as a whole.
    known: HashSet<u64>,
    known_before: HashSet<u64>,
    swept: Option<Timestamp>,
}

#[derive(Clone, Copy)]
struct Window {
    began: Timestamp,
    failures: u32,
    /// Attempts that are not judged yet.
    pending: u32,
}

/// Under which hashes an attempt is counted.
#[derive(Clone, Copy)]
struct Keys {
    source: u64,
    /// The account from this source, and from everywhere; `None` when there can be no such account.
    account: Option<(u64, u64)>,
}

impl Keys {
    fn all(self) -> impl Iterator<Item = u64> {
        let (here, everywhere) = self.account.unzip();
        std::iter::once(self.source).chain(here).chain(everywhere)
    }
}

/// Why an attempt is not heard.
#[derive(Debug, PartialEq, Eq)]
enum NotHeard {
    /// Until the window is over.
    For(Duration),
    /// Until attempts that are under way are judged.
    UntilJudged,
}

/// An attempt that is counted. Dropping it leaves it counted as failed.
#[must_use]
pub struct Attempt<'a> {
    throttle: &'a LoginThrottle,
    keys: Keys,
    now: Timestamp,
    /// Whether it is counted already.
    reserved: bool,
    is_settled: bool,
}

impl Attempt<'_> {
    /// It was right: the failures of the account from this source are forgotten, and the source is known to the account.
    pub fn succeeded(mut self) {
        self.is_settled = true;
        self.throttle.succeeded(self.keys, self.reserved);
    }

    /// It could not be judged.
    pub fn withdrawn(mut self) {
        self.is_settled = true;
        if self.reserved {
            self.throttle.settle(self.keys, self.now, false);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            match self.reserved {
                true => self.throttle.settle(self.keys, self.now, true),
                false => self.throttle.failed(self.keys, self.now),
            }
        }
    }
}

impl LoginThrottle {
    /// The most sources and accounts that are remembered.
    pub const MAX_ENTRIES: usize = 20_000;
    /// The most pairs of source and account that are known, in each of two halves.
    const MAX_KNOWN: usize = 32_768;
    /// How long an attempt waits for others to be judged, and how many may wait.
    const PATIENCE: Duration = Duration::from_secs(5);
    const MAX_WAITING: usize = 256;
    /// What somebody is asked to wait who could not wait for others to be judged.
    const SHORTLY: Duration = Duration::from_secs(1);

    /// A throttle that has seen nothing.
    pub fn new(limits: ThrottleLimits) -> Self {
        Self {
            limits,
            key: RandomState::new(),
            state: Mutex::default(),
            judged: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Counts an attempt, if it is heard. Where as many are under way as may fail, waits until some are judged. Without an
    /// account, which is for names that nobody can have, only the source counts.
    ///
    /// # Errors
    /// The time to wait.
    pub async fn begin(&self, source: IpAddr, account: Option<&str>, now: Timestamp) -> Result<Attempt<'_>, Duration> {
        let keys = self.keys(source, account.map(str::as_bytes));
        let attempt = || Attempt { throttle: self, keys, now, reserved: true, is_settled: false };
        match self.reserve(keys, now) {
            Ok(()) => return Ok(attempt()),
            Err(NotHeard::For(rest)) => return Err(rest),
            Err(NotHeard::UntilJudged) => {}
        }
        let _place = Waiting::enter(&self.waiting, Self::MAX_WAITING).ok_or(Self::SHORTLY)?;
        let waiting = async {
            loop {
                let judged = self.judged.notified();
                tokio::pin!(judged);
                // Before the look, so that nothing that happens after it is missed.
                judged.as_mut().enable();
                match self.reserve(keys, now) {
                    Ok(()) => return Ok(attempt()),
                    Err(NotHeard::For(rest)) => return Err(rest),
                    Err(NotHeard::UntilJudged) => judged.await,
                }
            }
        };
        tokio::time::timeout(Self::PATIENCE, waiting).await.unwrap_or(Err(Self::SHORTLY))
    }

    /// Whether an attempt is heard whose secret nobody can guess: attempts under way do not count, so that thousands of devices
    /// behind one address may come back together.
    ///
    /// # Errors
    /// The time to wait.
    pub fn begin_unguessable(
        &self,
        source: IpAddr,
        account: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Attempt<'_>, Duration> {
        let keys = self.keys(source, account);
        match self.judge(&self.lock(), keys, now, false) {
            Ok(()) => Ok(Attempt { throttle: self, keys, now, reserved: false, is_settled: false }),
            Err(NotHeard::For(rest)) => Err(rest),
            Err(NotHeard::UntilJudged) => Err(Self::SHORTLY),
        }
    }

    fn reserve(&self, keys: Keys, now: Timestamp) -> Result<(), NotHeard> {
        let mut state = self.lock();
        self.judge(&state, keys, now, true)?;
        for key in keys.all() {
            self.window(&mut state, key, now).pending += 1;
        }
        Ok(())
    }

    fn judge(&self, state: &State, keys: Keys, now: Timestamp, counts_pending: bool) -> Result<(), NotHeard> {
        if state.windows.is_empty() {
            return Ok(());
        }
        let check = |key: u64, allowed: u32| {
            let Some(window) = state.windows.get(&key) else { return Ok(()) };
            let failures = if self.is_over(window, now) { 0 } else { window.failures };
            let pending = if counts_pending { window.pending } else { 0 };
            if failures >= allowed {
                Err(NotHeard::For(self.limits.window.saturating_sub(now.since(window.began))))
            } else if failures.saturating_add(pending) >= allowed {
                Err(NotHeard::UntilJudged)
            } else {
                Ok(())
            }
        };
        let Some((here, everywhere)) = keys.account else { return check(keys.source, self.limits.per_source) };
        let is_known = state.known.contains(&here) || state.known_before.contains(&here);
        if is_known {
            return check(here, self.limits.per_account);
        }
        let is_attacked = check(everywhere, self.limits.per_account_everywhere()).is_err();
        check(here, if is_attacked { 1 } else { self.limits.per_account })?;
        check(keys.source, self.limits.per_source)
    }

    /// Ends a reservation.
    fn settle(&self, keys: Keys, now: Timestamp, has_failed: bool) {
        let mut state = self.lock();
        for key in keys.all() {
            if has_failed {
                let window = self.window(&mut state, key, now);
                window.pending = window.pending.saturating_sub(1);
                window.failures = window.failures.saturating_add(1);
            } else if let Some(window) = state.windows.get_mut(&key) {
                window.pending = window.pending.saturating_sub(1);
                if (window.pending, window.failures) == (0, 0) {
                    state.windows.remove(&key);
                }
            }
        }
        self.sweep(&mut state, now);
        drop(state);
        self.judged.notify_waiters();
    }

    fn failed(&self, keys: Keys, now: Timestamp) {
        let mut state = self.lock();
        for key in keys.all() {
            let window = self.window(&mut state, key, now);
            window.failures = window.failures.saturating_add(1);
        }
        self.sweep(&mut state, now);
    }

    fn succeeded(&self, keys: Keys, was_reserved: bool) {
        let mut state = self.lock();
        if let Some((here, _)) = keys.account {
            if let Some(window) = state.windows.get_mut(&here) {
                window.failures = 0;
            }
            if !state.known.contains(&here) {
                if state.known.len() >= Self::MAX_KNOWN {
                    state.known_before = std::mem::take(&mut state.known);
                }
                state.known.insert(here);
            }
        }
        drop(state);
        if was_reserved {
            self.settle(keys, Timestamp::MIN, false);
        }
    }

    /// The window of a key, begun anew when it is over.
    fn window<'s>(&self, state: &'s mut State, key: u64, now: Timestamp) -> &'s mut Window {
        if state.windows.len() >= Self::MAX_ENTRIES && !state.windows.contains_key(&key) {
            self.make_room(&mut state.windows, now);
        }
        let window = state.windows.entry(key).or_insert(Window { began: now, failures: 0, pending: 0 });
        if self.is_over(window, now) {
            *window = Window { began: now, failures: 0, pending: window.pending };
        }
        window
    }

    /// One that begins later than now is from before the clock was put back; nobody is to wait until it is reached again.
    fn is_over(&self, window: &Window, now: Timestamp) -> bool {
        now < window.began || now.since(window.began) >= self.limits.window
    }

    /// Removes what is over, once in a window.
    fn sweep(&self, state: &mut State, now: Timestamp) {
        let is_due = state.swept.is_none_or(|swept| now < swept || now.since(swept) >= self.limits.window);
        if is_due && now > Timestamp::MIN {
            state.swept = Some(now);
            state.windows.retain(|_, window| window.pending > 0 || !self.is_over(window, now));
            state.windows.shrink_to(2 * state.windows.len());
        }
    }

    fn make_room(&self, windows: &mut HashMap<u64, Window>, now: Timestamp) {
        windows.retain(|_, window| window.pending > 0 || !self.is_over(window, now));
        let mut keep = 1;
        while windows.len() >= Self::MAX_ENTRIES {
            // Those who failed least are forgotten first, so that a flood of new names does not free a guesser.
            windows.retain(|_, window| window.failures > keep);
            keep += 1;
        }
    }

    fn keys(&self, source: IpAddr, account: Option<&[u8]>) -> Keys {
        let source = network_of(source);
        Keys {
            source: self.key.hash_one((0_u8, source)),
            account: account
                .map(|account| (self.key.hash_one((1_u8, source, account)), self.key.hash_one((2_u8, account)))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters cannot be left half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts as one source: an address, or a /64 network of IPv6, which one customer usually has as a whole.
pub fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
