//! Documents that repeat what the code says are held to it.

use std::fmt::Write;
use std::path::PathBuf;

use pocket_iot::config::{AnySetting, CONFIG_VARIABLE, SETTINGS};

const BEGIN: &str = "<!-- settings: written by `just docs` -->\n";
const END: &str = "<!-- end of settings -->\n";
/// Set by `just docs`.
const WRITE: &str = "POCKET_WRITE_DOCS";

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[test]
fn configuration_md_lists_every_setting_as_it_is() {
    let path = document("docs/CONFIGURATION.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table has a beginning");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    let right = format!("{before}{BEGIN}{}\n{END}{after}", table());
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &right).unwrap();
    } else {
        assert_eq!(text, right, "docs/CONFIGURATION.md is not what the settings are: run `just docs`");
    }
}

/// Everything that is written for people.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![document("README.md"), document("CHANGELOG.md")];
    for directory in ["docs", "docs/adr"] {
        let entries = std::fs::read_dir(document(directory)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

#[test]
fn every_setting_that_is_named_exists() {
    let mut known: Vec<String> =
        [CONFIG_VARIABLE, "POCKET_TEST_POSTGRES", "POCKET_IOT_BINARY", "POCKET_MODEL_SEED", "POCKET_TORTURE"]
            .map(str::to_owned)
            .into();
    // What follows is the name of a bridge.
    known.push("POCKET_BRIDGE_".to_owned());
    for about in SETTINGS.iter().map(|setting| setting.about()) {
        known.push(about.name.to_owned());
        known.extend(about.has_file_twin().then(|| format!("{}_FILE", about.name)));
    }
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for rest in text.split("POCKET_").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
            let name = format!("POCKET_{}", &rest[..end]);
            // `POCKET_` alone is the prefix.
            assert!(name == "POCKET_" || known.contains(&name), "{} names {name}", page.display());
        }
    }
}

#[test]
fn every_page_that_is_linked_exists() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !file.contains(' ') {
                let linked = page.parent().unwrap().join(file);
                assert!(linked.exists(), "{} links to {target}, which is not there", page.display());
            }
        }
    }
}

/// All settings, a table for each table of the configuration file.
fn table() -> String {
    let mut text = String::new();
    let mut section = None;
    for setting in SETTINGS {
        let about = setting.about();
        let here = about.key.split_once('.').map_or("", |(section, _)| section);
        if section != Some(here) {
            section = Some(here);
            let title = if here.is_empty() { "At the top of the file".to_owned() } else { format!("`[{here}]`") };
            write!(text, "\n### {title}\n\n| variable | key | default | allowed | meaning |\n|---|---|---|---|---|\n")
                .unwrap();
        }
        text.push_str(&row(*setting));
    }
    text
}

fn row(setting: &dyn AnySetting) -> String {
    let about = setting.about();
    let key = about.key.rsplit('.').next().unwrap_or(about.key);
    let mut names: Vec<String> = about.environment_names().map(|name| format!("`{name}`")).collect();
    if about.has_file_twin() {
        names.push(format!("`{}_FILE`", about.name));
    }
    let default = match (about.default_shown, about.default) {
        (Some(shown), _) => shown.to_owned(),
        (None, text) => format!("`{text}`"),
    };
    let mut meaning = about.meaning.to_owned();
    if let Some(feature) = about.feature {
        write!(meaning, "; needs the feature `{feature}`").unwrap();
    }
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    format!(
        "| {} | `{key}` | {} | {} | {} |\n",
        names.join(" "),
        cell(&default),
        cell(&setting.allowed()),
        cell(&meaning)
    )
}
