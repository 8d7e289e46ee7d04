//! The broker's core against implementations so simple that they can be read at a glance.
//!
//! A seed decides everything that happens in a run, so a run can be repeated: `POCKET_MODEL_SEED=n` runs one seed and
//! shows its steps, `POCKET_MODEL_SEEDS=count` runs so many from `POCKET_MODEL_FIRST` on. `just model` runs many.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail at once")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a failing seed is shown, and a repeated one with its steps"
)]

mod client;
mod corpus;
mod deliveries;
mod index;
mod literal;
mod opening;
mod publications;
mod retained;
mod seed;
mod sessions;
mod subscriptions;
mod topics;
