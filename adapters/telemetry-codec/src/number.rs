//! The text of a JSON number (RFC 8259, chapter 6) as an integer and a count of decimals, where that says it all.

/// `mantissa / 10^decimals`, written with exactly so many decimals: `1.50` is 150 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) mantissa: i64,
    pub(crate) decimals: u8,
}

/// Digits that always fit the mantissa.
const MAX_DIGITS: usize = 18;

/// Powers of ten that a mantissa may be multiplied by.
pub(crate) const POWERS: [i64; MAX_DIGITS + 1] = {
    let mut powers = [1; MAX_DIGITS + 1];
    let mut n = 1;
    while n <= MAX_DIGITS {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// Integers up to here, and powers of ten up to 10^22, are doubles; the quotient of two such is correctly rounded.
pub(crate) const MAX_EXACT: i64 = 1 << 53;

impl Decimal {
    /// The nearest double, the same that reading its text gives.
    pub(crate) fn value(self) -> f64 {
        if self.mantissa.unsigned_abs() <= MAX_EXACT as u64 {
            self.mantissa as f64 / POWERS[usize::from(self.decimals)] as f64
        } else {
            // Rounding the mantissa first would round twice.
            let text = format!("{}e-{}", self.mantissa, self.decimals);
            text.parse().expect("an integer with an exponent is a number")
        }
    }
}

/// Reads a number that begins at `start`: its end, and its decimal form when it has one, which a negative zero, an
/// exponent and more than 18 digits do not. `None` when there is no number.
#[inline]
pub(crate) fn read(text: &[u8], start: usize) -> Option<(usize, Option<Decimal>)> {
    let negative = text.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut mantissa = 0i64;
    let mut end = digits(text, first, &mut mantissa)?;
    if text[first] == b'0' && end - first > 1 {
        return None;
    }
    let mut count = end - first;
    let mut decimals = 0;
    if text.get(end) == Some(&b'.') {
        let from = end + 1;
        end = digits(text, from, &mut mantissa)?;
        decimals = end - from;
        count += decimals;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end = digits(text, end + 1 + sign, &mut 0)?;
        return Some((end, None));
    }
    if count > MAX_DIGITS || (negative && mantissa == 0) {
        return Some((end, None));
    }
    let mantissa = if negative { -mantissa } else { mantissa };
    Some((end, Some(Decimal { mantissa, decimals: decimals as u8 })))
}

/// Reads one digit or more into the mantissa, which is right as long as it does not overflow.
#[inline]
fn digits(text: &[u8], start: usize, mantissa: &mut i64) -> Option<usize> {
    let mut end = start;
    while let Some(digit) = text.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(i64::from(digit));
        end += 1;
    }
    (end > start).then_some(end)
}

/// The value of a text that is one JSON number within the range of a double.
pub(crate) fn value_of(text: &str) -> Option<f64> {
    let (end, decimal) = read(text.as_bytes(), 0)?;
    if end != text.len() {
        return None;
    }
    let value = match decimal {
        Some(decimal) => decimal.value(),
        None => text.parse().ok()?,
    };
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Option<(i64, u8)> {
        let (end, decimal) = read(text.as_bytes(), 0).unwrap();
        assert_eq!(end, text.len());
        decimal.map(|Decimal { mantissa, decimals }| (mantissa, decimals))
    }

    #[test]
    fn a_decimal_says_how_many_digits_were_written() {
        assert_eq!(decimal("0"), Some((0, 0)));
        assert_eq!(decimal("-1.50"), Some((-150, 2)));
        assert_eq!(decimal("0.00"), Some((0, 2)));
        assert_eq!(decimal("-0.5"), Some((-5, 1)));
        assert_eq!(decimal("999999999999999999"), Some((999_999_999_999_999_999, 0)));
        assert_eq!(decimal("0.12345678901234567"), Some((12_345_678_901_234_567, 17)));
    }

    #[test]
    fn what_digits_alone_do_not_say_has_no_decimal_form() {
        for text in [
            "-0",
            "-0.00",
            "-9223372036854775808",
            "1e5",
            "1E+300",
            "1.5e-7",
            "1000000000000000000",
            "0.123456789012345678",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "-x", "00", "1 ", "nan", "1e999"] {
            assert_eq!(value_of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_value_is_the_nearest_double(mantissa in -999_999_999_999_999_999i64..=999_999_999_999_999_999, decimals in 0..=18u8) {
            let read = format!("{mantissa}e-{decimals}").parse::<f64>().unwrap();
            prop_assert_eq!(Decimal { mantissa, decimals }.value(), read);
        }

        #[test]
        fn the_value_of_a_text_is_what_the_standard_library_reads(value in proptest::num::f64::NORMAL) {
            for text in [format!("{value}"), format!("{value:e}"), serde_json::to_string(&value).unwrap()] {
                prop_assert_eq!(value_of(&text), text.parse().ok(), "{}", text);
            }
        }
    }
}
