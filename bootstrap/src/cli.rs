//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Assignment, CONFIG_VARIABLE, Sources};

/// MQTT broker, telemetry store, device registry and REST API in one process.
///
/// Without a command, the platform runs (`serve`). Every setting can be given in a TOML file, in the environment and with --set.
#[derive(Debug, Parser)]
#[command(name = "pocket-iot", version)]
pub struct Cli {
    /// What the configuration is made of.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Configuration file (TOML); also POCKET_CONFIG
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to run: all, api or broker
    #[arg(long, global = true, value_name = "MODE")]
    pub mode: Option<String>,
    /// Directory for the database and generated secrets
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Any setting, such as --set api.port=3001; may be given several times
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the platform (the default)
    Serve,
    /// Migrate the database to the schema of this version and exit
    Migrate,
    /// Check through its API whether the platform is ready to store; for containers and scripts
    Health(HealthOptions),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage devices
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Back up the database and the secrets into a new archive, also while the platform runs; for PostgreSQL only the secrets
    Backup {
        /// The file to write; it must not exist
        file: PathBuf,
        /// Copy only the SQLite database, as a file that SQLite opens, without the secrets
        #[arg(long)]
        database_only: bool,
    },
    /// Restore an archive of `backup` into a data directory that is empty or missing
    Restore {
        /// The archive
        file: PathBuf,
    },
    /// Manage the key of the hashes of device tokens
    #[command(subcommand)]
    TokenKey(TokenKeyCommand),
    /// Verify the integrity of the database without changing it, also while the platform runs
    Check,
    /// Export the telemetry of a tenant, device by device, oldest first
    Export(ExportOptions),
    /// Import the telemetry of an export; rows that are already stored are skipped
    Import(ImportOptions),
}

/// What is asked.
#[derive(Args, Clone, Copy, Debug)]
pub struct HealthOptions {
    /// Only check that the process serves (`/health`), not that it can store (`/ready`)
    #[arg(long)]
    pub alive: bool,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout: u64,
}

/// Looking at the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration and report every error in it
    Check,
    /// Print the effective configuration with the origin of each value; secrets are hidden
    Print,
}

/// Changing the key of device tokens' hashes.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum TokenKeyCommand {
    /// Make the key of this process that of the database; device tokens made with another key stop working
    Adopt,
}

/// Making people who can log in.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a platform administrator; the password is read from stdin, or generated and printed
    CreateAdmin {
        /// The user name
        #[arg(value_name = "USERNAME")]
        username: String,
        /// Read the password from stdin
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a new password for a user and end their log-ins; it is read from stdin, or generated and printed
    ResetPassword {
        /// The user name
        #[arg(value_name = "USERNAME")]
        username: String,
        /// The name of their tenant
        #[arg(long, value_name = "NAME", default_value = "default")]
        tenant: String,
        /// Read the password from stdin
        #[arg(long)]
        password_stdin: bool,
    },
}

/// Managing devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Import the users of a Mosquitto password file as devices that keep their passwords; also while the platform runs
    ImportPasswords(ImportPasswordsOptions),
}

/// Which users become devices.
#[derive(Args, Debug)]
pub struct ImportPasswordsOptions {
    /// The password file; `-` is stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The name of the tenant
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub tenant: String,
    /// Also replace the user name and password of devices that already have them; by default they keep theirs
    #[arg(long)]
    pub replace: bool,
    /// Only report what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Which telemetry is written.
#[derive(Args, Debug)]
pub struct ExportOptions {
    /// The name of the tenant
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub tenant: String,
    /// Only this device
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Only topics that match this MQTT filter
    #[arg(long, value_name = "FILTER")]
    pub topic: Option<String>,
    /// Start time, inclusive (RFC 3339 or milliseconds)
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// End time, exclusive (RFC 3339 or milliseconds)
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Output format: ndjson (one JSON object per line) or csv
    #[arg(long, value_name = "FORMAT", default_value = "ndjson")]
    pub format: String,
    /// In CSV, put an apostrophe before values that a spreadsheet would take for formulas
    #[arg(long)]
    pub spreadsheet: bool,
    /// Compress with gzip
    #[arg(long)]
    pub gzip: bool,
    /// Output file instead of stdout; it gets its name when it is complete
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Which telemetry is stored.
#[derive(Args, Debug)]
pub struct ImportOptions {
    /// The name of the tenant
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub tenant: String,
    /// Input format: ndjson or csv; by default taken from the file name, otherwise ndjson
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// The file to read, plain or compressed with gzip; `-` is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
}

impl Options {
    /// The sources of the configuration, with the environment of this process.
    pub fn sources(&self) -> Sources {
        let environment: Vec<_> = std::env::vars_os().collect();
        let named = environment.iter().find(|(name, _)| name == CONFIG_VARIABLE).map(|(_, value)| PathBuf::from(value));
        let named = named.filter(|path| !path.as_os_str().is_empty());
        Sources { file: self.config.clone().or(named), environment, command_line: self.assignments() }
    }

    fn assignments(&self) -> Vec<Assignment> {
        let assignment = |option, key: &str, value: &str| Assignment { option, key: key.into(), value: value.into() };
        let set = self.set.iter().map(|(key, value)| assignment("--set", key, value));
        let mode = self.mode.iter().map(|mode| assignment("--mode", "mode", mode));
        let data_dir = self.data_dir.iter().map(|dir| assignment("--data-dir", "data_dir", dir));
        set.chain(mode).chain(data_dir).collect()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, such as api.port=3001".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        for line in [
            ["pocket-iot", "--mode", "api", "serve", "--set", "api.port=1"],
            ["pocket-iot", "serve", "--mode", "api", "--set", "api.port=1"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            let keys: Vec<_> = cli.options.assignments().into_iter().map(|a| (a.option, a.key, a.value)).collect();
            let expected = [("--set", "api.port", "1"), ("--mode", "mode", "api")];
            assert_eq!(keys, expected.map(|(option, key, value)| (option, key.to_owned(), value.to_owned())));
        }
    }

    #[test]
    fn no_command_is_serve() {
        assert!(Cli::try_parse_from(["pocket-iot"]).unwrap().command.is_none());
    }

    #[test]
    fn an_assignment_needs_a_key_and_a_value() {
        assert_eq!(key_and_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_and_value("a="), Ok(("a".into(), String::new())));
        assert!(key_and_value("a").is_err());
        assert!(key_and_value("=b").is_err());
    }
}
