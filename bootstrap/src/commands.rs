//! What each command of the command line does.

mod backup;
mod check;
mod config;
mod device;
mod export;
mod health;
mod import;
mod migrate;
mod restore;
mod token_key;
mod user;

use std::future::Future;

use crate::cli::{Cli, Command, DeviceCommand, TokenKeyCommand};
use crate::config::{Configuration, DatabaseKind};
use crate::{Failure, logs, serve};

/// Connections to PostgreSQL of a command that does not serve.
const COMMAND_POOL: u32 = 2;

/// Does what the command line says.
///
/// # Errors
/// Why it could not be done.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let sources = cli.options.sources();
    let command = match cli.command.unwrap_or(Command::Serve) {
        // It speaks of the configuration itself, right or wrong, so it comes before everything that needs a right one.
        Command::Config(command) => return config::run(command, &sources),
        // It is run every few seconds, beside the process that warned already.
        Command::Health(options) => return once(health::run(&Configuration::load(&sources)?.settings, options)),
        other => other,
    };
    let configuration = Configuration::load(&sources)?;
    let mut settings = configuration.settings;
    logs::begin(&settings.log)?;
    for warning in configuration.warnings {
        tracing::warn!("{warning}");
    }
    if !matches!(command, Command::Serve) && settings.database.url.kind() == DatabaseKind::Postgres {
        // A command is alone. A pooler may have few connections left beside those of the process that serves.
        settings.database.pool = settings.database.pool.min(COMMAND_POOL);
    }
    match command {
        Command::Serve => serve::run(settings),
        Command::Migrate => once(migrate::run(&settings)),
        Command::User(command) => once(user::run(&settings, command)),
        Command::Device(DeviceCommand::ImportPasswords(options)) => once(device::import_passwords(&settings, &options)),
        Command::Backup { file, database_only } => once(backup::run(&settings, &file, database_only)),
        Command::Restore { file } => once(restore::run(&settings, &file)),
        Command::TokenKey(TokenKeyCommand::Adopt) => once(token_key::adopt(&settings)),
        Command::Check => once(check::run(&settings)),
        Command::Export(options) => once(export::run(&settings, &options)),
        Command::Import(options) => once(import::run(&settings, &options)),
        Command::Config(_) | Command::Health(_) => Ok(()),
    }
}

/// Runs a command that ends by itself.
fn once(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::while_doing("cannot start a runtime", error))?;
    runtime.block_on(command)
}
