//! Measures the binary that POCKET_IOT_BINARY names, and Mosquitto beside it where it is installed: `just bench`.
//!
//! `bench [--json FILE] [NAME…]` takes all measures of [`measure::ALL`] or those named. Short ones are the median of several
//! runs; the two brokers take turns, so that a busy machine slows both. Each run that stores counts the rows, and each that
//! delivers counts what arrived. A row of the table is printed when it is measured; FILE has all rows so far as JSON.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a benchmark prints, and fails at once"
)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails at once"))]

mod figure;
mod history;
mod load;
mod machine;
mod measure;
mod ours;
mod peer;
mod scale;
mod table;

use std::path::PathBuf;

use measure::Bench;
use scale::Scale;
use table::Table;

#[tokio::main]
async fn main() {
    let (mut json, mut names) = (None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--json" => json = Some(PathBuf::from(arguments.next().expect("--json FILE"))),
            name if measure::ALL.contains(&name) => names.push(argument),
            _ => {
                eprintln!("{argument:?} is no measure; there are: {}", measure::ALL.join(" "));
                std::process::exit(2);
            }
        }
    }
    machine::raise_limit_of_files();
    let mut bench = Bench::new(Scale::FULL, Table::begin(json));
    for name in measure::ALL.iter().filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == *name)) {
        measure::take(name, &mut bench).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With numbers so small that only what the bench itself does is tried.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_measure_can_be_taken() {
        let mut bench = Bench::new(Scale::TINY, Table::begin(None));
        for name in measure::ALL {
            let before = bench.table.figures().len();
            measure::take(name, &mut bench).await;
            let new = &bench.table.figures()[before..];
            assert!(!new.is_empty(), "{name} has no figure");
            for figure in new {
                assert!(figure.value() > 0.0, "{name}: {figure:?}");
                assert_eq!(figure.lost(), 0, "{name}: {figure:?}");
            }
        }
    }
}
