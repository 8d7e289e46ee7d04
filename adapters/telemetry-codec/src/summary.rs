//! The summary of a leaf in a chunk: sum, smallest, largest, first and last in few bytes.
//!
//! They begin with a tag: with 0 to 18, all are integers over that power of ten, small ones mostly; with [`DOUBLES`] they
//! are doubles of eight bytes. A sum that was rounded on its way is an integer and how many doubles lie between its value
//! and the sum.

use crate::Damaged;
use crate::bytes::{Cursor, put_signed, put_varint};
use crate::leaf::Leaf;
use crate::number::{Decimal, MAX_EXACT, POWERS};

const DOUBLES: u8 = 31;

/// Beyond so many doubles, a sum is better kept as one.
const FAR: i64 = 1 << 20;

/// Appends the summary of a leaf whose numbers have mostly so many decimals.
pub(crate) fn write(leaf: &Leaf, decimals: u8, out: &mut Vec<u8>) {
    if let Some(([smallest, largest, first, last], sum, distance)) = integers(leaf, decimals) {
        out.push(decimals);
        put_signed(out, smallest);
        for other in [largest, first, last] {
            put_varint(out, other.wrapping_sub(smallest) as u64);
        }
        put_signed(out, sum);
        put_signed(out, distance);
    } else {
        out.push(DOUBLES);
        for double in [leaf.min, leaf.max, leaf.first, leaf.last, leaf.sum] {
            out.extend_from_slice(&double.to_le_bytes());
        }
    }
}

fn integers(leaf: &Leaf, decimals: u8) -> Option<([i64; 4], i64, i64)> {
    let exact = |double: f64| {
        let integer = nearest(double, decimals)?;
        (value(integer, decimals).to_bits() == double.to_bits()).then_some(integer)
    };
    let four = [exact(leaf.min)?, exact(leaf.max)?, exact(leaf.first)?, exact(leaf.last)?];
    let sum = nearest(leaf.sum, decimals)?;
    let distance = (leaf.sum.to_bits() as i64).wrapping_sub(value(sum, decimals).to_bits() as i64);
    (-FAR..FAR).contains(&distance).then_some((four, sum, distance))
}

fn nearest(double: f64, decimals: u8) -> Option<i64> {
    let integer = (double * *POWERS.get(usize::from(decimals))? as f64).round();
    (integer.abs() <= MAX_EXACT as f64).then_some(integer as i64)
}

fn value(integer: i64, decimals: u8) -> f64 {
    Decimal { mantissa: integer, decimals }.value()
}

/// Reads the summary of a leaf.
pub(crate) fn read(path: &str, count: usize, cursor: &mut Cursor<'_>) -> Result<Leaf, Damaged> {
    let (path, count) = (path.into(), count as u32);
    let decimals = cursor.byte()?;
    if decimals == DOUBLES {
        let mut double = || cursor.double();
        return Ok(Leaf {
            path,
            count,
            min: double()?,
            max: double()?,
            first: double()?,
            last: double()?,
            sum: double()?,
        });
    }
    if usize::from(decimals) >= POWERS.len() {
        return Err(Damaged::Content("a summary is unknown"));
    }
    let smallest = cursor.signed()?;
    let mut other = || cursor.varint().map(|above| value(smallest.wrapping_add(above as i64), decimals));
    let (max, first, last) = (other()?, other()?, other()?);
    let sum = value(cursor.signed()?, decimals).to_bits() as i64;
    let sum = f64::from_bits(sum.wrapping_add(cursor.signed()?) as u64);
    Ok(Leaf { path, count, sum, min: value(smallest, decimals), max, first, last })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn summary(values: &[f64], decimals: u8) -> (Leaf, Vec<u8>) {
        let mut leaf = Leaf::new(values[0]);
        values[1..].iter().for_each(|value| leaf.add(*value));
        let mut out = Vec::new();
        write(&leaf, decimals, &mut out);
        (leaf, out)
    }

    #[test]
    fn decimals_take_few_bytes() {
        let values: Vec<f64> = (0..500).map(|n| f64::from(200 + n % 9) / 10.0).collect();
        assert_eq!(summary(&values, 1).1.len(), 10);
    }

    #[test]
    fn what_integers_do_not_say_is_kept_as_doubles() {
        for values in [&[-0.0][..], &[1e300], &[0.25], &[1e16, -1e16]] {
            assert_eq!(summary(values, 1).1.len(), 41);
        }
    }

    #[test]
    fn an_unknown_summary_is_refused() {
        for decimals in 19..DOUBLES {
            assert!(read("a", 1, &mut Cursor::new(&[decimals, 0, 0, 0, 0, 0, 0])).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_summary_comes_back(tenths in prop::collection::vec(-1_000_000i32..1_000_000, 1..50), odd: Option<f64>, decimals in 0..=20u8) {
            let values: Vec<f64> = tenths.iter().map(|n| f64::from(*n) / 10.0).chain(odd).collect();
            let (leaf, out) = summary(&values, decimals);
            let mut cursor = Cursor::new(&out);
            let came = read("a", leaf.count as usize, &mut cursor).unwrap();
            prop_assert!(cursor.rest().is_empty());
            for (left, right) in [(leaf.sum, came.sum), (leaf.min, came.min), (leaf.max, came.max), (leaf.first, came.first), (leaf.last, came.last)] {
                prop_assert_eq!(left.to_bits(), right.to_bits());
            }
        }
    }
}
