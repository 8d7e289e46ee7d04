//! One setting: its names, its default, what it may be and what it means.

use super::rule::Rule;

/// What is said of a setting to people, whatever its type.
#[derive(Clone, Copy)]
pub struct About {
    /// Its name in the environment.
    pub name: &'static str,
    /// Other names in the environment, without the prefix.
    pub aliases: &'static [&'static str],
    /// Its key in the configuration file, with its table: `api.port`.
    pub key: &'static str,
    /// The text that stands for it when nobody says anything. Empty is "none" or "off" where the rule allows it.
    pub default: &'static str,
    /// What is shown as the default where it is worked out at start.
    pub default_shown: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
    /// What of it may be shown.
    pub secrecy: Secrecy,
    /// The Cargo feature without which it cannot be set.
    pub feature: Option<&'static str>,
}

/// What of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Open,
    /// All but a password in it.
    Address,
    /// Nothing.
    Secret,
}

impl About {
    /// Whether its value may stand in a file of its own, named by its `*_FILE` twin.
    pub fn has_file_twin(&self) -> bool {
        self.secrecy != Secrecy::Open
    }

    /// All its names in the environment, the one that wins first.
    pub fn environment_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// A setting and the type of its value.
pub(super) struct Setting<T: 'static> {
    about: About,
    rule: &'static dyn Rule<T>,
}

impl<T> Setting<T> {
    /// A setting of the environment name, the file key, the default, the rule and the meaning.
    pub(super) const fn new(
        name: &'static str,
        key: &'static str,
        default: &'static str,
        rule: &'static dyn Rule<T>,
        meaning: &'static str,
    ) -> Self {
        let (aliases, default_shown, secrecy, feature) = (&[] as &[&str], None, Secrecy::Open, None);
        Self { about: About { name, aliases, key, default, default_shown, meaning, secrecy, feature }, rule }
    }

    /// The same setting with further names in the environment.
    pub(super) const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.about.aliases = aliases;
        self
    }

    /// The same setting with a default that is worked out at start.
    pub(super) const fn default_is(mut self, shown: &'static str) -> Self {
        self.about.default_shown = Some(shown);
        self
    }

    /// The same setting, of which not everything may be shown.
    pub(super) const fn hidden(mut self, secrecy: Secrecy) -> Self {
        self.about.secrecy = secrecy;
        self
    }

    /// The same setting, which needs a feature.
    pub(super) const fn needs(mut self, feature: &'static str) -> Self {
        self.about.feature = Some(feature);
        self
    }

    /// Its name in the environment.
    pub(super) fn name(&self) -> &'static str {
        self.about.name
    }

    /// Whether a value is the one when nobody says anything.
    pub(super) fn is_default(&self, value: &T) -> bool
    where
        T: PartialEq,
    {
        self.parse(self.about.default).as_ref() == Some(value)
    }

    /// The value of a text, or `None` when it is not allowed.
    pub(super) fn parse(&self, text: &str) -> Option<T> {
        self.rule.parse(text)
    }
}

/// A setting without the type of its value, as it stands in the table.
pub trait AnySetting: Sync {
    /// What is said of it.
    fn about(&self) -> &About;

    /// Whether a text is allowed.
    fn allows(&self, text: &str) -> bool;

    /// What is allowed, as the end of the sentence "must be …".
    fn allowed(&self) -> String;

    /// The least and the greatest number, for a setting that is a number.
    fn bounds(&self) -> Option<(u64, u64)>;
}

impl<T> AnySetting for Setting<T> {
    fn about(&self) -> &About {
        &self.about
    }

    fn allows(&self, text: &str) -> bool {
        self.rule.parse(text).is_some()
    }

    fn allowed(&self) -> String {
        self.rule.allowed()
    }

    fn bounds(&self) -> Option<(u64, u64)> {
        self.rule.bounds()
    }
}
