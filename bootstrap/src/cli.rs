//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Assignment, CONFIG_VARIABLE, Sources};

/// MQTT broker, telemetry store, device registry and REST API in one process.
///
/// Without a command it serves. Every setting can be given in a TOML file, in the environment, and here.
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
    /// What this process runs: all, api or broker
    #[arg(long, global = true, value_name = "MODE")]
    pub mode: Option<String>,
    /// Directory of the database and of generated secrets
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
    /// Bring the database to the schema of this version and stop
    Migrate,
    /// Ask the platform of this configuration, through its API, whether it is ready to store; for containers and scripts
    Health(HealthOptions),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage devices
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Write the database and the secrets into a new archive while the platform runs; of PostgreSQL only the secrets
    Backup {
        /// The file to write; it must not exist
        file: PathBuf,
        /// Write a copy of the SQLite database, as a file that SQLite opens, and no secrets
        #[arg(long)]
        database_only: bool,
    },
    /// Write what an archive of `backup` holds into a data directory that is empty or missing
    Restore {
        /// The archive
        file: PathBuf,
    },
    /// The key that the hashes of device tokens are made with
    #[command(subcommand)]
    TokenKey(TokenKeyCommand),
    /// Verify the integrity of the database, also while the platform runs; changes nothing
    Check,
    /// Write the telemetry of a tenant, device after device, each oldest first
    Export(ExportOptions),
    /// Store the telemetry of an export; what is there already is not stored again
    Import(ImportOptions),
}

/// What is asked.
#[derive(Args, Clone, Copy, Debug)]
pub struct HealthOptions {
    /// Only whether the process serves (`/health`), not whether it can store (`/ready`)
    #[arg(long)]
    pub alive: bool,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout: u64,
}

/// Looking at the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is right, or everything that is wrong with it
    Check,
    /// Write the effective configuration with the origin of each value; secrets are not shown
    Print,
}

/// Changing the key of device tokens' hashes.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum TokenKeyCommand {
    /// Take the key of this process for that of the database; device tokens made with another stay without effect
    Adopt,
}

/// Making people who can log in.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a platform administrator; the password comes from stdin, or is generated and printed
    CreateAdmin {
        /// Their name
        #[arg(value_name = "USERNAME")]
        username: String,
        /// Read the password from stdin
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give somebody a new password, which ends their log-ins; it comes from stdin, or is generated and printed
    ResetPassword {
        /// Their name
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
    /// Import the users of a Mosquitto password file as devices that log in with the passwords they have; also while the platform runs
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
    /// Give devices that have a user name and password already those of the file; by default they keep theirs
    #[arg(long)]
    pub replace: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Which telemetry is written.
#[derive(Args, Debug)]
pub struct ExportOptions {
    /// The name of the tenant
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub tenant: String,
    /// Only of this device
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Only of topics that this MQTT filter matches
    #[arg(long, value_name = "FILTER")]
    pub topic: Option<String>,
    /// Not before this moment (RFC 3339 or milliseconds)
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Before this moment (RFC 3339 or milliseconds)
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// How rows are written: ndjson, one JSON object a line, or csv
    #[arg(long, value_name = "FORMAT", default_value = "ndjson")]
    pub format: String,
    /// In CSV, put an apostrophe before values that a spreadsheet would take for formulas
    #[arg(long)]
    pub spreadsheet: bool,
    /// Compress with gzip
    #[arg(long)]
    pub gzip: bool,
    /// The file to write, instead of stdout; it has its name when it is whole
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Which telemetry is stored.
#[derive(Args, Debug)]
pub struct ImportOptions {
    /// The name of the tenant
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub tenant: String,
    /// How rows are written: ndjson or csv; by default as the name of the file says, else ndjson
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// The file to read, as it is or compressed with gzip; `-` is stdin
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
