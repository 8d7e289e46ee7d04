//! Programs that must be installed.

use std::path::PathBuf;

/// Where a program is, which may be where only root looks for it.
///
/// # Panics
/// When it is not installed; says Debian's package of the same name.
pub fn installed(name: &str) -> PathBuf {
    let in_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let places = in_path.into_iter().chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let found = places.map(|place| place.join(name)).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: run `just test`, or install Debian's package {name}"))
}
