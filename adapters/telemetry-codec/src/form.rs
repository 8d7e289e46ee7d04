//! How the numbers of a column are written, so that integers say it all.
//!
//! A [`Form::Decimals`] writes an integer over a power of ten with at least `least` and at most `most` decimals, and no
//! zero at the end beyond the least. That covers integers (0, 0), a fixed number of decimals (2, 2), the shortest form
//! with (1, 3) and without (0, 3) a decimal that is always there. A [`Form::Double`] writes the shortest decimal digits
//! that read as the same double, without an exponent. A number that its column's form does not write is kept as text.

use std::fmt::Write;

use crate::Damaged;
use crate::number::{Decimal, MAX_EXACT, POWERS};
use crate::scan::Kind;

/// How the numbers of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Decimals {
        least: u8,
        most: u8,
    },
    /// `point`: whether an integer is written as `1.0` and not as `1`.
    Double {
        point: bool,
    },
}

/// The bytes of [`Form::Double`]; above all of [`Form::Decimals`].
const DOUBLE: usize = 19 * 19;

/// A text of a double longer than this is better kept as text.
const LONGEST_DOUBLE: usize = 40;

impl Form {
    /// The integer for a number, if this form writes it as its text is.
    #[inline]
    pub(crate) fn integer(self, kind: Kind, text: &str) -> Option<i64> {
        match (self, kind) {
            (Self::Decimals { least, most }, Kind::Decimal(Decimal { mantissa, decimals })) => {
                let written = decimals == least || (decimals > least && mantissa % 10 != 0);
                let power = POWERS[usize::from(most.checked_sub(decimals).filter(|_| written)?)];
                mantissa.checked_mul(power)
            }
            (Self::Double { .. }, Kind::Decimal(_) | Kind::Number) if text.len() <= LONGEST_DOUBLE => {
                let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
                let mut written = String::with_capacity(LONGEST_DOUBLE);
                self.write(order_of(value), &mut written);
                (written == text).then_some(order_of(value))
            }
            _ => None,
        }
    }

    /// Writes the number of an integer.
    pub(crate) fn write(self, integer: i64, out: &mut String) {
        match self {
            Self::Decimals { least, most } => write_decimals(integer, usize::from(least), usize::from(most), out),
            Self::Double { point } => {
                let from = out.len();
                let _ = write!(out, "{}", double_of(integer));
                if point && !out[from..].contains('.') {
                    out.push_str(".0");
                }
            }
        }
    }

    /// The value of an integer.
    #[inline]
    pub(crate) fn value(self, integer: i64) -> f64 {
        match self {
            Self::Decimals { most, .. } => Decimal { mantissa: integer, decimals: most }.value(),
            Self::Double { .. } => double_of(integer),
        }
    }

    /// The power of ten that integers up to `largest` are divided by, if that gives their values exactly.
    pub(crate) fn divisor(self, largest: u64) -> Option<f64> {
        match self {
            Self::Decimals { most, .. } if largest <= MAX_EXACT as u64 => Some(POWERS[usize::from(most)] as f64),
            _ => None,
        }
    }

    /// Its code in a chunk.
    pub(crate) fn code(self) -> usize {
        match self {
            Self::Decimals { least, most } => usize::from(most) * 19 + usize::from(least),
            Self::Double { point } => DOUBLE + usize::from(point),
        }
    }

    /// The form of a code.
    pub(crate) fn of_code(code: usize) -> Result<Self, Damaged> {
        match code {
            0..DOUBLE if code % 19 <= code / 19 => {
                Ok(Self::Decimals { least: (code % 19) as u8, most: (code / 19) as u8 })
            }
            DOUBLE => Ok(Self::Double { point: false }),
            _ if code == DOUBLE + 1 => Ok(Self::Double { point: true }),
            _ => Err(Damaged::Content("a form of numbers is unknown")),
        }
    }

    /// The form that suits most numbers of a column.
    pub(crate) fn of<'a>(numbers: impl Iterator<Item = (Kind, &'a str)> + Clone) -> Self {
        let mut census = Census::default();
        numbers.clone().for_each(|(kind, _)| census.count(kind));
        let (decimals, unfit) = census.best();
        if unfit * 8 <= census.all {
            return decimals;
        }
        let point = census.round[1] > census.round[0];
        let double = Self::Double { point };
        let fit = numbers.filter(|(kind, text)| double.integer(*kind, text).is_some()).count();
        if fit > census.all - unfit { double } else { decimals }
    }
}

/// How many numbers have how many decimals.
#[derive(Default)]
struct Census {
    all: usize,
    /// Those that end in a zero, which is written only if no fewer decimals are allowed.
    round: [usize; 19],
    other: [usize; 19],
}

impl Census {
    #[inline]
    fn count(&mut self, kind: Kind) {
        self.all += 1;
        if let Kind::Decimal(Decimal { mantissa, decimals }) = kind {
            let of = if mantissa % 10 == 0 { &mut self.round } else { &mut self.other };
            of[usize::from(decimals)] += 1;
        }
    }

    /// The cheapest decimals, and how many numbers they do not suit.
    fn best(&self) -> (Form, usize) {
        let used = |n: &usize| self.round[*n] + self.other[*n] > 0;
        let mut best = (usize::MAX, Form::Decimals { least: 0, most: 0 }, self.all);
        for most in (0..19).filter(used) {
            for least in (0..=most).rev().filter(|n| *n == 0 || used(n)) {
                let fit = self.round[least] + self.other[least..=most].iter().sum::<usize>();
                let unfit = self.all - fit;
                // A decimal more costs 3.3 bits a number; a number kept as text some ten bytes.
                let cost = unfit * 80 + fit * most * 33 / 10;
                if cost < best.0 {
                    best = (cost, Form::Decimals { least: least as u8, most: most as u8 }, unfit);
                }
            }
        }
        (best.1, best.2)
    }
}

fn write_decimals(integer: i64, least: usize, most: usize, out: &mut String) {
    if integer < 0 {
        out.push('-');
    }
    let power = POWERS[most] as u64;
    let (whole, mut rest) = (integer.unsigned_abs() / power, integer.unsigned_abs() % power);
    put_digits(whole, 1, out);
    let mut decimals = most;
    while decimals > least && rest % 10 == 0 {
        rest /= 10;
        decimals -= 1;
    }
    if decimals > 0 {
        out.push('.');
        put_digits(rest, decimals, out);
    }
}

/// Appends an integer with at least so many digits.
fn put_digits(mut integer: u64, least: usize, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while integer > 0 {
        start -= 1;
        digits[start] += (integer % 10) as u8;
        integer /= 10;
    }
    start = start.min(digits.len() - least);
    digits[start..].iter().for_each(|digit| out.push(char::from(*digit)));
}

/// The integer of a double, in the same order: the bits, with all but the sign turned over for negative ones.
fn order_of(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

fn double_of(order: i64) -> f64 {
    f64::from_bits((order ^ ((order >> 63) as u64 >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scan;

    fn numbers<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = (Kind, &'a str)> + Clone {
        texts.iter().map(|text| (scan::value(text.as_bytes(), 0).unwrap().kind, *text))
    }

    fn form(texts: &[&str]) -> Form {
        Form::of(numbers(texts))
    }

    #[test]
    fn a_form_is_what_most_numbers_are_written_in() {
        let decimals = |least, most| Form::Decimals { least, most };
        assert_eq!(form(&["1", "-20", "0"]), decimals(0, 0));
        assert_eq!(form(&["1.50", "2.00", "-0.25"]), decimals(2, 2));
        assert_eq!(form(&["1.5", "2", "2.25"]), decimals(0, 2));
        assert_eq!(form(&["1.5", "2.0", "2.25"]), decimals(1, 2));
        assert_eq!(form(&["1e5", "1E5"]), decimals(0, 0));
        assert_eq!(form(&["0.000012345678901234567", "0.00001234567890123456"]), Form::Double { point: false });
        assert_eq!(form(&["0.000012345678901234567", "0.00001234567890123456", "1.0"]), Form::Double { point: true });
    }

    #[test]
    fn an_outlier_does_not_widen_the_others() {
        let mut texts = vec!["21.5"; 100];
        texts.push("0.30000000000000004");
        assert_eq!(form(&texts), Form::Decimals { least: 1, most: 1 });
    }

    #[test]
    fn every_code_is_of_one_form() {
        for code in 0..1_000 {
            if let Ok(form) = Form::of_code(code) {
                assert_eq!(form.code(), code);
            }
        }
        assert!(Form::of_code(1).is_err(), "more decimals at least than at most");
        assert_eq!(Form::of_code(DOUBLE + 1), Ok(Form::Double { point: true }));
        assert!(Form::of_code(DOUBLE + 2).is_err());
    }

    #[test]
    fn the_extremes_are_written() {
        let mut out = String::new();
        Form::Decimals { least: 18, most: 18 }.write(i64::MIN, &mut out);
        assert_eq!(out, "-9.223372036854775808");
        out.clear();
        Form::Decimals { least: 0, most: 0 }.write(i64::MAX, &mut out);
        assert_eq!(out, "9223372036854775807");
    }

    fn any_form() -> impl Strategy<Value = Form> {
        let decimals = (0..=18u8).prop_flat_map(|most| (0..=most, Just(most)));
        prop_oneof![
            decimals.prop_map(|(least, most)| Form::Decimals { least, most }),
            any::<bool>().prop_map(|point| Form::Double { point }),
        ]
    }

    proptest! {
        #[test]
        fn what_a_form_takes_it_writes_with_the_same_value(form in any_form(), text in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?") {
            let found = scan::value(text.as_bytes(), 0).unwrap();
            if let Some(integer) = form.integer(found.kind, &text) {
                let mut written = String::new();
                form.write(integer, &mut written);
                prop_assert_eq!(&written, &text);
                prop_assert_eq!(form.value(integer).to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
        }

        #[test]
        fn a_double_in_its_shortest_digits_is_taken(value in -1e15..1e15) {
            let text = format!("{value}");
            let form = Form::Double { point: false };
            prop_assert!(form.integer(Kind::Number, &text).is_some());
        }

        #[test]
        fn doubles_keep_their_order(left: f64, right: f64) {
            prop_assert_eq!(left.total_cmp(&right), order_of(left).cmp(&order_of(right)));
            prop_assert_eq!(double_of(order_of(left)).to_bits(), left.to_bits());
        }

        #[test]
        fn any_integer_is_written_and_valued(form in any_form(), integer: i64) {
            form.write(integer, &mut String::new());
            form.value(integer);
        }
    }
}
