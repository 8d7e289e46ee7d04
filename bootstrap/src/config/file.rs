//! The configuration file: TOML, with the settings in tables.

use std::path::Path;

use super::layers::{Entry, entry_for_key, named_twice};
use super::origin::Origin;
use super::problem::Problem;
use super::{BridgeSettings, SETTINGS, bridges, nearest};

/// What the file says. Everything that is wrong with it goes to `problems`.
pub(super) fn read(path: &Path, found: &mut Vec<BridgeSettings>, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(format!("cannot read the configuration file {shown}: {error}")));
            return Vec::new();
        }
    };
    match text.parse::<toml::Table>() {
        Ok(mut table) => {
            let origin = Origin::File(path.to_owned());
            if let Some(tables) = table.remove(bridges::KEY) {
                *found = bridges::read(&tables, &origin, problems);
            }
            entries(&table, &origin, problems)
        }
        Err(error) => {
            // The parser's own display repeats the line, which may hold a secret.
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            problems.push(Problem::new(format!("{shown}, line {line}: {}", error.message())));
            Vec::new()
        }
    }
}

fn entries(table: &toml::Table, origin: &Origin, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (key, value) in flatten(table) {
        let Some(text) = text_of(value) else {
            problems.push(Problem::new(format!("{origin}: {key} must be a text, a number or a list of texts")));
            continue;
        };
        let Some(entry) = entry_for_key(&key, &text, origin) else {
            let hint = nearest::hint(&key, "", SETTINGS.iter().map(|setting| setting.about().key));
            problems.push(Problem::new(format!("{origin}: unknown key {key}{hint}")));
            continue;
        };
        if entries.iter().any(|other| other.about.key == entry.about.key) {
            problems.push(named_twice(entry.about, origin));
        }
        entries.push(entry);
    }
    entries
}

/// The values with the names of their tables before their own.
fn flatten(table: &toml::Table) -> Vec<(String, &toml::Value)> {
    let mut values = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                values.extend(flatten(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => values.push((key.clone(), value)),
        }
    }
    values
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::Content;
    use super::*;

    fn read_text(text: &str) -> (Vec<(&'static str, String)>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pocket.toml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let entries = read(&path, &mut Vec::new(), &mut problems)
            .into_iter()
            .map(|entry| match entry.content {
                Content::Text(text) => (entry.about.name, text),
                Content::InFile(path) => (entry.about.name, format!("in {}", path.display())),
            })
            .collect();
        let file = path.display().to_string();
        (entries, problems.iter().map(|problem| problem.to_string().replace(&file, "FILE")).collect())
    }

    #[test]
    fn tables_texts_numbers_and_lists_are_read() {
        let (entries, problems) = read_text(
            "mode = 'api'\n[api]\nport = 3001\n[ingest]\ntopics = ['a/#', 'b']\n[auth]\njwt_secret_file = '/run/jwt'\n",
        );
        assert_eq!(problems, [""; 0]);
        let expected = [
            ("POCKET_API_PORT", "3001"),
            ("POCKET_JWT_SECRET", "in /run/jwt"),
            ("POCKET_TELEMETRY_TOPICS", "a/#,b"),
            ("POCKET_MODE", "api"),
        ];
        assert_eq!(entries.len(), expected.len());
        for (name, text) in expected {
            assert!(entries.contains(&(name, text.into())), "{name} in {entries:?}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        assert_eq!(read_text("[api]\nprot = 1\n").1, ["FILE: unknown key api.prot; did you mean api.port?"]);
        assert_eq!(read_text("[weather]\nsun = 1\n").1, ["FILE: unknown key weather.sun"]);
        // Only secrets have a twin.
        assert_eq!(
            read_text("[api]\nport_file = 'x'\n").1,
            ["FILE: unknown key api.port_file; did you mean api.port?"]
        );
    }

    #[test]
    fn a_syntax_error_names_the_line_and_not_its_text() {
        let (_, problems) = read_text("[auth]\njwt_secret = \"hunter2\n");
        assert!(problems[0].starts_with("FILE, line 2: "), "{problems:?}");
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }

    #[test]
    fn a_secret_and_its_twin_exclude_each_other() {
        let (_, problems) = read_text("[auth]\njwt_secret = 'a'\njwt_secret_file = 'b'\n");
        assert_eq!(
            problems,
            ["POCKET_JWT_SECRET (FILE): auth.jwt_secret and auth.jwt_secret_file are both set; keep one"]
        );
    }

    #[test]
    fn values_of_other_types_are_refused() {
        let (_, problems) = read_text("mode = 2026-01-01\n[ingest]\ntopics = [1]\n");
        assert_eq!(
            problems,
            [
                "FILE: ingest.topics must be a text, a number or a list of texts",
                "FILE: mode must be a text, a number or a list of texts",
            ]
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let mut problems = Vec::new();
        assert!(read(Path::new("/nowhere/pocket.toml"), &mut Vec::new(), &mut problems).is_empty());
        assert!(problems[0].to_string().starts_with("cannot read the configuration file /nowhere/pocket.toml: "));
    }
}
