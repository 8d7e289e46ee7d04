//! All tests that go beyond one crate, in one program so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail at once")]

mod access_rules;
mod aggregate;
mod architecture;
mod check;
mod conformance;
mod contract;
mod crashes;
mod dead_letters;
mod documentation;
mod durability;
mod embedded;
mod export;
mod faults;
mod field;
mod history_model;
mod hostile;
mod interop_v4;
mod interop_v5;
mod lifecycle;
mod log_fields;
mod migration;
mod mqtt;
mod people;
mod presence;
mod reconnects;
mod rest;
mod retention;
mod storage;
mod torture;
mod transports;
