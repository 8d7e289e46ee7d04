//! A column of integers in few bytes.
//!
//! It begins with a tag. Tag 0 is a line: the first integer and the step to each next. Tag 1 is plain: each as the
//! difference to the one before. Tags 2, 3 and 4 are packed: the smallest, a common factor, and `(integer - smallest) /
//! factor` in 16, 32 or 64 bits through [`packed`]. Tags 5, 6 and 7 are the same for what is left of the integers above a
//! line through zero, whose step stands behind the factor. All arithmetic wraps around, so that any integers can be written.

use crate::bytes::{Cursor, put_signed, put_varint};
use crate::packed::{self, unpack};
use crate::{Damaged, form::Form};

const LINE: u8 = 0;
const PLAIN: u8 = 1;
const PACKED_16: u8 = 2;
const PACKED_32: u8 = 3;
const PACKED_64: u8 = 4;
/// Added to a tag of packed integers that have a slope.
const SLOPED: u8 = 3;
const SLOPED_64: u8 = PACKED_64 + SLOPED;

/// Above this many, plain is not tried.
const FEW: usize = 64;

/// Appends a column. None at all takes no byte.
pub(crate) fn write(integers: &[i64], out: &mut Vec<u8>) {
    let Some((&first, rest)) = integers.split_first() else { return };
    let step = rest.first().map_or(0, |second| second.wrapping_sub(first));
    if integers.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
        out.push(LINE);
        put_signed(out, first);
        put_signed(out, step);
        return;
    }
    let from = out.len();
    write_packed(integers, out);
    if integers.len() <= FEW {
        let mut plain = vec![PLAIN];
        let mut before = 0;
        for &integer in integers {
            put_signed(&mut plain, integer.wrapping_sub(before));
            before = integer;
        }
        if plain.len() <= out.len() - from {
            out.truncate(from);
            out.append(&mut plain);
        }
    }
}

fn write_packed(integers: &[i64], out: &mut Vec<u8>) {
    let (slope, order) = slope_and_order(integers);
    let level = (slope != 0).then(|| along(integers.iter().copied(), slope.wrapping_neg()).collect::<Vec<_>>());
    let integers = level.as_deref().unwrap_or(integers);
    let (smallest, largest) = integers.iter().fold((i64::MAX, i64::MIN), |(s, l), &i| (s.min(i), l.max(i)));
    let above = |integer: i64| integer.wrapping_sub(smallest) as u64;
    let factor = common_factor(integers.iter().map(|integer| above(*integer)));
    let range = above(largest) / factor;
    let reduced = integers.iter().map(|integer| if factor == 1 { above(*integer) } else { above(*integer) / factor });
    let tag = match range {
        0..=0xffff => PACKED_16,
        0x1_0000..=0xffff_ffff => PACKED_32,
        _ => PACKED_64,
    };
    out.push(if slope == 0 { tag } else { tag + SLOPED });
    put_signed(out, smallest);
    put_varint(out, factor);
    if slope != 0 {
        put_signed(out, slope);
    }
    match tag {
        PACKED_16 => packed::pack(&reduced.map(|integer| integer as u16).collect::<Vec<_>>(), order, out),
        PACKED_32 => packed::pack(&reduced.map(|integer| integer as u32).collect::<Vec<_>>(), order, out),
        _ => packed::pack(&reduced.collect::<Vec<_>>(), order, out),
    }
}

/// Adds a line through zero.
fn along(integers: impl Iterator<Item = i64>, slope: i64) -> impl Iterator<Item = i64> {
    let line = std::iter::successors(Some(0i64), move |at| Some(at.wrapping_add(slope)));
    integers.zip(line).map(|(integer, line)| integer.wrapping_add(line))
}

/// The greatest common divisor, at least 1.
fn common_factor(integers: impl Iterator<Item = u64>) -> u64 {
    let mut factor = 0;
    for mut other in integers {
        while other != 0 {
            (factor, other) = (other, factor % other);
        }
        if factor == 1 {
            break;
        }
    }
    factor.max(1)
}

/// The slope that is taken off and the order of differences then (0, 1 or 2) that leave the fewest bits.
fn slope_and_order(integers: &[i64]) -> (i64, usize) {
    let bits = |distance: i64| u64::from(64 - distance.unsigned_abs().leading_zeros());
    let (first, last) = (integers[0], integers[integers.len() - 1]);
    let steps = (integers.len() as i64 - 1).max(1);
    let slope = last.wrapping_sub(first).saturating_add(steps / 2).div_euclid(steps);
    let half = integers.len() / 2;
    let middle = integers[half];
    let mut line = middle.wrapping_sub(slope.wrapping_mul(half as i64));
    let [mut level, mut sloped, mut first_order, mut second_order] = [0; 4];
    let mut before = [first, slope];
    for &integer in integers {
        let difference = integer.wrapping_sub(before[0]);
        level += bits(integer.wrapping_sub(middle));
        sloped += bits(integer.wrapping_sub(line));
        first_order += bits(difference.wrapping_sub(slope));
        second_order += bits(difference.wrapping_sub(before[1]));
        before = [integer, difference];
        line = line.wrapping_add(slope);
    }
    let choices = [(level, (0, 0)), (first_order, (0, 1)), (second_order, (0, 2)), (sloped, (slope, 0))];
    choices.into_iter().min_by_key(|(cost, _)| *cost).map_or((0, 0), |(_, choice)| choice)
}

/// A column that was unpacked.
pub(crate) enum Integers {
    Line { first: i64, step: i64, count: usize },
    Plain(Vec<i64>),
    Packed16 { smallest: i64, factor: i64, integers: Vec<u16> },
    Packed32 { smallest: i64, factor: i64, integers: Vec<u32> },
    Packed64 { smallest: i64, factor: i64, integers: Vec<i64> },
}

impl Integers {
    /// Reads a column of so many integers out of all of the bytes.
    pub(crate) fn read(bytes: &[u8], count: usize) -> Result<Self, Damaged> {
        let mut cursor = Cursor::new(bytes);
        if count == 0 {
            return if bytes.is_empty() { Ok(Self::Plain(Vec::new())) } else { Err(TOO_LONG) };
        }
        let read = match cursor.byte()? {
            LINE => Self::Line { first: cursor.signed()?, step: cursor.signed()?, count },
            PLAIN => {
                let mut integers = Vec::with_capacity(count.min(bytes.len()));
                let mut before = 0i64;
                for _ in 0..count {
                    before = before.wrapping_add(cursor.signed()?);
                    integers.push(before);
                }
                Self::Plain(integers)
            }
            tag @ PACKED_16..=SLOPED_64 => {
                let (smallest, factor) = (cursor.signed()?, cursor.varint()? as i64);
                let slope = if tag > PACKED_64 { cursor.signed()? } else { 0 };
                let packed = cursor.take(cursor.rest().len())?;
                let level = match if tag > PACKED_64 { tag - SLOPED } else { tag } {
                    PACKED_16 => Self::Packed16 { smallest, factor, integers: unpack(packed, count)? },
                    PACKED_32 => Self::Packed32 { smallest, factor, integers: unpack(packed, count)? },
                    _ => {
                        let integers: Vec<u64> = unpack(packed, count)?;
                        let integers = integers.into_iter().map(|integer| integer as i64).collect();
                        Self::Packed64 { smallest, factor, integers }
                    }
                };
                if slope == 0 { level } else { Self::Plain(along(level.into_vec().into_iter(), slope).collect()) }
            }
            _ => return Err(Damaged::Content("a way to write integers is unknown")),
        };
        if cursor.rest().is_empty() { Ok(read) } else { Err(TOO_LONG) }
    }

    /// The integers.
    pub(crate) fn into_vec(self) -> Vec<i64> {
        let spread = |smallest: i64, factor: i64| move |above: i64| smallest.wrapping_add(above.wrapping_mul(factor));
        match self {
            Self::Line { first, step, count } => {
                (0..count as i64).map(|n| first.wrapping_add(n.wrapping_mul(step))).collect()
            }
            Self::Plain(integers) => integers,
            Self::Packed16 { smallest, factor, integers } => {
                integers.into_iter().map(i64::from).map(spread(smallest, factor)).collect()
            }
            Self::Packed32 { smallest, factor, integers } => {
                integers.into_iter().map(i64::from).map(spread(smallest, factor)).collect()
            }
            Self::Packed64 { smallest, factor, integers } => {
                integers.into_iter().map(spread(smallest, factor)).collect()
            }
        }
    }

    /// The values of numbers in a form.
    pub(crate) fn into_values(self, form: Form) -> Vec<f64> {
        if let Some(divisor) = self.largest().and_then(|largest| form.divisor(largest)) {
            match self {
                Self::Packed16 { smallest, factor, integers } => {
                    return integers.iter().map(|i| (smallest + i64::from(*i) * factor) as f64 / divisor).collect();
                }
                Self::Packed32 { smallest, factor, integers } => {
                    return integers.iter().map(|i| (smallest + i64::from(*i) * factor) as f64 / divisor).collect();
                }
                _ => {}
            }
        }
        self.into_vec().into_iter().map(|integer| form.value(integer)).collect()
    }

    /// A bound of what any of its integers can be, from zero, if there is one without looking at them.
    fn largest(&self) -> Option<u64> {
        let (smallest, factor, range) = match self {
            Self::Packed16 { smallest, factor, .. } => (smallest, factor, u64::from(u16::MAX)),
            Self::Packed32 { smallest, factor, .. } => (smallest, factor, u64::from(u32::MAX)),
            _ => return None,
        };
        smallest.unsigned_abs().checked_add(factor.unsigned_abs().checked_mul(range)?)
    }
}

const TOO_LONG: Damaged = Damaged::Content("a column of integers is longer than it should be");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(integers: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        write(integers, &mut out);
        out
    }

    #[test]
    fn a_line_takes_few_bytes_however_long() {
        let line: Vec<i64> = (0..65_536).map(|n| 7 - n * 3).collect();
        assert_eq!(written(&line).len(), 3);
        assert_eq!(written(&[5; 1_000]).len(), 3);
        assert_eq!(written(&[]).len(), 0);
    }

    #[test]
    fn few_integers_are_plain() {
        assert_eq!(written(&[1, 2, 4]), [PLAIN, 2, 2, 4]);
    }

    #[test]
    fn a_common_factor_is_taken_out() {
        let whole_seconds: Vec<i64> = (0..500).map(|n| 1_700_000_000_000 + (n * 10 + n * n % 7) * 1_000).collect();
        let out = written(&whole_seconds);
        assert_eq!(out[0], PACKED_16);
        assert!(out.len() < 300, "{}", out.len());
    }

    #[test]
    fn the_extremes_come_back() {
        for integers in [vec![i64::MIN, i64::MAX, 0, -1], vec![i64::MAX; 3], vec![i64::MIN, 0], vec![i64::MIN; 100]] {
            let out = written(&integers);
            assert_eq!(Integers::read(&out, integers.len()).unwrap().into_vec(), integers);
        }
    }

    #[test]
    fn bytes_that_are_no_column_are_refused() {
        for bytes in
            [&[][..], &[8, 0, 0], &[5, 0, 0], &[LINE, 0], &[LINE, 0, 0, 0], &[PLAIN, 0, 0], &[PACKED_16, 0, 1, 0x20, 0]]
        {
            assert!(Integers::read(bytes, 3).is_err(), "{bytes:?}");
        }
        assert!(Integers::read(&[0], 0).is_err());
    }

    fn integers() -> impl Strategy<Value = Vec<i64>> {
        let any_of = |range: std::ops::Range<i64>| prop::collection::vec(range, 0..300);
        prop_oneof![
            any_of(0..10),
            any_of(-40_000..40_000),
            any_of(0..1 << 40),
            any_of(i64::MIN..i64::MAX),
            any_of(0..50).prop_map(|steps| {
                let mut at = 1_700_000_000_000;
                steps
                    .into_iter()
                    .map(|step| {
                        at += 10_000 + step;
                        at
                    })
                    .collect()
            }),
            any_of(0..50)
                .prop_map(|late| (0..).zip(late).map(|(n, late)| 1_700_000_000_000 + n * 10_000 + late).collect()),
            any_of(0..50).prop_map(|thousands| thousands.into_iter().map(|n| n * 1_000 - 5).collect()),
        ]
    }

    proptest! {
        #[test]
        fn integers_come_back(integers in integers()) {
            let out = written(&integers);
            prop_assert_eq!(Integers::read(&out, integers.len()).unwrap().into_vec(), integers);
        }

        #[test]
        fn values_are_those_of_the_form(integers in integers(), most in 0..=18u8) {
            let out = written(&integers);
            let form = Form::Decimals { least: 0, most };
            let values = Integers::read(&out, integers.len()).unwrap().into_values(form);
            prop_assert_eq!(values, integers.iter().map(|integer| form.value(*integer)).collect::<Vec<_>>());
        }
    }
}
