//! The environment as a layer of the configuration.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::layers::{Content, Entry};
use super::origin::Origin;
use super::problem::Problem;
use super::setting::About;
use super::{CONFIG_VARIABLE, SETTINGS, bridges, nearest};

const PREFIX: &str = "POCKET_";
const TWIN: &str = "_FILE";

/// What the environment says. A name without the prefix counts only where the one with the prefix is not set.
pub(super) fn read(
    variables: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Vec<Entry> {
    let variables: HashMap<&str, &OsStr> =
        variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str()))).collect();
    let mut entries = Vec::new();
    for about in SETTINGS.iter().map(|setting| setting.about()) {
        let direct = about.environment_names().map(str::to_owned).find(|name| variables.contains_key(&**name));
        let mut twins = about.environment_names().map(|name| format!("{name}{TWIN}"));
        let twin = if about.has_file_twin() { twins.find(|name| variables.contains_key(&**name)) } else { None };
        let name = match (direct, twin) {
            (Some(direct), Some(twin)) => {
                problems.push(Problem::new(format!("{direct} and {twin} are both set in the environment; keep one")));
                continue;
            }
            (Some(direct), None) => direct,
            (None, Some(twin)) => twin,
            (None, None) => continue,
        };
        match entry(about, &name, variables[&*name]) {
            Ok(entry) => entries.push(entry),
            Err(problem) => problems.push(problem),
        }
    }
    warnings.extend(unknown(variables.keys().copied()));
    entries
}

fn entry(about: &'static About, name: &str, value: &OsStr) -> Result<Entry, Problem> {
    let is_twin = about.environment_names().all(|known| known != name);
    let content = match value.to_str() {
        _ if is_twin => Content::InFile(value.into()),
        Some(text) => Content::Text(text.to_owned()),
        None => return Err(Problem::new(format!("{name} (environment): is not UTF-8"))),
    };
    Ok(Entry { about, content, origin: Origin::Environment(name.to_owned()) })
}

/// Warnings about variables that carry the prefix and mean nothing. They are no errors: another version of the program
/// may know them, and container platforms add variables of their own.
fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<&str> = names
        .filter(|name| name.starts_with(PREFIX) && !name.starts_with(bridges::PREFIX) && !is_known(name))
        .collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let hint = nearest::hint(name, PREFIX, SETTINGS.iter().map(|setting| setting.about().name));
            format!("{name} in the environment is not a setting{hint}")
        })
        .collect()
}

fn is_known(name: &str) -> bool {
    name == CONFIG_VARIABLE
        || SETTINGS.iter().map(|setting| setting.about()).any(|about| {
            about.environment_names().any(|known| match name.strip_prefix(known) {
                Some("") => true,
                Some(TWIN) => about.has_file_twin(),
                _ => false,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_pairs(pairs: &[(&str, &str)]) -> (Vec<Entry>, Vec<String>, Vec<String>) {
        let variables: Vec<_> = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let entries = read(&variables, &mut problems, &mut warnings);
        (entries, problems.iter().map(ToString::to_string).collect(), warnings)
    }

    #[test]
    fn the_name_with_the_prefix_wins_over_the_bare_one() {
        let (entries, ..) = read_pairs(&[("API_PORT", "1"), ("POCKET_API_PORT", "2")]);
        assert!(entries[0].content == Content::Text("2".into()));
        let (entries, ..) = read_pairs(&[("API_PORT", "1")]);
        assert!(entries[0].content == Content::Text("1".into()));
        assert_eq!(entries[0].origin.to_string(), "environment API_PORT");
    }

    #[test]
    fn a_twin_names_a_file_and_excludes_the_value() {
        let (entries, ..) = read_pairs(&[("JWT_SECRET_FILE", "/run/jwt")]);
        assert!(entries[0].content == Content::InFile("/run/jwt".into()));
        let (_, problems, _) = read_pairs(&[("POCKET_JWT_SECRET", "x"), ("JWT_SECRET_FILE", "y")]);
        assert_eq!(problems, ["POCKET_JWT_SECRET and JWT_SECRET_FILE are both set in the environment; keep one"]);
    }

    #[test]
    fn an_unknown_name_with_the_prefix_is_warned_about() {
        let (entries, problems, warnings) = read_pairs(&[
            ("POCKET_API_PROT", "1"),
            ("HOME", "/root"),
            ("POCKET_CONFIG", "x"),
            ("POCKET_LOG_FILE", "y"),
        ]);
        assert!(entries.is_empty() && problems.is_empty());
        assert_eq!(
            warnings,
            [
                "POCKET_API_PROT in the environment is not a setting; did you mean POCKET_API_PORT?",
                "POCKET_LOG_FILE in the environment is not a setting",
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let variables = [("POCKET_MODE".into(), OsStr::from_bytes(b"\xff").to_owned())];
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        assert!(read(&variables, &mut problems, &mut warnings).is_empty());
        assert_eq!(problems[0].to_string(), "POCKET_MODE (environment): is not UTF-8");
    }
}
