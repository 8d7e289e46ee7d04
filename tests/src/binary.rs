//! Finds the binary under test.

use std::path::PathBuf;

/// The variable that names another binary, such as a release build.
const VARIABLE: &str = "POCKET_IOT_BINARY";

/// The path of `pocket-iot`: beside the directory of the running test, where cargo puts it.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os(VARIABLE) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("a process knows its program");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("tests are built into target/<profile>/deps");
    let path = profile.join(format!("pocket-iot{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `just test`, or `cargo build` first", path.display());
    path
}
