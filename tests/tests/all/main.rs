//! All tests that go beyond one crate, in one program so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail at once")]

mod access_rules;
mod architecture;
mod contract;
mod documentation;
mod embedded;
mod lifecycle;
mod mqtt;
mod rest;
mod storage;
mod transports;
