//! The time that a message carries, in whichever unit and form the firmware writes it.
//!
//! A number is seconds, milliseconds, microseconds or nanoseconds since 1970 by its size: the ranges of the four units do not
//! overlap for any time since March 1973 (seconds and milliseconds) or since 2000 (the finer ones). A number outside of all
//! ranges, such as the uptime of a clock that was never set, is no time.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Timestamp;

/// Where the ranges begin; each ends where the year 9999 does, that of nanoseconds in the year 2262.
const FIRST_SECONDS: i128 = 100_000_000;
const FIRST_MILLIS: i128 = 100_000_000_000;
const FIRST_MICROS: i128 = 946_684_800_000_000;
const FIRST_NANOS: i128 = 946_684_800_000_000_000;
const LAST_NANOS: i128 = i64::MAX as i128;
const LAST_MILLIS: i128 = Timestamp::MAX.as_millis() as i128;

/// The time that an integer is.
pub(crate) fn of_integer(number: i128) -> Option<Timestamp> {
    let millis = match number {
        FIRST_SECONDS..FIRST_MILLIS => number * 1_000,
        FIRST_MILLIS..=LAST_MILLIS => number,
        FIRST_MICROS..FIRST_NANOS => number / 1_000,
        FIRST_NANOS..=LAST_NANOS => number / 1_000_000,
        _ => return None,
    };
    Timestamp::from_millis(i64::try_from(millis).ok()?).ok()
}

/// The time that a number with a fraction or an exponent is. What is below a millisecond is cut off.
pub(crate) fn of_float(number: f64) -> Option<Timestamp> {
    if !(0.0..1e19).contains(&number) {
        return None;
    }
    if number < 1e11 {
        // Exact to a quarter of a microsecond; the thousandth keeps what is written as .123 from becoming .122999…
        return of_integer((number * 1_000.0 + 0.001).floor() as i128).filter(|_| number >= FIRST_SECONDS as f64);
    }
    of_integer(number as i128)
}

/// The time that a text is: the digits of a number, or RFC 3339.
pub(crate) fn of_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    if let Ok(number) = text.parse::<i128>() {
        return of_integer(number);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
        && let Ok(number) = text.parse::<f64>()
    {
        return of_float(number);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|error| match text.split_once(' ') {
            // RFC 3339, section 5.6, lets a blank stand for the T.
            Some((date, time)) => OffsetDateTime::parse(&format!("{date}T{time}"), &Rfc3339),
            None => Err(error),
        })
        .ok()?;
    let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    Timestamp::from_millis(i64::try_from(millis).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(time: Option<Timestamp>) -> Option<i64> {
        time.map(Timestamp::as_millis)
    }

    #[test]
    fn a_number_is_the_time_of_its_size() {
        for (number, expected) in [
            (1_764_000_000, 1_764_000_000_000),
            (1_764_000_000_123, 1_764_000_000_123),
            (1_764_000_000_123_456, 1_764_000_000_123),
            (1_764_000_000_123_456_789, 1_764_000_000_123),
            (1_451_649_600_512, 1_451_649_600_512),
            (4_102_444_800_000, 4_102_444_800_000),
            (253_402_300_799_999, 253_402_300_799_999),
            (100_000_000, 100_000_000_000),
            (99_999_999_999, 99_999_999_999_000),
            (100_000_000_000, 100_000_000_000),
        ] {
            assert_eq!(millis(of_integer(number)), Some(expected), "{number}");
        }
        for none in
            [-1, 0, 5, 99_999_999, 253_402_300_800_000, 946_684_799_999_999, LAST_NANOS + 1, i128::MAX, i128::MIN]
        {
            assert_eq!(of_integer(none), None, "{none}");
        }
    }

    #[test]
    fn fractions_and_exponents_are_times_as_well() {
        for (number, expected) in [
            (1_764_000_000.0, 1_764_000_000_000),
            (1_764_000_000.5, 1_764_000_000_500),
            (1_764_000_000.123, 1_764_000_000_123),
            (1_764_000_000.999_9, 1_764_000_000_999),
            (1.764e12, 1_764_000_000_000),
            (1_764_000_000_000.5, 1_764_000_000_000),
            (1.764e15, 1_764_000_000_000),
            (1.764e18, 1_764_000_000_000),
        ] {
            assert_eq!(millis(of_float(number)), Some(expected), "{number}");
        }
        for none in [-1.5, 0.5, 1e7, 99_999_999.9, 18_446_744_073_709_551_616.0, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(of_float(none), None, "{none}");
        }
    }

    #[test]
    fn a_text_is_digits_or_rfc_3339() {
        for (text, expected) in [
            ("1764000000", 1_764_000_000_000),
            (" 1764000000000 ", 1_764_000_000_000),
            ("1764000000.25", 1_764_000_000_250),
            ("1.764e12", 1_764_000_000_000),
            ("2026-11-25T12:00:00Z", 1_795_608_000_000),
            ("2026-11-25T13:00:00.5+01:00", 1_795_608_000_500),
            ("2026-11-25 12:00:00Z", 1_795_608_000_000),
        ] {
            assert_eq!(millis(of_text(text)), Some(expected), "{text}");
        }
        for none in
            ["", "now", "nan", "inf", "12:00", "2026-11-25", "2026-11-25T12:00:00", "-5", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(of_text(none), None, "{none}");
        }
        assert_eq!(of_text(&"1".repeat(1_000)), None);
    }
}
