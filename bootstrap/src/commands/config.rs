//! `config check` and `config print`.

use crate::cli::ConfigCommand;
use crate::config::{Configuration, Sources};
use crate::console;
use crate::{Failure, adapters};

/// Says whether the configuration is right, or what it is.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub(super) fn run(command: ConfigCommand, sources: &Sources) -> Result<(), Failure> {
    let configuration = Configuration::load(sources)?;
    match command {
        ConfigCommand::Check => {
            configuration.check_files(adapters::check_address(&configuration.settings))?;
            let warnings = configuration.warnings.iter().map(|warning| format!("warning: {warning}\n"));
            console::finish(warnings.chain(["ok\n".to_owned()]).collect::<String>())
        }
        ConfigCommand::Print => console::finish(configuration.effective()),
    }
}
