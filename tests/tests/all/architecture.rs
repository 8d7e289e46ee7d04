//! The rules of `docs/ARCHITECTURE.md` that a program can check: who depends on whom, where features are looked
//! at, how long files are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new().manifest_path(root).no_deps().exec().expect("cargo metadata works")
});

/// What each crate may use of the others; a crate that is missing here is an error, so that a new one is thought about.
const ALLOWED: &[(&str, &[&str])] = &[
    ("pocket-allocator", &[]),
    ("pocket-domain", &[]),
    ("pocket-ports", &["pocket-domain"]),
    ("pocket-application", &["pocket-domain", "pocket-ports"]),
    ("pocket-auth", &["pocket-domain", "pocket-ports"]),
    ("pocket-storage-memory", &["pocket-domain", "pocket-ports"]),
    ("pocket-storage-sea-orm", &["pocket-domain", "pocket-ports", "pocket-telemetry-codec"]),
    ("pocket-telemetry-codec", &[]),
    ("pocket-telemetry-text", &["pocket-application", "pocket-domain"]),
    ("pocket-mqtt-bridge", &["pocket-domain", "pocket-ports"]),
    ("pocket-mqtt-core", &["pocket-domain"]),
    ("pocket-mqtt-ntex", &["pocket-application", "pocket-domain", "pocket-mqtt-core", "pocket-ports"]),
    ("pocket-rest-ntex", &["pocket-application", "pocket-domain", "pocket-ports", "pocket-telemetry-text"]),
];

/// Outermost crates, which may use all others.
const OUTERMOST: &[&str] = &["pocket-iot", "pocket-tests"];

/// What the inner crates may use of the world. The outer ones are free, but for what `deny.toml` bans.
const THIRD_PARTY: &[(&str, &[&str])] = &[
    ("pocket-allocator", &["libc"]),
    ("pocket-domain", &["base64", "serde", "serde_json", "subtle", "thiserror", "time", "uuid"]),
    ("pocket-ports", &["async-trait", "bytes", "thiserror"]),
    ("pocket-application", &["async-trait", "thiserror", "tokio", "tracing"]),
    ("pocket-mqtt-core", &["bytes", "thiserror"]),
    ("pocket-telemetry-codec", &["crc32c", "pco", "thiserror", "zstd"]),
];

/// The dependencies of a crate, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let of = |package: &cargo_metadata::Package| {
        let kept = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        kept.map(|dependency| dependency.name.clone()).collect()
    };
    METADATA.workspace_packages().iter().map(|package| (package.name.to_string(), of(package))).collect()
}

#[test]
fn dependencies_point_inwards() {
    for (name, used) in dependencies() {
        if OUTERMOST.contains(&&*name) {
            continue;
        }
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("{name} is not known to the architecture test: say there what it may depend on"));
        for dependency in used.iter().filter(|dependency| dependency.starts_with("pocket-")) {
            assert!(allowed.contains(&&**dependency), "{name} must not depend on {dependency}; allowed: {allowed:?}");
        }
    }
}

#[test]
fn nothing_depends_on_the_outermost_crates() {
    for (name, used) in dependencies() {
        for outer in OUTERMOST {
            assert!(!used.contains(*outer), "{name} must not depend on {outer}");
        }
    }
}

#[test]
fn the_inner_crates_use_few_others() {
    let dependencies = dependencies();
    for (name, allowed) in THIRD_PARTY {
        for dependency in dependencies[*name].iter().filter(|dependency| !dependency.starts_with("pocket-")) {
            assert!(allowed.contains(&&**dependency), "{name} must not depend on {dependency}; allowed: {allowed:?}");
        }
    }
}

#[test]
fn features_are_looked_at_where_parts_are_put_together() {
    // Besides the root of a crate: the modules that compose adapters, and the two that a kind of database is chosen in.
    let composition = [
        "bootstrap/src/adapters.rs",
        "bootstrap/src/features.rs",
        "bootstrap/src/metrics.rs",
        "bootstrap/src/transports.rs",
        "adapters/storage-sea-orm/src/open.rs",
    ];
    for file in sources() {
        let shown = shown(&file);
        if shown.ends_with("/lib.rs") || composition.contains(&&*shown) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        // In two parts, so that this line does not find itself.
        let wanted = concat!("cfg", "(feature");
        assert!(!text.contains(wanted), "{shown} has {wanted}; that belongs into lib.rs or the composition");
    }
}

#[test]
fn files_are_short() {
    const FEW: usize = 400;
    const NONE: usize = 600;
    let mut long = Vec::new();
    let files = sources();
    for file in &files {
        let lines = std::fs::read_to_string(file).unwrap().lines().count();
        assert!(lines <= NONE, "{} has {lines} lines; at {NONE} a file holds more than one noun", shown(file));
        if lines > FEW {
            long.push(format!("{} ({lines})", shown(file)));
        }
    }
    // One file in twenty may need it.
    assert!(long.len() * 20 <= files.len(), "too many files are longer than {FEW} lines: {long:?}");
}

#[test]
fn no_name_says_nothing() {
    for file in sources() {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let empty = ["utils", "util", "helpers", "helper", "common", "manager", "misc"].contains(&&*stem);
        assert!(!empty, "{}: name the file after the noun in it", shown(&file));
    }
}

/// Every Rust file of the workspace.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for package in METADATA.workspace_packages() {
        collect(package.manifest_path.parent().expect("a manifest is in a directory").as_std_path(), &mut files);
    }
    files.sort();
    files.dedup();
    assert!(files.len() > 100, "found only {} files", files.len());
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn shown(file: &Path) -> String {
    let root = METADATA.workspace_root.as_std_path();
    file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/")
}
