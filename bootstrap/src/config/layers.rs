//! The layers of a configuration and how they are laid over each other: defaults < file < environment < command line.
//!
//! Each value keeps where it came from. A secret may stand in a file of its own, named by the `*_FILE` twin of its
//! setting; naming both in one layer is an error, because nobody could tell which one was meant.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::origin::Origin;
use super::problem::Problem;
use super::setting::About;
use super::{BridgeSettings, SETTINGS, bridges, environment, file, nearest};

/// What a configuration is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// The variables of the environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line says; a later assignment of a key wins over an earlier one.
    pub command_line: Vec<Assignment>,
}

/// A setting given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The option it was given with.
    pub option: &'static str,
    /// The key in the configuration file, or a name in the environment.
    pub key: String,
    /// The text of the value.
    pub value: String,
}

/// The text of a setting, or the file that holds it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Content {
    Text(String),
    InFile(PathBuf),
}

/// What a layer says of a setting.
pub(super) struct Entry {
    pub(super) about: &'static About,
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What all layers together say of a setting.
pub(super) struct Chosen {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// The outcome of laying the layers over each other.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) chosen: BTreeMap<&'static str, Chosen>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    pub(super) bridges: Vec<BridgeSettings>,
}

impl Layers {
    pub(super) fn read(sources: &Sources) -> Self {
        let mut layers = Self::default();
        let mut winners: BTreeMap<&'static str, Entry> = BTreeMap::new();
        let mut lay = |entries: Vec<Entry>| winners.extend(entries.into_iter().map(|entry| (entry.about.name, entry)));
        if let Some(path) = &sources.file {
            lay(file::read(path, &mut layers.bridges, &mut layers.problems));
        }
        lay(environment::read(&sources.environment, &mut layers.problems, &mut layers.warnings));
        bridges::lay_environment(&mut layers.bridges, &sources.environment, &mut layers.problems, &mut layers.warnings);
        lay(command_line(&sources.command_line, &mut layers.problems));
        for (name, entry) in winners {
            match text_of(entry.content, entry.about, &entry.origin) {
                Ok(text) => {
                    layers.chosen.insert(name, Chosen { text, origin: entry.origin });
                }
                Err(problem) => layers.problems.push(problem),
            }
        }
        layers
    }
}

/// The entry for a key of the configuration file, which may be that of a `*_FILE` twin; `None` for an unknown key.
pub(super) fn entry_for_key(key: &str, text: &str, origin: &Origin) -> Option<Entry> {
    let about_of = |key: &str| SETTINGS.iter().map(|setting| setting.about()).find(|about| about.key == key);
    let entry = |about, content| Entry { about, content, origin: origin.clone() };
    if let Some(about) = about_of(key) {
        return Some(entry(about, Content::Text(text.to_owned())));
    }
    let about = about_of(key.strip_suffix("_file")?).filter(|about| about.has_file_twin())?;
    Some(entry(about, Content::InFile(text.into())))
}

/// The problem of a setting that one layer names both in place and by its `*_FILE` twin.
pub(super) fn named_twice(about: &About, origin: &Origin) -> Problem {
    let (name, key) = (about.name, about.key);
    Problem::new(format!("{name} ({origin}): {key} and {key}_file are both set; keep one"))
}

fn command_line(assignments: &[Assignment], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for Assignment { option, key, value } in assignments {
        let origin = Origin::CommandLine(option);
        match entry_for_key(&key_of(key), value, &origin) {
            Some(entry) => entries.push(entry),
            None => {
                let hint = hint(key);
                problems.push(Problem::new(format!("{option} {key}: there is no such setting{hint}")));
            }
        }
    }
    entries
}

/// What may have been meant by a key: the settings of a table, or the one of the nearest name.
fn hint(key: &str) -> String {
    let keys = || SETTINGS.iter().map(|setting| setting.about().key);
    let of_table: Vec<&str> =
        keys().filter(|other| other.strip_prefix(key).is_some_and(|end| end.starts_with('.'))).collect();
    match &of_table[..] {
        [] => nearest::hint(key, "", keys()),
        [first, ..] => format!("; it is a table of settings such as {first}"),
    }
}

/// The key of what may be a name in the environment.
fn key_of(name: &str) -> String {
    for about in SETTINGS.iter().map(|setting| setting.about()) {
        for known in about.environment_names() {
            match name.strip_prefix(known) {
                Some("") => return about.key.to_owned(),
                Some("_FILE") if about.has_file_twin() => return format!("{}_file", about.key),
                _ => {}
            }
        }
    }
    name.to_owned()
}

fn text_of(content: Content, about: &About, origin: &Origin) -> Result<String, Problem> {
    match content {
        Content::Text(text) => Ok(text),
        Content::InFile(path) => match std::fs::read_to_string(&path) {
            // Editors and `echo` end a file with a line break that is no part of the secret.
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                Err(Problem::new(format!("{}_FILE={:?} ({origin}): cannot read the file: {error}", about.name, path)))
            }
        },
    }
}
