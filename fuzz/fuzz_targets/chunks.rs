//! A chunk of telemetry in any bytes, with the checksum as it is and put right, and any texts as payloads; the check is the
//! one of the tests of `telemetry-codec`.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is what a fuzzer looks for")]

#[path = "../../adapters/telemetry-codec/tests/all/check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
