//! One tenant, one device, one viewer or a stranger does its worst, and nobody else notices: memory stays bounded by what
//! is counted, acknowledgements of others go on, limits are reached by those who fill them.
//!
//! Tenant A does harm and tenant B must not notice ([`pocket_tests::TwoTenants`]); [`pocket_tests::AckProbe`] times the
//! acknowledgements of B meanwhile, [`pocket_tests::MemoryProbe`] the memory. `POCKET_TORTURE=n` makes all of it `n` times
//! as large; `just torture` does. Tests that measure time or memory have `latency`, `memory`, `weight` or `starvation` in
//! their path, and `.config/nextest.toml` lets them run alone.

mod broker;
mod clocks;
mod fate;
mod filters;
mod guesses;
mod latency;
mod latest;
mod matrix;
mod rest;
mod seal;
mod sleepers;
mod starvation;
mod tables;
