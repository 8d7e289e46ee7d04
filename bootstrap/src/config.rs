//! The configuration: defaults < TOML file < environment < command line.
//!
//! [`SETTINGS`] is the one table of all settings; names, defaults, bounds and explanations stand there and nowhere else.
//! Every value is parsed once, here, and everything that is wrong is reported at once with the name of the setting, its
//! value, where it came from and what is allowed. Secrets are never part of a message.

mod bridges;
mod database;
mod environment;
mod file;
mod files;
mod layers;
mod listeners;
mod nearest;
mod origin;
mod print;
mod problem;
mod rule;
mod secret;
mod setting;
mod settings;
mod table;

#[cfg(test)]
mod tests;

use layers::Layers;
use settings::Reader;

pub use bridges::{BridgeDeviceSetting, BridgeDirection, BridgeSettings, BridgeTls, BridgeTopic};
pub use database::{DatabaseKind, DatabaseUrl};
pub use layers::{Assignment, Sources};
pub use listeners::{MqttListeners, TlsSettings};
pub use origin::Origin;
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use setting::{About, AnySetting, Secrecy};
pub use settings::{
    Acknowledge, ApiSettings, AuthSettings, DatabaseSettings, FailureLimits, IngestSettings, LogFormat, LogSettings,
    Mode, MqttSettings, Quota, Settings, Synchronous,
};
pub use table::SETTINGS;

/// The variable that names the configuration file where the command line does not.
pub const CONFIG_VARIABLE: &str = "POCKET_CONFIG";

/// A configuration that was read and found right.
pub struct Configuration {
    /// The values.
    pub settings: Settings,
    /// What is odd about the sources without being an error.
    pub warnings: Vec<String>,
    layers: Layers,
}

impl Configuration {
    /// Reads all sources.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(sources: &Sources) -> Result<Self, Problems> {
        let mut layers = Layers::read(sources);
        let settings = Reader::new(&layers).settings()?;
        Ok(Self { settings, warnings: std::mem::take(&mut layers.warnings), layers })
    }

    /// Looks whether the files and directories that it names can be used on this machine. What the address of the database names was
    /// looked at before.
    ///
    /// # Errors
    /// All that cannot.
    pub fn check_files(&self, database: Result<(), String>) -> Result<(), Problems> {
        files::check(&self.settings, database)
    }

    /// The effective configuration as a TOML file in which each value says where it came from; secrets are not shown.
    pub fn effective(&self) -> String {
        print::effective(&self.layers, &self.settings)
    }
}

impl Settings {
    /// The defaults, changed by pairs of a file key and a value, for those who embed the platform.
    ///
    /// # Errors
    /// Everything that is wrong with the pairs.
    pub fn with<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Problems> {
        let assignment =
            |(key, value): (&str, &str)| Assignment { option: "--set", key: key.into(), value: value.into() };
        let sources = Sources { command_line: pairs.into_iter().map(assignment).collect(), ..Sources::default() };
        Configuration::load(&sources).map(|configuration| configuration.settings)
    }
}
