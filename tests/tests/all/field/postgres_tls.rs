//! PostgreSQL that encrypts: each `sslmode` that libpq has, with a server that insists, one that cannot, and one that is somebody else's.

use std::path::Path;
use std::process::{Command, Stdio};

use pocket_tests::{Launch, PostgresServer, binary};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

/// An authority of the test and what it signed, as PEM.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key, for these names.
    fn sign(&self, common: &str, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

const TLS_ONLY: &str = "hostssl all all 127.0.0.1/32 trust\nhostnossl all all 127.0.0.1/32 reject";

/// A server that encrypts, with the files of its authority and of another one.
async fn server(names: &[&str], access: &str) -> (PostgresServer, TempDir, Authority) {
    let (server, dir, authority) =
        (PostgresServer::start().await, tempfile::tempdir().unwrap(), Authority::new("ours"));
    let (certificate, key) = authority.sign("server", names);
    server.encrypt(&certificate, &key, &authority.certificate, access).await;
    std::fs::write(dir.path().join("ours.pem"), &authority.certificate).unwrap();
    std::fs::write(dir.path().join("other.pem"), Authority::new("other").certificate).unwrap();
    (server, dir, authority)
}

/// The exit code and words of a command on a database.
fn run(dir: &Path, command: &[&str], url: &str) -> (Option<i32>, String) {
    let mut process = Command::new(binary());
    process.args(command).args(["--set", &format!("database.url={url}"), "--data-dir"]).arg(dir.join("data"));
    let output = process.env_clear().stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), told)
}

#[tokio::test]
async fn each_mode_does_what_it_says_with_a_server_that_insists() {
    let (server, dir, _) = server(&["127.0.0.1"], TLS_ONLY).await;
    let (ours, other) = (dir.path().join("ours.pem"), dir.path().join("other.pem"));
    let (ours, other) = (ours.display(), other.display());
    for (parameters, code, words) in [
        ("".to_owned(), 0, ""),
        ("?sslmode=allow".to_owned(), 0, ""),
        ("?sslmode=prefer".to_owned(), 0, ""),
        ("?sslmode=require".to_owned(), 0, ""),
        ("?ssl=true".to_owned(), 0, ""),
        (format!("?sslmode=verify-ca&sslrootcert={ours}"), 0, ""),
        (format!("?sslmode=verify-full&sslrootcert={ours}"), 0, ""),
        (format!("?sslmode=require&sslrootcert={ours}"), 0, ""),
        ("?sslmode=disable".to_owned(), 1, "encrypted connections only"),
        (format!("?sslmode=verify-ca&sslrootcert={other}"), 1, "sslrootcert"),
        (format!("?sslmode=verify-full&sslrootcert={other}"), 1, "sslrootcert"),
        (format!("?sslmode=require&sslrootcert={other}"), 1, "sslrootcert"),
        ("?sslmode=verify-full".to_owned(), 1, "sslrootcert"),
        ("?sslmode=verify-full&sslrootcert=/nowhere.pem".to_owned(), 1, "/nowhere.pem"),
        ("?sslmode=always".to_owned(), 1, "verify-full"),
    ] {
        let (found, told) = run(dir.path(), &["migrate"], &format!("{}{parameters}", server.url()));
        assert!(found == Some(code) && told.contains(words), "{parameters}: {found:?} {told}");
    }
}

#[tokio::test]
async fn a_wrong_name_is_refused_by_the_mode_that_looks_at_it() {
    let (server, dir, _) = server(&["db.example"], TLS_ONLY).await;
    let url =
        |mode: &str| format!("{}?sslmode={mode}&sslrootcert={}", server.url(), dir.path().join("ours.pem").display());
    let (code, told) = run(dir.path(), &["migrate"], &url("verify-full"));
    assert!(code == Some(1) && told.contains("another name"), "{told}");
    let (code, told) = run(dir.path(), &["migrate"], &url("verify-ca"));
    assert_eq!(code, Some(0), "{told}");
}

#[tokio::test]
async fn a_server_that_cannot_encrypt_is_never_spoken_to_in_plain_by_modes_that_forbid_it() {
    let (server, dir) = (PostgresServer::start().await, tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("ours.pem"), Authority::new("ours").certificate).unwrap();
    let ours = dir.path().join("ours.pem");
    for mode in ["require".to_owned(), format!("verify-ca&sslrootcert={}", ours.display()), "verify-full".to_owned()] {
        let (code, told) = run(dir.path(), &["migrate"], &format!("{}?sslmode={mode}", server.url()));
        assert!(code == Some(1) && told.contains("TLS"), "{mode}: {told}");
    }
    for mode in ["disable", "allow", "prefer"] {
        let (code, told) = run(dir.path(), &["migrate"], &format!("{}?sslmode={mode}", server.url()));
        assert_eq!(code, Some(0), "{mode}: {told}");
    }
}

#[tokio::test]
async fn a_server_that_encrypts_and_forbids_it_is_spoken_to_in_plain_where_that_is_allowed() {
    let access = "hostnossl all all 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 reject";
    let (server, dir, _) = server(&["127.0.0.1"], access).await;
    for (mode, code) in [("prefer", 0), ("allow", 0), ("disable", 0), ("require", 1)] {
        let (found, told) = run(dir.path(), &["migrate"], &format!("{}?sslmode={mode}", server.url()));
        assert_eq!(found, Some(code), "{mode}: {told}");
    }
}

#[tokio::test]
async fn every_connection_of_a_platform_is_encrypted_and_may_prove_itself_by_a_certificate() {
    let (server, dir, authority) = server(&["127.0.0.1"], "hostssl all all 127.0.0.1/32 cert").await;
    let (certificate, key) = authority.sign("postgres", &[]);
    std::fs::write(dir.path().join("client.pem"), certificate).unwrap();
    std::fs::write(dir.path().join("client.key"), key).unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let verified = format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), file("ours.pem"));
    let url = format!("{verified}&sslcert={}&sslkey={}", file("client.pem"), file("client.key"));
    let (code, told) = run(dir.path(), &["migrate"], &verified);
    assert_eq!(code, Some(1), "{told}");
    let mut platform = Launch::default().set("database.url", &url).start().await;
    let admin = platform.admin().await;
    let (id, _) = admin.register_device("boiler").await;
    let row = json!({ "deviceId": id, "topic": "a", "payload": { "t": 1 } });
    admin.post("/api/v1/telemetry", row).await.expect(201);
    assert_eq!(admin.telemetry("").await.len(), 1);
    let connections = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'pocket-iot' AND ssl";
    let all = server.over_socket(connections).parse::<u32>().unwrap();
    assert!(all >= 2, "the pool, and what holds the name of the process: {all}");
    assert_eq!(server.over_socket(&connections.replace("AND ssl", "AND NOT ssl")), "0");
    for command in [&["check"][..], &["export"]] {
        let (code, told) = run(dir.path(), command, &url);
        assert_eq!(code, Some(0), "{told}");
    }
    assert!(platform.stop().await.success());
}

#[tokio::test]
async fn the_log_says_whether_connections_are_encrypted_where_the_address_leaves_it_open() {
    let (encrypting, _dir, _) = server(&["127.0.0.1"], "host all all 127.0.0.1/32 trust").await;
    let platform = Launch::default().set("database.url", &encrypting.url()).start().await;
    assert!(platform.log().contains("connected to PostgreSQL, encrypted"), "{}", platform.log());
    let plain = PostgresServer::start().await;
    let platform = Launch::default().set("database.url", &plain.url()).start().await;
    assert!(platform.log().contains("connected to PostgreSQL, not encrypted"), "{}", platform.log());
}
