//! The configuration as a whole.

use super::*;

fn sources(environment: &[(&str, &str)], command_line: &[(&str, &str)]) -> Sources {
    let assignment = |(key, value): &(&str, &str)| Assignment {
        option: "--set",
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    Sources {
        file: None,
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        command_line: command_line.iter().map(assignment).collect(),
    }
}

fn problems(environment: &[(&str, &str)]) -> Vec<String> {
    match Configuration::load(&sources(environment, &[])) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn nothing_said_is_a_whole_platform() {
    let settings = Settings::with([]).unwrap();
    assert_eq!(settings.mode, Mode::All);
    assert_eq!(settings.database.url.expose(), "sqlite://./data/pocket.db?mode=rwc");
    assert_eq!(settings.api.address, "0.0.0.0:3000".parse().unwrap());
    assert_eq!(settings.mqtt.listeners.tcp, Some("0.0.0.0:1883".parse().unwrap()));
    assert!(settings.workers >= 1);
    assert_eq!(
        (settings.ingest.batch, settings.ingest.flush.as_millis(), settings.ingest.queue),
        (100, 2_000, 100_000)
    );
    assert_eq!(settings.ingest.topics[0].as_str(), "#");
    assert!(settings.auth.jwt_secret.is_none());
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pocket.toml");
    std::fs::write(&file, "[api]\nport = 1\n[mqtt]\nport = 1\n[ingest]\nbatch = 1\n").unwrap();
    let mut sources = sources(&[("MQTT_PORT", "2"), ("POCKET_INGEST_BATCH", "2")], &[("ingest.batch", "3")]);
    sources.file = Some(file);
    let settings = Configuration::load(&sources).unwrap().settings;
    let mqtt_port = settings.mqtt.listeners.tcp.map(|address| address.port());
    assert_eq!((settings.api.address.port(), mqtt_port, settings.ingest.batch), (1, Some(2), 3));
}

#[test]
fn the_command_line_takes_keys_and_names_of_the_environment() {
    for key in ["api.port", "POCKET_API_PORT", "API_PORT"] {
        let settings = Configuration::load(&sources(&[], &[(key, "7")])).unwrap().settings;
        assert_eq!(settings.api.address.port(), 7, "{key}");
    }
    let Err(wrong) = Configuration::load(&sources(&[], &[("api.prot", "7")])) else { panic!("accepted") };
    assert_eq!(
        wrong.to_string(),
        "the configuration is wrong: --set api.prot: there is no such setting; did you mean api.port?"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let all = problems(&[("API_PORT", "65536"), ("POCKET_MODE", "both"), ("POCKET_WORKERS", "0")]);
    assert_eq!(
        all,
        [
            "POCKET_MODE=\"both\" (environment POCKET_MODE): must be all or api or broker",
            "POCKET_WORKERS=\"0\" (environment POCKET_WORKERS): must be a whole number of threads from 1 to 1024, or empty",
            "POCKET_API_PORT=\"65536\" (environment API_PORT): must be a port from 0 to 65535 (0 takes any free one)",
        ]
    );
}

#[test]
fn a_short_secret_is_refused_and_not_shown() {
    for name in ["POCKET_JWT_SECRET", "JWT_SECRET", "POCKET_TOKEN_KEY"] {
        let short = "s".repeat(31);
        let all = problems(&[(name, &short)]);
        assert!(all[0].ends_with("must be at least 32 bytes, or empty"), "{all:?}");
        assert!(all[0].contains("31 bytes, not shown") && !all[0].contains(&short), "{all:?}");
        assert_eq!(problems(&[(name, &"s".repeat(32))]), [""; 0]);
    }
    assert!(problems(&[("ADMIN_PASSWORD", "admin123")])[0].contains("must be 12 to 256 characters"));
}

#[test]
fn a_secret_is_read_from_its_file_without_the_last_line_break() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwt");
    std::fs::write(&file, format!("{}\n", "k".repeat(32))).unwrap();
    let file = file.to_str().unwrap();
    let settings = Configuration::load(&sources(&[("POCKET_JWT_SECRET_FILE", file)], &[])).unwrap().settings;
    assert_eq!(settings.auth.jwt_secret, Some(Secret::new("k".repeat(32))));
    let missing = problems(&[("POCKET_JWT_SECRET_FILE", "/nowhere/jwt")]);
    assert!(missing[0].starts_with("POCKET_JWT_SECRET_FILE=\"/nowhere/jwt\""), "{missing:?}");
}

#[test]
fn the_adapter_may_repeat_the_address_but_not_contradict_it() {
    assert_eq!(problems(&[("DB_ADAPTER", "sqlite")]), [""; 0]);
    assert_eq!(problems(&[("DB_ADAPTER", "postgres"), ("DATABASE_URL", "postgresql://a:b@c/d")]), [""; 0]);
    assert_eq!(
        problems(&[("DB_ADAPTER", "sqlite"), ("DATABASE_URL", "postgres://a:secret@c/d")]),
        ["DB_ADAPTER=sqlite contradicts POCKET_DATABASE_URL=postgres://c/d; leave one of them out"]
    );
    assert!(problems(&[("DB_ADAPTER", "postgres")])[0].contains("POCKET_DATABASE_URL must name the database"));
    assert!(problems(&[("DB_ADAPTER", "mysql")])[0].ends_with("must be sqlite or postgres, or empty"));
}

#[test]
fn a_setting_of_a_feature_that_is_missing_names_it() {
    for (name, value, feature) in [
        ("POCKET_MQTT_TLS_PORT", "8883", "mqtt-tls"),
        ("POCKET_TLS_CERT", "cert.pem", "mqtt-tls"),
        ("POCKET_TLS_KEY", "key.pem", "mqtt-tls"),
        ("POCKET_MQTT_TLS_CLIENT_CA", "ca.pem", "mqtt-tls"),
        ("POCKET_MQTT_WS_PORT", "8083", "mqtt-websocket"),
        ("POCKET_MQTT_WSS_PORT", "8084", "mqtt-websocket"),
    ] {
        let missing = format!("{name} (environment {name}): this binary is built without the feature {feature}");
        assert_eq!(problems(&[(name, value)]).contains(&missing), !crate::features::is_built_in(feature));
        assert_eq!(problems(&[(name, "")]), [""; 0]);
    }
}

#[test]
fn the_effective_configuration_is_a_file_with_origins_and_without_secrets() {
    let secret = "0123456789abcdef0123456789abcdef";
    let environment = [("JWT_SECRET", secret), ("DATABASE_URL", "postgres://me:hush@db/pocket")];
    let text = Configuration::load(&sources(&environment, &[("mode", "api")])).unwrap().effective();
    for line in [
        "mode = \"api\"  # command line --set",
        "port = 3000  # default",
        "# jwt_secret: set, not shown  (environment JWT_SECRET)",
        "# token_key: generated, kept in <data dir>/token-key  (default)",
        "url = \"postgres://db/pocket\"  # environment DATABASE_URL",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    assert!(!text.contains(secret) && !text.contains("hush"));
    let parsed: toml::Table = text.parse().unwrap();
    assert_eq!(parsed["ingest"]["batch"].as_integer(), Some(100));
}

#[test]
fn the_effective_defaults_read_back_as_themselves() {
    let text = Configuration::load(&Sources::default()).unwrap().effective();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pocket.toml");
    std::fs::write(&file, &text).unwrap();
    let again = Configuration::load(&Sources { file: Some(file.clone()), ..Sources::default() }).unwrap().effective();
    assert_eq!(again.replace(&file.display().to_string(), "default"), text);
}
