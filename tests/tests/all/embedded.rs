//! The example of a service that embeds the crates: it runs, and its storage adapter passes the contract suite.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use pocket_ports::Storage;
use tempfile::TempDir;

#[path = "../../../bootstrap/examples/embedded/journal.rs"]
mod journal;

/// The registry in memory beside a history in a file, which lives as long as this.
struct WithJournal {
    storage: Storage,
    _directory: TempDir,
}

impl Deref for WithJournal {
    type Target = Storage;

    fn deref(&self) -> &Storage {
        &self.storage
    }
}

async fn make() -> WithJournal {
    let directory = tempfile::tempdir().unwrap();
    let registry = pocket_storage_memory::storage();
    let history = journal::Journal::open(&directory.path().join("journal"), &registry).unwrap();
    let history = Arc::new(history);
    let storage = Storage {
        write: history.clone(),
        dead_letters: history.clone(),
        telemetry: history,
        broker: None,
        sessions: None,
        ..registry
    };
    WithJournal { storage, _directory: directory }
}

mod contract {
    use super::make;

    pocket_ports::storage_contract!(make);
}

#[test]
fn the_example_stores_and_reads_back() {
    // Examples are built together with the binary, into a directory beside it.
    let example = pocket_tests::binary().parent().map(Path::to_owned).unwrap().join("examples/embedded");
    assert!(example.exists(), "{} is missing: run `just test`", example.display());
    let output = Command::new(example).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(!out.contains("boiler-1 house/boiler/set"), "what the service publishes for itself is not stored");
    for line in [
        "2 messages stored",
        "heard house/boiler/pressure 1.4",
        r#"heard house/boiler/set {"celsius":55}"#,
        "boiler-1 house/boiler/temperature 61.5",
        "boiler-1 house/boiler/pressure 1.4",
        r#""celsius":59.0"#,
    ] {
        assert!(out.contains(line), "{line} is not in\n{out}");
    }
}
