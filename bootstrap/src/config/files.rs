//! Files and directories that settings name: whether they can be used, which only the machine that serves can tell.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::Access;

use super::problem::{Problem, Problems};
use super::settings::Settings;

/// Looks at each of them.
///
/// # Errors
/// All that are missing, or cannot be read, or written where that is needed.
pub(super) fn check(settings: &Settings, database: Result<(), String>) -> Result<(), Problems> {
    let mut problems = Vec::new();
    if let Some(tls) = &settings.mqtt.listeners.certificate {
        readable(&mut problems, "POCKET_TLS_CERT", &tls.certificate);
        readable(&mut problems, "POCKET_TLS_KEY", &tls.key);
        if let Some(authority) = &tls.client_ca {
            readable(&mut problems, "POCKET_MQTT_TLS_CLIENT_CA", authority);
        }
    }
    writable(&mut problems, &settings.data_dir);
    if let Err(reason) = database {
        problems.push(Problem::new(format!("POCKET_DATABASE_URL={}: {reason}", settings.database.url)));
    }
    Problems::check(problems)
}

fn readable(problems: &mut Vec<Problem>, setting: &str, path: &Path) {
    let opened = File::open(path).and_then(|file| file.metadata());
    let reason = match opened {
        Ok(metadata) if metadata.is_dir() => "it is a directory".to_owned(),
        Ok(_) => return,
        Err(error) => error.to_string(),
    };
    problems.push(Problem::new(format!("{setting}={} cannot be read: {reason}", path.display())));
}

/// The data directory, or where it is going to be made.
fn writable(problems: &mut Vec<Problem>, path: &Path) {
    let existing = path.ancestors().find(|ancestor| ancestor.exists() || ancestor.as_os_str().is_empty());
    let existing = existing.filter(|ancestor| !ancestor.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let reason = if existing.is_dir() {
        match rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => return,
            Err(error) => io::Error::from(error).to_string(),
        }
    } else {
        format!("{} is not a directory", existing.display())
    };
    problems.push(Problem::new(format!("POCKET_DATA_DIR={} cannot be written to: {reason}", path.display())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(look: impl FnOnce(&mut Vec<Problem>)) -> Vec<String> {
        let mut problems = Vec::new();
        look(&mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_that_cannot_be_read_are_told_with_their_setting() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("cert.pem");
        let expected =
            format!("POCKET_TLS_CERT={} cannot be read: No such file or directory (os error 2)", missing.display());
        assert_eq!(told(|problems| readable(problems, "POCKET_TLS_CERT", &missing)), [expected]);
        let told_of_dir = told(|problems| readable(problems, "POCKET_TLS_KEY", dir.path()));
        assert!(told_of_dir[0].ends_with("cannot be read: it is a directory"), "{told_of_dir:?}");
        std::fs::write(&missing, "x").unwrap();
        assert!(told(|problems| readable(problems, "POCKET_TLS_CERT", &missing)).is_empty());
    }

    #[test]
    fn a_data_directory_may_be_made_later_but_not_below_a_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(told(|problems| writable(problems, &dir.path().join("a/b"))).is_empty());
        assert!(told(|problems| writable(problems, Path::new("not-there-yet"))).is_empty());
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let told = told(|problems| writable(problems, &file.join("data")));
        assert!(told[0].ends_with("file is not a directory"), "{told:?}");
    }
}
