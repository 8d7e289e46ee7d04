//! The binary: reads the command line, does what it says, and exits with 0, 1 (it could not be done) or 2 (it was asked
//! in a wrong way).

use std::process::ExitCode;

use clap::Parser;
use pocket_iot::cli::Cli;
use pocket_iot::{complain, run};

fn main() -> ExitCode {
    pocket_allocator::give_back_freed_memory();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
