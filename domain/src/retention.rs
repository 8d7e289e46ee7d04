//! How long and how much of its history a tenant keeps.

use std::time::Duration;

use crate::{Invalid, Timestamp};

/// The age from which on messages are removed: whole seconds, an hour to 36,500 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxAge(u64);

impl MaxAge {
    /// The fewest seconds: an hour.
    pub const MIN_SECONDS: u64 = 3_600;
    /// The most seconds: 36,500 days.
    pub const MAX_SECONDS: u64 = 36_500 * 86_400;

    /// Parses a number of seconds.
    ///
    /// # Errors
    /// When it is out of bounds.
    pub fn parse(seconds: u64) -> Result<Self, Invalid> {
        if (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            let allowed = format!("must be {} to {} seconds", Self::MIN_SECONDS, Self::MAX_SECONDS);
            Err(Invalid::new("retention.maxAgeSeconds", allowed))
        }
    }

    /// The age in seconds.
    pub fn as_secs(self) -> u64 {
        self.0
    }
}

/// How large a history may be: 1 MiB to 1 PiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxBytes(u64);

impl MaxBytes {
    /// The fewest bytes: 1 MiB.
    pub const MIN: u64 = 1 << 20;
    /// The most bytes: 1 PiB.
    pub const MAX: u64 = 1 << 50;

    /// Parses a number of bytes.
    ///
    /// # Errors
    /// When it is out of bounds.
    pub fn parse(bytes: u64) -> Result<Self, Invalid> {
        if (Self::MIN..=Self::MAX).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            let allowed = format!("must be {} to {} bytes", Self::MIN, Self::MAX);
            Err(Invalid::new("retention.maxBytes", allowed))
        }
    }

    /// The bytes.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// What a tenant keeps of its history: everything, if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retention {
    /// Messages that are older are removed.
    pub max_age: Option<MaxAge>,
    /// The oldest messages are removed until the others take no more.
    pub max_bytes: Option<MaxBytes>,
}

impl Retention {
    /// The time from which on messages are young enough; `None` when they are at any age.
    pub fn kept_from(&self, now: Timestamp) -> Option<Timestamp> {
        self.max_age.map(|age| now.minus(Duration::from_secs(age.0)))
    }

    /// Whether nothing is ever removed.
    pub fn keeps_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// What is changed about a retention; `None` leaves a limit as it is, `Some(None)` removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RetentionUpdate {
    /// Another age, or none.
    pub max_age: Option<Option<MaxAge>>,
    /// Another size, or none.
    pub max_bytes: Option<Option<MaxBytes>>,
}

impl RetentionUpdate {
    /// What a retention is after the change.
    #[must_use]
    pub fn of(self, before: Retention) -> Retention {
        Retention {
            max_age: self.max_age.unwrap_or(before.max_age),
            max_bytes: self.max_bytes.unwrap_or(before.max_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_two_bounds() {
        for (seconds, right) in [(3_599, false), (3_600, true), (3_153_600_000, true), (3_153_600_001, false)] {
            assert_eq!(MaxAge::parse(seconds).is_ok(), right, "{seconds}");
        }
    }

    #[test]
    fn a_size_has_two_bounds() {
        for (bytes, right) in [((1 << 20) - 1, false), (1 << 20, true), (1 << 50, true), ((1 << 50) + 1, false)] {
            assert_eq!(MaxBytes::parse(bytes).is_ok(), right, "{bytes}");
        }
    }

    #[test]
    fn a_retention_says_from_when_on_messages_are_kept() {
        let now = Timestamp::from_millis(10_000_000).unwrap();
        let of = |seconds| Retention { max_age: Some(MaxAge::parse(seconds).unwrap()), max_bytes: None };
        assert_eq!(of(3_600).kept_from(now), Some(Timestamp::from_millis(6_400_000).unwrap()));
        assert_eq!(of(MaxAge::MAX_SECONDS).kept_from(now), Some(Timestamp::MIN));
        assert_eq!(Retention::default().kept_from(now), None);
        assert!(Retention::default().keeps_everything() && !of(3_600).keeps_everything());
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let (age, bytes) = (MaxAge::parse(3_600).unwrap(), MaxBytes::parse(MaxBytes::MIN).unwrap());
        let both = Retention { max_age: Some(age), max_bytes: Some(bytes) };
        assert_eq!(RetentionUpdate::default().of(both), both);
        let update = RetentionUpdate { max_age: Some(None), max_bytes: None };
        assert_eq!(update.of(both), Retention { max_age: None, max_bytes: Some(bytes) });
        let update = RetentionUpdate { max_age: None, max_bytes: Some(Some(bytes)) };
        assert_eq!(update.of(Retention::default()), Retention { max_age: None, max_bytes: Some(bytes) });
    }
}
