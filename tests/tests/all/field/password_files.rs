//! The users of a Mosquitto password file, as devices that log in with what they have.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pocket_tests::{Api, Launch, PostgresDatabase, binary, installed};
use serde_json::{Value, json};

use super::stage::{Connect, Stage};

/// Hash and password of these are weak, and what people have.
const USERS: [(&str, &str, &str); 4] = [
    ("tasmota-1", "sha512-pbkdf2", "mqtt"),
    ("küche/licht", "sha512-pbkdf2", "p:ss wörd"),
    ("old-shelly", "sha512", "12345678"),
    ("boiler-1", "sha512", "correct-horse"),
];

/// A file that the stock program wrote.
fn written_by_mosquitto(dir: &Path) -> PathBuf {
    let file = dir.join("passwords");
    std::fs::write(&file, "").unwrap();
    for (username, method, password) in USERS {
        let mut command = Command::new(installed("mosquitto_passwd"));
        let status = command.args(["-H", method, "-b"]).arg(&file).args([username, password]).status();
        assert!(status.unwrap().success(), "{username}");
    }
    file
}

/// The import of a file, beside the platform that runs.
fn import(stage: &Stage, database: Option<&str>, file: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("--data-dir").arg(stage.platform.data_dir()).env_clear().stdin(Stdio::null());
    if let Some(url) = database {
        command.env("POCKET_DATABASE_URL", url);
    }
    command.args(["device", "import-passwords"]).arg(file).args(options).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an import says when it took all.
fn took(output: &Output, words: &str) {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains(words), "{said}");
}

async fn device(admin: &Api, name: &str) -> Value {
    let devices = admin.get(&format!("/api/v1/devices?name={}", name.replace('/', "%2F"))).await.expect(200);
    devices["data"][0].clone()
}

/// A message by the stock client.
async fn published(stage: &Stage, username: &str, password: &str, payload: &str) -> bool {
    let (host, port) = (stage.platform.mqtt().ip().to_string(), stage.platform.mqtt().port().to_string());
    let mut command = tokio::process::Command::new(installed("mosquitto_pub"));
    command.args(["-h", &*host, "-p", &*port, "-u", username, "-P", password]);
    command.args(["-q", "1", "-t", "field/state", "-m", payload]).stderr(Stdio::null());
    command.status().await.unwrap().success()
}

async fn devices_log_in_with_the_passwords_of_their_file(launch: Launch, database: Option<String>) {
    let mut stage = Stage::of(launch.set("log.filter", "info,pocket_application=debug")).await;
    let dir = tempfile::tempdir().unwrap();
    let file = written_by_mosquitto(dir.path());
    let database = database.as_deref();
    let dry = import(&stage, database, &file, &["--dry-run"]);
    took(
        &dry,
        "nothing was changed; an import would find 4 users: 3 new devices, 1 existing devices, 0 unchanged, 0 refused",
    );
    assert_eq!(stage.admin.get("/api/v1/devices").await.expect(200)["pagination"]["total"], 1);
    let first = import(&stage, database, &file, &[]);
    took(&first, "4 users: 3 new devices, 1 existing devices, 0 unchanged, 0 refused");
    for (number, (username, _, password)) in USERS.into_iter().enumerate() {
        assert!(!published(&stage, username, "wrong-horse", "0").await, "{username}");
        assert!(published(&stage, username, password, &format!("{number}")).await, "{username}");
        let device = device(&stage.admin, username).await;
        assert_eq!(device["username"], username);
        assert_eq!(stage.rows().await.last().unwrap()["deviceId"], device["id"], "{username}");
        assert_eq!(stage.rows().await.last().unwrap()["payload"], number);
    }
    assert_eq!(device(&stage.admin, "boiler-1").await["id"], *stage.device.id);
    stage.accepted(&Connect::of(&stage.device.id, &stage.device.token)).await;
    // Each hash became one of ours, under which the same password is right, also for a process that knows none yet.
    for _ in 0..600 {
        if stage.platform.log().matches("imported password hash replaced").count() == USERS.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(stage.platform.log().matches("imported password hash replaced").count(), USERS.len());
    stage.platform.stop().await;
    stage.platform.start_again().await;
    stage.admin = stage.platform.admin().await;
    for (username, _, password) in USERS {
        stage.accepted(&Connect::of(username, password)).await;
        assert_eq!(stage.answer(&Connect::of(username, "wrong-horse")).await.1, Some(4), "{username}");
    }
    // A second import takes nothing away from who has it.
    took(&import(&stage, database, &file, &[]), "0 new devices, 0 existing devices, 4 unchanged, 0 refused");
    took(&import(&stage, database, &file, &["--replace"]), "0 new devices, 4 existing devices, 0 unchanged, 0 refused");
    took(&import(&stage, database, &file, &["--replace"]), "0 new devices, 0 existing devices, 4 unchanged, 0 refused");
    assert!(published(&stage, "tasmota-1", "mqtt", "5").await);
    let log = stage.platform.log();
    assert!(
        !log.contains("correct-horse") && !log.contains("$6$") && !log.contains("$7$") && !log.contains("argon2id$")
    );
}

#[tokio::test]
async fn devices_log_in_with_the_passwords_of_their_file_in_sqlite() {
    devices_log_in_with_the_passwords_of_their_file(Launch::default(), None).await;
}

#[tokio::test]
async fn devices_log_in_with_the_passwords_of_their_file_in_postgresql() {
    let database = PostgresDatabase::create().await;
    let url = database.url();
    devices_log_in_with_the_passwords_of_their_file(Launch::default().set("database.url", &url), Some(url)).await;
}

#[tokio::test]
async fn lines_that_cannot_be_taken_are_told_and_the_others_are_taken() {
    let stage = Stage::start().await;
    let taken = json!({ "username": "shelly", "password": "correct-horse" });
    let path = format!("/api/v1/devices/{}/credentials", stage.device.id);
    stage.admin.put(&path, taken).await.expect(200);
    let hash = "T7NbX67m53Cu7d24f+hmwqlqJ6KxWQyNVmy2plzeu5ZNbgpDpiF4d1q3+09KdiqaY8ZMRLjZxG5smDysKKQbpQ==";
    let salt = "Yop2/0ntkelNu8S5";
    let mut file = format!(
        "\u{feff}# users of the old broker\r\n\r\nlamp:$7$101${salt}${hash}\r\nlamp:$7$101${salt}${hash}\r\nno colon\r\n\
         admin:$7$101${salt}${hash}\r\nshelly:$7$101${salt}${hash}\r\nboiler-1:$7$101${salt}${hash}\r\n\
         slow:$7$2000000000${salt}${hash}\r\nbcrypt:$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW\r\n\
         cut:$7$101${salt}$T7Nb\r\n{}:secret\r\nplain:s3cr3t-of-old\r\nshort:abc\r\n",
        stage.device.id
    )
    .into_bytes();
    file.extend_from_slice(b"l\xE4mp:$6$a$b\r\nlast:weather-station");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    std::fs::write(&path, file).unwrap();
    for (options, is_dry) in [(&["--dry-run"][..], true), (&[][..], false)] {
        let output = import(&stage, None, &path, options);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stdout.contains("nothing was changed"), is_dry, "{stdout}");
        assert!(stdout.contains("14 users: 4 new devices, 0 existing devices, 0 unchanged, 10 refused"), "{stdout}");
        for line in [
            "line 4: lamp: the user name is that of line 3 already",
            "line 5: the line is not USERNAME:PASSWORD",
            "line 6: admin: there is a user (a person) of this name",
            "line 7: shelly: the device `boiler-1` has this user name",
            "line 8: boiler-1: the device of this name has the user name `shelly`; --replace",
            "line 9: slow: the hash must have 1 to 210000 iterations",
            "line 10: bcrypt: the hash must begin with $7$, $6$ or $argon2id$",
            "line 11: cut: the hash must have a hash of 64 bytes",
            "line 12: the user name must not have the form of a device id",
            "warning: line 14: short: taken, but a new password must be 8 to 256 bytes",
            "line 15: the line is not UTF-8",
        ] {
            assert!(stderr.contains(line), "{line}\n{stderr}");
        }
        for secret in [hash, salt, "R9h", "s3cr3t", "weather"] {
            assert!(!stderr.contains(secret) && !stdout.contains(secret), "{secret}\n{stderr}");
        }
        assert_eq!(device(&stage.admin, "lamp").await.is_null(), is_dry);
    }
    for (username, password) in
        [("lamp", "secret"), ("plain", "s3cr3t-of-old"), ("short", "abc"), ("last", "weather-station")]
    {
        stage.accepted(&Connect::of(username, password)).await;
    }
    stage.accepted(&Connect::of("shelly", "correct-horse")).await;
}

#[tokio::test]
async fn what_is_no_password_file_is_refused_with_words() {
    let stage = Stage::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (missing, utf16) = (dir.path().join("missing"), dir.path().join("utf16"));
    std::fs::write(&utf16, b"\xFF\xFEa\0:\0b\0").unwrap();
    for (file, options, code, words) in [
        (&*missing, &[][..], 1, "cannot read"),
        (dir.path(), &[][..], 1, "cannot read"),
        (&*utf16, &[][..], 1, "UTF-16"),
        (&*utf16, &["--tenant", "acme"][..], 2, "there is no tenant acme"),
        (&*utf16, &["--tenant", "Acme!"][..], 2, "--tenant"),
    ] {
        let output = import(&stage, None, file, options);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn ten_thousand_users_are_imported_while_the_platform_runs() {
    let stage = Stage::start().await;
    let hash = "$7$101$Yop2/0ntkelNu8S5$T7NbX67m53Cu7d24f+hmwqlqJ6KxWQyNVmy2plzeu5ZNbgpDpiF4d1q3+09KdiqaY8ZMRLjZxG5smDysKKQbpQ==";
    let lines: String = (0..10_000).map(|number| format!("sensor-{number}:{hash}\n")).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwords");
    std::fs::write(&file, lines).unwrap();
    took(
        &import(&stage, None, &file, &[]),
        "10000 users: 10000 new devices, 0 existing devices, 0 unchanged, 0 refused",
    );
    stage.accepted(&Connect::of("sensor-9999", "secret")).await;
    assert_eq!(stage.answer(&Connect::of("sensor-10000", "secret")).await.1, Some(4));
    let total = stage.admin.get("/api/v1/devices?limit=1").await.expect(200);
    assert_eq!(total["pagination"]["total"], 10_001);
}
