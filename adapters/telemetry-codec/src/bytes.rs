//! Integers of variable length, and a reader that never reads past its end.
//!
//! A varint has seven bits a byte, the lowest first, and the top bit set in all bytes but the last (LEB128). A signed one
//! is folded first: 0, -1, 1, -2 become 0, 1, 2, 3.

use crate::Damaged;

const ENDS_EARLY: Damaged = Damaged::Content("it ends early");

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the varint of a length.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varint(out, length as u64);
}

/// Appends a folded signed varint.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads from the front of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let (&first, rest) = self.rest.split_first().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged::Content("a number is longer than 64 bits"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        let folded = self.varint()?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// A varint of at most `limit`.
    pub(crate) fn at_most(&mut self, limit: usize) -> Result<usize, Damaged> {
        let value = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if value > limit { Err(Damaged::Content("a number is beyond its limit")) } else { Ok(value) }
    }

    /// How many of something follow that takes a byte or more each.
    pub(crate) fn count(&mut self) -> Result<usize, Damaged> {
        self.at_most(self.rest.len())
    }

    pub(crate) fn double(&mut self) -> Result<f64, Damaged> {
        let bytes = self.take(8)?.first_chunk().ok_or(ENDS_EARLY)?;
        Ok(f64::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_varint_ends_where_its_bytes_say_so() {
        assert_eq!(Cursor::new(&[0x80]).varint(), Err(ENDS_EARLY));
        assert_eq!(Cursor::new(&[0xff; 9]).varint(), Err(ENDS_EARLY));
        assert!(Cursor::new(&[0xff; 11]).varint().is_err());
        let mut largest = vec![0xff; 9];
        largest.push(1);
        assert_eq!(Cursor::new(&largest).varint(), Ok(u64::MAX));
        largest[9] = 2;
        assert!(Cursor::new(&largest).varint().is_err());
    }

    proptest! {
        #[test]
        fn integers_come_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_signed(&mut out, signed);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.varint(), Ok(value));
            prop_assert_eq!(cursor.signed(), Ok(signed));
            prop_assert!(cursor.rest().is_empty());
        }
    }
}
