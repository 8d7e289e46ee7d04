//! Which time a message may say it is about.

use std::time::Duration;

use crate::Timestamp;

/// Midnight of 2024-01-01: a clock that shows an earlier time was never set, and nothing is judged by it.
const NEVER_SET: i64 = 1_704_067_200_000;

/// How far ahead of its arrival the time of a message may be.
///
/// A message from the future would stay when all others are too old, and would be the last value of its device for years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxAhead(Duration);

/// The time of a message is too far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{time} is more than {allowed} s later than the message arrived ({arrival})", allowed = .allowed.as_secs())]
pub struct TooFarAhead {
    /// What the message says.
    pub time: Timestamp,
    /// When it arrived.
    pub arrival: Timestamp,
    /// How much later the first may be.
    pub allowed: Duration,
}

impl MaxAhead {
    /// At most so much.
    pub const fn new(allowed: Duration) -> Self {
        Self(allowed)
    }

    /// Judges the time of a message that arrived when the clock showed `arrival`.
    ///
    /// # Errors
    /// It is too far ahead.
    pub fn check(self, time: Timestamp, arrival: Timestamp) -> Result<(), TooFarAhead> {
        let is_set = arrival.as_millis() >= NEVER_SET;
        if is_set && time.since(arrival) > self.0 {
            return Err(TooFarAhead { time, arrival, allowed: self.0 });
        }
        Ok(())
    }
}

/// A message is on a topic that would be one too many. Names of topics are stored as long as a message on them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyTopics {
    /// For its device.
    #[error(
        "the device has used {0} topics already, as many as it may; publish on one of these, with what differs in the payload"
    )]
    OfDevice(usize),
    /// For its tenant.
    #[error(
        "the tenant has {0} topics already, as many as it may; publish on one of these, with what differs in the payload"
    )]
    OfTenant(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_be_ahead_by_so_much_and_no_more() {
        let at = |millis| Timestamp::from_millis(NEVER_SET + millis).unwrap();
        let ahead = MaxAhead::new(Duration::from_secs(600));
        for (time, right) in [(-NEVER_SET, true), (0, true), (600_000, true), (600_001, false)] {
            assert_eq!(ahead.check(at(time), at(0)).is_ok(), right, "{time}");
        }
        let told = ahead.check(Timestamp::MAX, at(0)).unwrap_err().to_string();
        assert_eq!(
            told,
            "9999-12-31T23:59:59.999Z is more than 600 s later than the message arrived (2024-01-01T00:00:00.000Z)"
        );
    }

    #[test]
    fn a_clock_that_was_never_set_judges_nothing() {
        let unset = Timestamp::from_millis(NEVER_SET - 1).unwrap();
        assert_eq!(MaxAhead::new(Duration::ZERO).check(Timestamp::MAX, unset), Ok(()));
    }
}
