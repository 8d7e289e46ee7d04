//! The crate `pco` held to what a chunk needs of it: unsigned integers, mode classic, differences of order 0 to 7.
//!
//! Its other modes and deltas are never written, and refused when read, because some of them ask for memory that the
//! bytes do not account for. What is written is the metadata of one pco chunk and one page, without pco's file header.

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec, PagingSpec};

use crate::{Damaged, MAX_VALUES};

/// The header of a pco file of format 4.1, which chunks of format 1 are written in.
const HEADER: [u8; 2] = [4, 1];

/// More costs time and gains little on integers that are small already.
const LEVEL: usize = 5;

/// The first byte of pco's metadata: the mode in the lower half, the kind of delta in the upper.
const CLASSIC_AS_IS: u8 = 0x00;
const CLASSIC_DIFFERENCES: u8 = 0x10;

/// Appends integers, of which there must be one at least, as differences of an order.
pub(crate) fn pack<T: Number>(integers: &[T], order: usize, out: &mut Vec<u8>) {
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::TryConsecutive(order))
        .with_paging_spec(PagingSpec::EqualPagesUpTo(MAX_VALUES));
    let mut compressor = FileCompressor::default()
        .chunk_compressor(integers, &config)
        .expect("a chunk holds fewer integers than pco takes, and the settings are allowed");
    compressor.write_meta(&mut *out).expect("writing into memory");
    compressor.write_page(0, out).expect("writing into memory");
}

/// Reads so many integers out of all of the bytes.
pub(crate) fn unpack<T: Number + Default>(bytes: &[u8], count: usize) -> Result<Vec<T>, Damaged> {
    const WRONG: Damaged = Damaged::Content("integers cannot be unpacked");
    if !matches!(bytes.first(), Some(&CLASSIC_AS_IS | &CLASSIC_DIFFERENCES)) {
        return Err(Damaged::Content("integers are packed in a way that is not allowed"));
    }
    let (file, _) = FileDecompressor::new(&HEADER[..]).map_err(|_| WRONG)?;
    let (mut chunk, page) = file.chunk_decompressor::<T, _>(bytes).map_err(|_| WRONG)?;
    let mut page = chunk.page_decompressor(page, count).map_err(|_| WRONG)?;
    let mut integers = vec![T::default(); count];
    page.read(&mut integers).map_err(|_| WRONG)?;
    if page.into_src().is_empty() { Ok(integers) } else { Err(WRONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pco_writes_the_format_that_is_read() {
        let mut header = Vec::new();
        FileCompressor::default().write_header(&mut header).unwrap();
        assert_eq!(header, HEADER);
    }

    #[test]
    fn integers_come_back_in_each_order_of_differences() {
        let integers: Vec<u16> = (0..1_000u32).map(|n| (n * n % 60_000) as u16).collect();
        for order in 0..=2 {
            let mut out = Vec::new();
            pack(&integers, order, &mut out);
            assert_eq!(unpack(&out, 1_000), Ok(integers.clone()));
            assert!(unpack::<u16>(&out, 999).is_err() || unpack::<u16>(&out, 999).unwrap().len() == 999);
            assert!(unpack::<u16>(&out[..out.len() - 1], 1_000).is_err());
            out.push(0);
            assert!(unpack::<u16>(&out, 1_000).is_err());
        }
    }

    #[test]
    fn other_ways_of_packing_are_refused() {
        for first in 1..=0xff {
            if first != CLASSIC_DIFFERENCES {
                assert!(unpack::<u64>(&[first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1).is_err());
            }
        }
    }
}
