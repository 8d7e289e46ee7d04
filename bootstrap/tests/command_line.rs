//! The binary as a shell sees it: what it prints and how it exits.
//!
//! Being an integration test of this package, it also makes cargo build the binary whenever the workspace is tested, which
//! the end-to-end tests of `pocket-tests` rely on.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the binary in a directory of its own, with this environment and nothing else.
fn run_in(directory: &Path, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pocket-iot"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn run(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    run_in(directory.path(), environment, arguments, "")
}

/// The names in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
    assert!(out.contains(stdout), "{stdout:?} is not in stdout:\n{out}");
    assert!(err.contains(stderr), "{stderr:?} is not in stderr:\n{err}");
}

#[test]
fn version_and_help_are_told() {
    assert_ends(&run(&[], &["--version"]), 0, concat!("pocket-iot ", env!("CARGO_PKG_VERSION"), "\n"), "");
    let help = run(&[], &["--help"]);
    for command in ["serve", "migrate", "config", "user", "backup", "export", "import"] {
        assert_ends(&help, 0, command, "");
    }
}

#[test]
fn bad_usage_exits_with_2() {
    assert_ends(&run(&[], &["frobnicate"]), 2, "", "frobnicate");
    assert_ends(&run(&[], &["--set", "api.port"]), 2, "", "KEY=VALUE");
    assert_ends(&run(&[], &["--set", "api.prot=1"]), 2, "", "did you mean api.port?");
    assert_ends(&run(&[], &["export", "--from", "yesterday"]), 2, "", "--from");
    assert_ends(&run(&[], &["export", "--format", "xml"]), 2, "", "--format: must be csv or ndjson");
    assert_ends(&run(&[], &["import", "--format", "xml"]), 2, "", "--format: must be csv or ndjson");
    assert_ends(&run(&[], &["import", "missing.csv"]), 1, "", "cannot read missing.csv: No such file");
}

#[test]
fn a_wrong_configuration_exits_with_2_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["serve"][..], &["migrate"], &["config", "check"], &["config", "print"]] {
        let output = run_in(directory.path(), &[("API_PORT", "70000"), ("JWT_SECRET", "short")], arguments, "");
        assert_ends(&output, 2, "", "POCKET_API_PORT=\"70000\" (environment API_PORT): must be a port");
        assert_ends(&output, 2, "", "must be at least 32 bytes");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("short"));
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_right_configuration_is_called_ok_and_odd_variables_are_told() {
    assert_ends(&run(&[], &["config", "check"]), 0, "ok\n", "");
    let output = run(&[("POCKET_COLOUR", "red")], &["config", "check"]);
    assert_ends(&output, 0, "warning: POCKET_COLOUR in the environment is not a setting", "");
}

#[test]
fn the_configuration_file_is_named_by_option_or_environment() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), "[api]\nport = 3001\n").unwrap();
    let print = ["config", "print"];
    let by_option = ["--config", "a.toml", "config", "print"];
    assert_ends(&run_in(directory.path(), &[], &by_option, ""), 0, "port = 3001  # a.toml", "");
    assert_ends(&run_in(directory.path(), &[("POCKET_CONFIG", "a.toml")], &print, ""), 0, "port = 3001  # a.toml", "");
    let missing = ["--config", "b.toml", "config", "print"];
    assert_ends(&run_in(directory.path(), &[], &missing, ""), 2, "", "cannot read the configuration file b.toml");
}

#[test]
fn an_administrator_is_made_and_gets_a_new_password() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| run_in(directory.path(), &[], arguments, input);
    assert_ends(&run(&["user", "create-admin", "ann"], ""), 0, "platform administrator added: ann, password ", "");
    assert_ends(&run(&["user", "create-admin", "ann"], ""), 1, "", "the username is taken");
    assert_ends(&run(&["user", "create-admin", "A"], ""), 2, "", "username: must be 3 to 64 characters");
    let reset = ["user", "reset-password", "ann", "--password-stdin"];
    assert_ends(&run(&reset, "correct horse battery\n"), 0, "password replaced: ann\n", "");
    assert_ends(&run(&reset, "elevenchars\n"), 2, "", "password: must be 12 to 256 characters");
    assert_ends(&run(&["user", "reset-password", "bob"], ""), 1, "", "there is no user bob in the tenant default");
    let elsewhere = ["user", "reset-password", "ann", "--tenant", "acme"];
    assert_ends(&run(&elsewhere, ""), 1, "", "there is no user ann in the tenant acme");
}

#[test]
fn a_schema_is_brought_up_to_date_once() {
    let directory = tempfile::tempdir().unwrap();
    assert_ends(&run_in(directory.path(), &[], &["migrate"], ""), 0, "applied m0001", "");
    assert_ends(&run_in(directory.path(), &[], &["migrate"], ""), 0, "the schema is up to date", "");
}

#[test]
fn a_database_is_copied_to_a_new_file_only() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_in(directory.path(), &[], arguments, "");
    let copy = ["backup", "--database-only", "copy.db"];
    assert_ends(&run(&copy), 1, "", "does not exist");
    assert_ends(&run(&["migrate"]), 0, "", "");
    assert_ends(&run(&copy), 0, "copy.db is a copy of sqlite://", "");
    assert_ends(&run(&copy), 1, "", "the file exists already");
    let from_copy = ["--set", "database.url=sqlite://copy.db", "migrate"];
    assert_ends(&run(&from_copy), 0, "the schema is up to date", "");
    let postgres = ["--set", "database.url=postgres://me:hush@localhost/db", "backup", "--database-only", "x"];
    let output = run(&postgres);
    assert_ends(&output, 1, "", "pg_dump");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hush"));
}

#[test]
fn nothing_is_exported_of_what_does_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_in(directory.path(), &[], arguments, "");
    assert_ends(&run(&["user", "create-admin", "ann"]), 0, "", "");
    let output = run(&["export"]);
    assert_ends(&output, 0, "", "");
    assert!(output.stdout.is_empty());
    assert_ends(&run(&["export", "--tenant", "acme"]), 1, "", "there is no tenant acme");
    let device = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    assert_ends(&run(&["export", "--device", device]), 1, "", "there is no device 0192f3c8");
}

#[test]
fn an_import_says_which_line_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| run_in(directory.path(), &[], arguments, input);
    assert_ends(&run(&["user", "create-admin", "ann"], ""), 0, "", "");
    assert_ends(&run(&["import"], ""), 0, "0 rows, 0 stored, 0 already there\n", "");
    assert_ends(&run(&["import", "--tenant", "acme"], ""), 1, "", "there is no tenant acme");
    let device = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    let csv = format!("deviceId,topic,payload,timestamp\n{device},a,1,1\n");
    let wrong = run(&["import", "--format", "csv"], &csv);
    assert_ends(&wrong, 1, "", "line 2: deviceId: is not a device of this tenant; of the batches before: 0 rows");
    assert_ends(&run(&["import", "-"], "x"), 1, "", "line 1: must be a JSON object");
}

#[test]
fn an_export_to_a_file_has_its_name_when_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_in(directory.path(), &[], arguments, "");
    assert_ends(&run(&["user", "create-admin", "ann"]), 0, "", "");
    assert_ends(&run(&["export", "--format", "csv", "--output", "a.csv"]), 0, "", "");
    let text = std::fs::read_to_string(directory.path().join("a.csv")).unwrap();
    assert_eq!(text, "id,deviceId,topic,payload,timestamp,receivedAt\r\n");
    let nowhere = run(&["export", "-o", "nowhere/a.csv"]);
    assert_ends(&nowhere, 1, "", "cannot write nowhere/a.csv: No such file or directory");
    assert_eq!(names(directory.path()), ["a.csv", "data"]);
}

#[cfg(unix)]
#[test]
fn an_export_follows_no_link_that_was_planted_and_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_in(directory.path(), &[], arguments, "");
    let path = |name: &str| directory.path().join(name);
    assert_ends(&run(&["user", "create-admin", "ann"]), 0, "", "");
    std::fs::write(path("victim"), "precious").unwrap();
    for link in ["out.csv", "out.csv.partial", ".out.csv.partial"] {
        std::os::unix::fs::symlink("victim", path(link)).unwrap();
    }
    assert_ends(&run(&["export", "--format", "csv", "-o", "out.csv"]), 0, "", "");
    assert_eq!(std::fs::read_to_string(path("victim")).unwrap(), "precious");
    assert!(path("out.csv").symlink_metadata().unwrap().is_file());
    assert_eq!(mode(&path("out.csv")), 0o600);
    // A file that is there is replaced, as the shell does.
    assert_ends(&run(&["export", "-o", "out.csv"]), 0, "", "");
    assert_eq!(std::fs::read_to_string(path("out.csv")).unwrap(), "");
    // A device is written to.
    assert_ends(&run(&["export", "-o", "/dev/null"]), 0, "", "");
}

#[cfg(unix)]
#[test]
fn a_data_directory_that_others_can_enter_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    std::fs::set_permissions(directory.path().join("data"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let made = run_in(directory.path(), &[], &["user", "create-admin", "ann"], "");
    assert_ends(&made, 0, "", "others can enter the data directory; chmod 700 ends it");
    for name in names(&directory.path().join("data")) {
        assert_eq!(mode(&directory.path().join("data").join(&name)), 0o600, "{name}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output =
        run(&[], &["--set", "api.host=127.0.0.1", "--set", &format!("api.port={port}"), "--set", "mqtt.port=0"]);
    assert_ends(&output, 1, "", &port.to_string());
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_its_setting() {
    if !pocket_iot::features::is_built_in("mqtt-tls") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).display().to_string();
    std::fs::write(path("cert.pem"), "no certificate").unwrap();
    let start = |cert: &str| {
        let settings = [
            "api.host=127.0.0.1".to_owned(),
            "api.port=0".to_owned(),
            "mqtt.port=0".to_owned(),
            "mqtt.tls_port=0".to_owned(),
            format!("mqtt.tls_cert={}", path(cert)),
            format!("mqtt.tls_key={}", path(cert)),
        ];
        let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        run(&[], &arguments)
    };
    let missing = format!("POCKET_TLS_CERT={}: cannot be read: No such file or directory", path("other.pem"));
    assert_ends(&start("other.pem"), 2, "", &missing);
    let empty = format!("POCKET_TLS_CERT={}: there is no certificate in it that is PEM", path("cert.pem"));
    assert_ends(&start("cert.pem"), 2, "", &empty);
}
