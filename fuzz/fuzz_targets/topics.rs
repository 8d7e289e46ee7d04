//! A filter and topics, in any bytes; the check is the one of the model tests of `mqtt-core`.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is what a fuzzer looks for")]

#[path = "../../adapters/mqtt-core/tests/model/literal.rs"]
mod literal;
#[path = "../../adapters/mqtt-core/tests/model/opening.rs"]
#[allow(dead_code, reason = "the models use more of it")]
mod opening;
#[path = "../../adapters/mqtt-core/tests/model/topics.rs"]
mod topics;

libfuzzer_sys::fuzz_target!(|data: &[u8]| topics::check(data));
