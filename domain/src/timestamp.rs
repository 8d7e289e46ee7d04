//! Points in time: milliseconds of the Unix epoch, UTC, from 1970 to the end of the year 9999.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Invalid;

/// A point in time with the precision of a millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Outside of [`MIN`](Self::MIN)..=[`MAX`](Self::MAX).
    pub fn from_millis(millis: i64) -> Result<Self, Invalid> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(Invalid::new("timestamp", "must be between 1970-01-01 and 9999-12-31, as RFC 3339 or milliseconds"))
        }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and a duration later, at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis).min(Self::MAX.0))
    }

    /// This moment and a duration earlier, at least [`MIN`](Self::MIN).
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis).max(Self::MIN.0))
    }

    /// The text of [`Display`](fmt::Display) in ASCII. A page of a history has hundreds of times; a formatter for any form takes
    /// ten times as long.
    pub fn text(self) -> [u8; 24] {
        // Not negative and below 2^48, so each of these fits.
        let (days, of_day) = ((self.0 / 86_400_000) as u32, (self.0 % 86_400_000) as u32);
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], of_day / 3_600_000);
        digits(&mut text[14..16], of_day / 60_000 % 60);
        digits(&mut text[17..19], of_day / 1_000 % 60);
        digits(&mut text[20..23], of_day % 1_000);
        text
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

/// Writes the last digits of a number over a text.
fn digits(text: &mut [u8], mut number: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day so many days after 1970-01-01, in the Gregorian calendar: `civil_from_days` of Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", with years that begin in March.
fn civil(days: u32) -> (u32, u32, u32) {
    // Days since 0000-03-01; no era before that is reached.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u32::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-23T11:14:00.250Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    /// RFC 3339 with any offset, or integer milliseconds. Digits below a millisecond are cut off.
    ///
    /// # Errors
    /// When the text is neither, or the moment is out of range.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(millis) = text.parse::<i64>() {
            return Self::from_millis(millis);
        }
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            Invalid::new("timestamp", "must be RFC 3339 such as 2026-11-23T11:14:00Z, or milliseconds since 1970")
        })?;
        let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
        Self::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_milliseconds_and_utc() {
        let moment: Timestamp = "2026-11-23T12:14:00.2509+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-11-23T11:14:00.250Z");
        assert_eq!(moment.as_millis().to_string().parse(), Ok(moment));
    }

    #[test]
    fn every_day_is_written_as_the_calendar_has_it() {
        let first = time::macros::datetime!(1970-01-01 0:00 UTC);
        for day in 0..2_932_897_i64 {
            let moment = first + time::Duration::days(day);
            let date = format!("{:04}-{:02}-{:02}T", moment.year(), u8::from(moment.month()), moment.day());
            let text = Timestamp(day * 86_400_000 + 86_399_999).text();
            assert_eq!(std::str::from_utf8(&text).unwrap(), format!("{date}23:59:59.999Z"));
        }
    }

    #[test]
    fn both_ends_of_the_range_can_be_written() {
        for edge in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(edge.to_string().parse(), Ok(edge));
        }
        assert!(Timestamp::from_millis(-1).is_err());
        assert!(Timestamp::from_millis(Timestamp::MAX.as_millis() + 1).is_err());
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "yesterday", "2026-11-23", "2026-13-01T00:00:00Z", "1.5", "1969-12-31T23:59:59Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
