//! Lines of the log say nothing that a client wrote but through [`Excerpt`](pocket_domain::Excerpt), which escapes and cuts it.
//!
//! The fields of every macro of `tracing` are read from the sources. What is written by its `Display` or `Debug`, or put into the
//! message, must be known to be ours: a new one fails here until it is thought about.

use std::path::{Path, PathBuf};

/// What may be written as it is: the last part of an expression, and why.
const OURS: &[(&str, &[&str])] = &[
    (
        "ids, which are parsed",
        &[
            "id",
            "tenant",
            "tenant_id",
            "device",
            "device_id",
            "user",
            "user_id",
            "principal",
            "subject",
            "node",
            "others",
        ],
    ),
    ("an address", &["source", "server"]),
    ("times and amounts", &["now", "as_of", "before", "to", "time", "pause", "explained", "more"]),
    ("names of people, tenants, brokers and bridges, which are parsed and short", &["username", "name", "role"]),
    (
        "texts of this program",
        &["protocol", "denied", "violation", "conflict", "warning", "words", "reason", "LEFT_OUT"],
    ),
    ("paths of files of the operator", &["display", "file"]),
    ("a remote broker as the operator wrote it, without its secrets", &["shown"]),
    // Texts of errors may have pieces of what failed. The log of the program escapes all of a line and cuts it.
    ("texts of errors", &["error", "cause", "lost", "damaged", "malformed"]),
    ("cut and escaped", &["Excerpt", "Brief"]),
    ("cut and escaped where it is made", &["detail"]),
    ("what would be lost otherwise, escaped", &["message"]),
];

/// Sources of what runs, without tests and benchmarks.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<PathBuf> = ["domain", "ports", "application", "adapters", "bootstrap", "allocator"]
        .iter()
        .map(|folder| root.join(folder))
        .collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources can be listed") {
            let path = entry.expect("the sources can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() && !matches!(&*name, "tests" | "benches" | "target") {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.contains("tests") {
                files.push(path);
            }
        }
    }
    files
}

/// The arguments of each macro of `tracing` in a source, with the number of its line.
fn macros(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("tracing::") {
        let rest = &source[at + "tracing::".len()..];
        let name =
            rest.find("!(").filter(|end| rest[..*end].chars().all(|char| char.is_ascii_lowercase() || char == '_'));
        let Some(name) = name else { continue };
        let arguments = &rest[name + 2..];
        let (mut depth, mut is_text, mut is_escaped) = (1, false, false);
        let end = arguments.char_indices().find(|(_, char)| {
            match char {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => is_text = !is_text,
                '(' | '[' | '{' if !is_text => depth += 1,
                ')' | ']' | '}' if !is_text => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let (end, _) = end.expect("a macro ends");
        found.push((source[..at].lines().count() + 1, &arguments[..end]));
    }
    found
}

/// What is written by its `Display` or `Debug`: the last part of each expression, such as `id` of `%caller.user().id`.
fn shown(arguments: &str) -> Vec<String> {
    let mut shown = Vec::new();
    for (number, part) in arguments.split('"').enumerate() {
        // Texts and code take turns.
        if number % 2 == 1 {
            shown.extend(
                part.split('{').skip(1).map(|inner| inner.split(['}', ':']).next().unwrap_or_default().to_owned()),
            );
            continue;
        }
        for (at, _) in part.match_indices(['%', '?']) {
            // `x?` and `x % y` are no fields.
            let is_field = part[..at].trim_end().ends_with([',', '=', '(']) || part[..at].trim().is_empty();
            if is_field {
                shown.push(last_part(&part[at + 1..]));
            }
        }
    }
    shown
}

fn last_part(expression: &str) -> String {
    let expression = expression.trim_start_matches(['&', '*', ' ']);
    let end =
        expression.find(|char: char| !(char.is_alphanumeric() || "_.:".contains(char))).unwrap_or(expression.len());
    let name = expression[..end].rsplit(['.', ':']).next().unwrap_or_default().to_owned();
    // A call in the middle, such as `user()` of `caller.user().username`.
    match expression[end..].strip_prefix("().") {
        Some(rest) => last_part(rest),
        None => name,
    }
}

#[test]
fn what_clients_write_is_in_the_log_only_as_excerpts() {
    let mut wrong = Vec::new();
    for path in sources() {
        let source = std::fs::read_to_string(&path).expect("a source can be read");
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        for (line, arguments) in macros(source) {
            for name in shown(arguments) {
                if !OURS.iter().any(|(_, names)| names.contains(&&*name)) {
                    wrong.push(format!("{}:{line}: {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "show these by Excerpt, or say why they are ours:\n{}", wrong.join("\n"));
}

#[test]
fn fields_of_the_log_are_found() {
    let source = r#"
        tracing::info!(%id, topic = %record.topic, by = %caller.user().name(), name = %Excerpt(&a.b), count = a? % b, "x {detail} y");
        tracing::warn!(?client_id, "a ) b");
    "#;
    let found: Vec<Vec<String>> = macros(source).into_iter().map(|(_, arguments)| shown(arguments)).collect();
    assert_eq!(found, [vec!["id", "topic", "name", "Excerpt", "detail"], vec!["client_id"]]);
}
