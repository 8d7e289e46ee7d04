//! docs/CONFORMANCE.md is held to the numbering of the standards, to the tests, and to the comments of the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The statements of appendix B of MQTT 3.1.1: sections, and how many each has.
const STATEMENTS_3_1_1: &[(&str, usize)] = &[
    ("1.5.3", 3),
    ("2.2.2", 2),
    ("2.3.1", 7),
    ("3.1.0", 2),
    ("3.1.2", 24),
    ("3.1.3", 11),
    ("3.1.4", 5),
    ("3.2.0", 1),
    ("3.2.2", 6),
    ("3.3.1", 12),
    ("3.3.2", 3),
    ("3.3.4", 1),
    ("3.3.5", 2),
    ("3.6.1", 1),
    ("3.8.1", 1),
    ("3.8.3", 4),
    ("3.8.4", 6),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.12.4", 1),
    ("3.14.1", 1),
    ("3.14.4", 3),
    ("4.1.0", 2),
    ("4.3.1", 1),
    ("4.3.2", 2),
    ("4.3.3", 2),
    ("4.4.0", 1),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.1", 3),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.0", 2),
    ("6.0.0", 4),
    ("7.0.0", 2),
    ("7.1.1", 1),
    ("7.1.2", 1),
];

/// Those of MQTT 5.0. The first of 2.2.1 does not exist.
const STATEMENTS_5_0: &[(&str, usize)] = &[
    ("1.5.4", 3),
    ("1.5.5", 1),
    ("1.5.7", 1),
    ("2.1.3", 1),
    ("2.2.1", 6),
    ("2.2.2", 1),
    ("3.1.0", 2),
    ("3.1.2", 30),
    ("3.1.3", 12),
    ("3.1.4", 6),
    ("3.2.0", 2),
    ("3.2.2", 22),
    ("3.3.1", 13),
    ("3.3.2", 20),
    ("3.3.4", 10),
    ("3.4.2", 3),
    ("3.5.2", 3),
    ("3.6.1", 1),
    ("3.6.2", 3),
    ("3.7.2", 3),
    ("3.8.1", 1),
    ("3.8.3", 5),
    ("3.8.4", 8),
    ("3.9.2", 2),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.11.2", 2),
    ("3.11.3", 2),
    ("3.12.4", 1),
    ("3.14.0", 1),
    ("3.14.1", 1),
    ("3.14.2", 4),
    ("3.14.4", 3),
    ("3.15.1", 1),
    ("3.15.2", 3),
    ("4.1.0", 2),
    ("4.2.0", 1),
    ("4.3.1", 1),
    ("4.3.2", 5),
    ("4.3.3", 13),
    ("4.4.0", 2),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.0", 1),
    ("4.7.1", 2),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.2", 6),
    ("4.9.0", 3),
    ("4.12.0", 7),
    ("4.12.1", 2),
    ("4.13.1", 1),
    ("4.13.2", 1),
    ("6.0.0", 4),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/CONFORMANCE.md")).unwrap()
}

/// The text of all sources below a directory.
fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(entry).unwrap());
        }
    }
}

fn sources_below(directories: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for directory in directories {
        sources(&root().join(directory), &mut found);
    }
    found
}

/// The names of functions; property tests have arguments.
fn functions(sources: &[String]) -> BTreeSet<&str> {
    sources.iter().flat_map(|text| text.split("fn ").skip(1)).filter_map(|rest| rest.split('(').next()).collect()
}

/// The names of tests that the page gives.
fn named(page: &str) -> BTreeSet<&str> {
    let is_name = |text: &&str| text.contains('_') && text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    page.split('`').skip(1).step_by(2).filter(is_name).collect()
}

/// The rows of one standard: the statement and what shows it.
fn rows(page: &str, standard: &str) -> Vec<(String, String)> {
    let (_, part) = page.split_once(&format!("\n## {standard}\n")).expect("the standard has a part");
    let part = part.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| MQTT-")?.strip_suffix(" |")?.split(" | ").collect();
        assert_eq!(cells.len(), 3, "{line}");
        Some((cells[0].to_owned(), cells[2].to_owned()))
    };
    part.lines().filter_map(row).collect()
}

#[test]
fn every_statement_of_both_standards_has_its_row_in_order() {
    let page = page();
    for (standard, statements) in [("MQTT 3.1.1", STATEMENTS_3_1_1), ("MQTT 5.0", STATEMENTS_5_0)] {
        let all = statements.iter().flat_map(|(section, count)| (1..=*count).map(move |n| format!("{section}-{n}")));
        let expected: Vec<String> = all.filter(|id| standard == "MQTT 3.1.1" || id != "2.2.1-1").collect();
        let rows = rows(&page, standard);
        assert_eq!(rows.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), expected, "{standard}");
        for (id, shown) in rows {
            let is_shown = shown.contains('`');
            assert!(is_shown || shown.len() >= "client".len(), "{standard} {id} has neither a test nor a reason");
        }
    }
    // As many as appendix B of 5.0 has.
    assert_eq!(rows(&page, "MQTT 5.0").len(), 251);
}

#[test]
fn every_test_that_conformance_md_names_exists() {
    let (page, sources) = (page(), sources_below(&["adapters", "domain", "application", "tests"]));
    let known = functions(&sources);
    let missing: Vec<&str> = named(&page).into_iter().filter(|name| !known.contains(name)).collect();
    assert!(missing.is_empty(), "docs/CONFORMANCE.md names tests that are not there: {missing:#?}");
}

#[test]
fn every_test_of_conformance_is_named_in_conformance_md() {
    let page = page();
    let sources = sources_below(&[
        "adapters/mqtt-ntex/tests/broker/conformance3",
        "adapters/mqtt-ntex/tests/broker/conformance5",
    ]);
    let named = named(&page);
    let is_test = |name: &&str| name.starts_with("mqtt_") || name.starts_with("mqtt5_");
    let missing: Vec<&str> = functions(&sources).into_iter().filter(is_test).filter(|n| !named.contains(n)).collect();
    assert!(missing.is_empty(), "docs/CONFORMANCE.md does not name {missing:#?}");
}

#[test]
fn every_statement_that_a_comment_names_is_listed() {
    let page = page();
    let known: BTreeSet<String> =
        ["MQTT 3.1.1", "MQTT 5.0"].iter().flat_map(|standard| rows(&page, standard)).map(|(id, _)| id).collect();
    for text in sources_below(&["adapters", "domain"]) {
        for rest in text.split("[MQTT-").skip(1) {
            let id = rest.split(']').next().unwrap_or_default();
            assert!(known.contains(id), "a comment names MQTT-{id}, which no standard has");
        }
    }
}
