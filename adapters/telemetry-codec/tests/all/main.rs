//! The codec as its callers see it: what goes in comes out, and what is damaged or made to do harm is an error.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

mod by_hand;
mod check;
mod damage;
mod golden;
mod json;
mod limits;
mod memory;
mod naive;
mod round_trip;
mod samples;
