//! What is wrong with a configuration: all of it at once, so that it is put right in one go.

use std::fmt;

use super::database;
use super::origin::Origin;
use super::setting::{AnySetting, Secrecy};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl Problem {
    /// Something that is wrong, as a sentence without a full stop.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A value that a setting does not allow. Of a secret only the length is told.
    pub(super) fn not_allowed(setting: &dyn AnySetting, text: &str, origin: &Origin) -> Self {
        let about = setting.about();
        let value = match about.secrecy {
            Secrecy::Open => format!("={text:?}"),
            Secrecy::Address => format!("={:?}", database::without_secrets(text)),
            Secrecy::Secret => format!(" ({} bytes, not shown)", text.len()),
        };
        Self(format!("{}{value} ({origin}): must be {}", about.name, setting.allowed()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is wrong with a configuration; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok` when there are none.
    pub(super) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [one] => write!(f, "the configuration is wrong: {one}"),
            several => {
                write!(f, "the configuration is wrong in {} places:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Problems {}
