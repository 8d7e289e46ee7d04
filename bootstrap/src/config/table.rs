//! Every setting there is. `docs/CONFIGURATION.md`, `config print` and the parsing all come from here.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use pocket_domain::{NodeName, Password, PayloadPolicy, TopicFilter, Username};

use super::database::{DatabaseKind, DatabaseUrl, Url};
use super::rule::{
    Address, BearerToken, Choice, LogFilter, Networks, Node, Number, Optional, Origins, Path, Person, PersonalPassword,
    Port, SecretOf, TopicFilters,
};
use super::setting::{AnySetting, Secrecy, Setting};
use super::{Acknowledge, LogFormat, Mode, Secret, Synchronous};

macro_rules! settings {
    ($($name:ident: $type:ty = $setting:expr;)*) => {
        $(pub(super) static $name: Setting<$type> = $setting;)*

        /// The table, in the order in which it is documented.
        pub static SETTINGS: &[&dyn AnySetting] = &[$(&$name),*];
    };
}

const KEY_BYTES: usize = 32;
const DAY: u64 = 86_400;

settings! {
    MODE: Mode = Setting::new("POCKET_MODE", "mode", "all",
        &Choice(&[("all", Mode::All), ("api", Mode::Api), ("broker", Mode::Broker)]),
        "`api`: REST only; `broker`: MQTT only; `all`: both in one process");
    NODE: NodeName = Setting::new("POCKET_NODE", "node", "main", &Node,
        "name of this process; processes that serve MQTT on one database need different names, each the same at every start");
    DATA_DIR: PathBuf = Setting::new("POCKET_DATA_DIR", "data_dir", "./data", &Path,
        "directory for the database and generated secrets; created when missing");
    WORKERS: Option<u32> = Setting::new("POCKET_WORKERS", "workers", "",
        &Optional(Number { min: 1, max: 1_024, unit: "threads" }), "threads for MQTT connections")
        .default_is("number of cores");
    SHUTDOWN_TIMEOUT: u64 = Setting::new("POCKET_SHUTDOWN_TIMEOUT", "shutdown_timeout", "10",
        &Number { min: 1, max: 600, unit: "seconds" },
        "seconds for a graceful shutdown; messages that are not stored by then are reported, with exit code 1");

    DATABASE_URL: Option<DatabaseUrl> = Setting::new("POCKET_DATABASE_URL", "database.url", "", &Optional(Url),
        "database; the scheme picks the adapter")
        .also(&["DATABASE_URL"]).default_is("sqlite://<data dir>/pocket.db?mode=rwc").hidden(Secrecy::Address);
    DB_ADAPTER: Option<DatabaseKind> = Setting::new("POCKET_DB_ADAPTER", "database.adapter", "",
        &Optional(Choice(&[("sqlite", DatabaseKind::Sqlite), ("postgres", DatabaseKind::Postgres)])),
        "database adapter; must match the database URL")
        .also(&["DB_ADAPTER"]).default_is("from the address");
    DB_POOL: u32 = Setting::new("POCKET_DB_POOL", "database.pool", "10",
        &Number { min: 1, max: 1_000, unit: "connections" }, "connections to PostgreSQL, or readers of SQLite");
    SQLITE_SYNCHRONOUS: Synchronous = Setting::new("POCKET_SQLITE_SYNCHRONOUS", "database.sqlite_synchronous", "full",
        &Choice(&[("full", Synchronous::Full), ("normal", Synchronous::Normal)]),
        "`full`: what is acknowledged survives a power cut; `normal`: it survives a crash of the process only");
    SEAL_ROWS: u32 = Setting::new("POCKET_SEAL_ROWS", "database.seal_rows", "20000",
        &Number { min: 1, max: 100_000_000, unit: "rows" },
        "rows of telemetry after which they are compressed into chunks; 64 for each device that sends, if that is more");
    SEAL_AFTER: u64 = Setting::new("POCKET_SEAL_AFTER", "database.seal_after", "3600",
        &Number { min: 1, max: 31 * DAY, unit: "seconds" },
        "seconds after which rows of telemetry are compressed, however few they are");
    MAX_DEVICE_KEYS: u32 = Setting::new("POCKET_MAX_DEVICE_KEYS", "database.max_device_keys", "10000",
        &Number { min: 1, max: 1_000_000, unit: "keys" },
        "different keys of a device that compressed telemetry has columns for; messages with others are kept, delivered and shown as \
         they are, but their numbers are in no aggregate");
    PRUNE_EVERY: u64 = Setting::new("POCKET_PRUNE_EVERY", "database.prune_every", "60",
        &Number { min: 1, max: DAY, unit: "seconds" },
        "seconds between removals of expired telemetry");

    REMOVAL_PATIENCE: u64 = Setting::new("POCKET_REMOVAL_PATIENCE", "database.removal_patience", "86400",
        &Number { min: 1, max: 365 * DAY, unit: "seconds" },
        "seconds for which a removal is on hold that would take half of a tenant's history or more and that the elapsed time does not explain; setting the tenant's retention again confirms it");

    DISK_RESERVE: u64 = Setting::new("POCKET_DISK_RESERVE", "database.disk_reserve", "67108864",
        &Number { min: 0, max: 1 << 40, unit: "bytes" },
        "bytes that telemetry leaves free on the disk of a SQLite file (at most a twentieth of the disk), so that data can still be removed");

    API_HOST: IpAddr = Setting::new("POCKET_API_HOST", "api.host", "0.0.0.0", &Address, "address of the REST API")
        .also(&["API_HOST"]);
    API_PORT: u16 = Setting::new("POCKET_API_PORT", "api.port", "3000", &Port, "port of the REST API")
        .also(&["API_PORT"]);
    API_WORKERS: u32 = Setting::new("POCKET_API_WORKERS", "api.workers", "1",
        &Number { min: 1, max: 1_024, unit: "threads" }, "threads that serve REST");
    API_MAX_BODY: u32 = Setting::new("POCKET_API_MAX_BODY", "api.max_body", "16777216",
        &Number { min: 1_024, max: 1 << 30, unit: "bytes" },
        "largest body of `POST /telemetry`; other bodies are limited to 1 MiB or this, whichever is less");
    API_READS: u32 = Setting::new("POCKET_API_READS", "api.reads", "4",
        &Number { min: 1, max: 1_024, unit: "reads" },
        "concurrent expensive reads, such as aggregates and exports; one tenant gets at most half of them, or one");
    API_TRUSTED_PROXIES: Vec<IpNet> = Setting::new("POCKET_API_TRUSTED_PROXIES", "api.trusted_proxies", "", &Networks,
        "trusted networks of reverse proxies, separated by commas; their `X-Forwarded-For` or `Forwarded` is used, read from its end")
        .default_is("none");
    API_CORS_ORIGINS: Vec<String> = Setting::new("POCKET_API_CORS_ORIGINS", "api.cors_origins", "", &Origins,
        "origins of web pages that may call the API from a browser, separated by commas, such as `https://dashboard.example.org`; `*`: all")
        .default_is("none");
    METRICS_TOKEN: Option<Secret> = Setting::new("POCKET_METRICS_TOKEN", "api.metrics_token", "",
        &Optional(BearerToken), "bearer token of `/metrics`, needed by every reader").default_is("none: loopback only, and no proxy").hidden(Secrecy::Secret);

    MQTT_HOST: IpAddr = Setting::new("POCKET_MQTT_HOST", "mqtt.host", "0.0.0.0", &Address, "address of the broker");
    MQTT_PORT: Option<u16> = Setting::new("POCKET_MQTT_PORT", "mqtt.port", "1883", &Optional(Port),
        "port of MQTT over TCP; empty: off").also(&["MQTT_PORT"]);
    MQTT_TLS_PORT: Option<u16> = Setting::new("POCKET_MQTT_TLS_PORT", "mqtt.tls_port", "", &Optional(Port),
        "port of MQTT over TLS, usually 8883").default_is("off").needs("mqtt-tls");
    TLS_CERT: Option<PathBuf> = Setting::new("POCKET_TLS_CERT", "mqtt.tls_cert", "", &Optional(Path),
        "PEM file of the certificate, followed by those that lead to its root; read again when it changes").default_is("none").needs("mqtt-tls");
    TLS_KEY: Option<PathBuf> = Setting::new("POCKET_TLS_KEY", "mqtt.tls_key", "", &Optional(Path),
        "PEM file of the certificate's key; read again when it changes").default_is("none").needs("mqtt-tls");
    MQTT_TLS_CLIENT_CA: Option<PathBuf> = Setting::new("POCKET_MQTT_TLS_CLIENT_CA", "mqtt.tls_client_ca", "",
        &Optional(Path), "PEM file of certificates; clients must then show one that leads to them, and their token")
        .default_is("none").needs("mqtt-tls");
    MQTT_WS_PORT: Option<u16> = Setting::new("POCKET_MQTT_WS_PORT", "mqtt.ws_port", "", &Optional(Port),
        "port of MQTT over WebSocket, usually 8083").default_is("off").needs("mqtt-websocket");
    MQTT_WSS_PORT: Option<u16> = Setting::new("POCKET_MQTT_WSS_PORT", "mqtt.wss_port", "", &Optional(Port),
        "port of MQTT over WebSocket over TLS, usually 8084").default_is("off").needs("mqtt-websocket");
    MQTT_PROXY_PROTOCOL: bool = Setting::new("POCKET_MQTT_PROXY_PROTOCOL", "mqtt.proxy_protocol", "false",
        &Choice(&[("false", false), ("true", true)]),
        "`true`: every connection comes through a proxy that sends a PROXY protocol header, version 2");
    MQTT_MAX_CONNECTIONS: u32 = Setting::new("POCKET_MQTT_MAX_CONNECTIONS", "mqtt.max_connections", "100000",
        &Number { min: 1, max: 10_000_000, unit: "connections" }, "connections at once; more are refused");
    MQTT_MAX_TENANT_CONNECTIONS: u32 = Setting::new("POCKET_MQTT_MAX_TENANT_CONNECTIONS",
        "mqtt.max_tenant_connections", "0", &Number { min: 0, max: 10_000_000, unit: "connections" },
        "connections of each tenant at once; more are refused; 0: only its share of all");
    MQTT_MAX_DEVICE_CONNECTIONS: u32 = Setting::new("POCKET_MQTT_MAX_DEVICE_CONNECTIONS",
        "mqtt.max_device_connections", "10000", &Number { min: 0, max: 10_000_000, unit: "connections" },
        "connections of each device or person at once; more are refused; 0: no limit");
    MQTT_TENANT_SHARE: u8 = Setting::new("POCKET_MQTT_TENANT_SHARE", "mqtt.tenant_share", "80",
        &Number { min: 1, max: 100, unit: "percent" },
        "percent of all connections, sessions and kept bytes that a tenant gets while it is alone; with others it gets less, \
         so that there is always room for one more; 100: no limit but the total");
    MQTT_MAX_PENDING: u32 = Setting::new("POCKET_MQTT_MAX_PENDING", "mqtt.max_pending", "4096",
        &Number { min: 1, max: 10_000_000, unit: "connections" },
        "connections waiting for CONNECT; one more closes the oldest of the address that has most");
    MQTT_MAX_PENDING_PER_ADDRESS: u32 = Setting::new("POCKET_MQTT_MAX_PENDING_PER_ADDRESS",
        "mqtt.max_pending_per_address", "2048", &Number { min: 1, max: 10_000_000, unit: "connections" },
        "those of one address (IPv6: one /64 network); one more closes its oldest");
    MQTT_CONNECT_TIMEOUT: u64 = Setting::new("POCKET_MQTT_CONNECT_TIMEOUT", "mqtt.connect_timeout", "10",
        &Number { min: 1, max: 300, unit: "seconds" }, "seconds in which a client must finish its CONNECT");
    MQTT_RECEIVE_MAXIMUM: u16 = Setting::new("POCKET_MQTT_RECEIVE_MAXIMUM", "mqtt.receive_maximum", "1024",
        &Number { min: 1, max: u16::MAX, unit: "messages" },
        "messages of QoS 1 and 2 that a client may send without an acknowledgement");
    MQTT_TOPIC_ALIAS_MAXIMUM: u16 = Setting::new("POCKET_MQTT_TOPIC_ALIAS_MAXIMUM", "mqtt.topic_alias_maximum", "64",
        &Number { min: 0, max: u16::MAX, unit: "aliases" }, "topic aliases that a client may use");
    MQTT_KEEP_ALIVE: u16 = Setting::new("POCKET_MQTT_KEEP_ALIVE", "mqtt.keep_alive", "0",
        &Number { min: 0, max: u16::MAX, unit: "seconds" },
        "longest keep-alive in seconds; clients of 5.0 that ask for more or for none are given this; 0: no limit");
    MQTT_DEFAULT_KEEP_ALIVE: u16 = Setting::new("POCKET_MQTT_DEFAULT_KEEP_ALIVE", "mqtt.default_keep_alive", "300",
        &Number { min: 0, max: u16::MAX, unit: "seconds" },
        "keep-alive in seconds that clients of 5.0 are given which ask for none; 0: none, only TCP notices that they are gone");
    MQTT_SESSION_EXPIRY: u32 = Setting::new("POCKET_MQTT_SESSION_EXPIRY", "mqtt.session_expiry", "604800",
        &Number { min: 0, max: u32::MAX, unit: "seconds" }, "seconds after which the session of a disconnected client expires, at most");
    MQTT_MAX_SESSIONS: u32 = Setting::new("POCKET_MQTT_MAX_SESSIONS", "mqtt.max_sessions", "50000",
        &Number { min: 0, max: 10_000_000, unit: "sessions" },
        "persistent sessions; beyond it, a session ends with its connection (5.0) or is refused (3.1.1)");
    MQTT_MAX_DEVICE_SESSIONS: u32 = Setting::new("POCKET_MQTT_MAX_DEVICE_SESSIONS", "mqtt.max_device_sessions", "100",
        &Number { min: 0, max: 10_000_000, unit: "sessions" },
        "persistent sessions of each device; one more ends the one disconnected longest");
    MQTT_MAX_SUBSCRIPTIONS: u32 = Setting::new("POCKET_MQTT_MAX_SUBSCRIPTIONS", "mqtt.max_subscriptions", "1000",
        &Number { min: 1, max: 1_000_000, unit: "subscriptions" }, "subscriptions of a session; more are refused");
    MQTT_MAX_DEVICE_SUBSCRIPTIONS: u32 = Setting::new("POCKET_MQTT_MAX_DEVICE_SUBSCRIPTIONS",
        "mqtt.max_device_subscriptions", "20000", &Number { min: 1, max: 100_000_000, unit: "subscriptions" },
        "subscriptions of a device over all its sessions; more are refused");
    MQTT_MAX_TENANT_SUBSCRIPTIONS: u32 = Setting::new("POCKET_MQTT_MAX_TENANT_SUBSCRIPTIONS",
        "mqtt.max_tenant_subscriptions", "500000", &Number { min: 1, max: 1_000_000_000, unit: "subscriptions" },
        "subscriptions of a tenant over all its sessions; more are refused");
    MQTT_MAX_LEVELS: u32 = Setting::new("POCKET_MQTT_MAX_LEVELS", "mqtt.max_levels", "32",
        &Number { min: 1, max: 512, unit: "levels" }, "levels of a topic or filter; more are refused");
    MQTT_MAX_MATCH_NODES: u32 = Setting::new("POCKET_MQTT_MAX_MATCH_NODES", "mqtt.max_match_nodes", "1000",
        &Number { min: 64, max: 1_000_000, unit: "nodes" },
        "filter levels of a tenant that one message may have to be compared with; a subscription beyond that is refused");
    MQTT_MAX_KEPT_BYTES: u64 = Setting::new("POCKET_MQTT_MAX_KEPT_BYTES", "mqtt.max_kept_bytes", "536870912",
        &Number { min: 1_048_576, max: 1 << 40, unit: "bytes" },
        "memory for all that is kept for clients: retained and queued messages, sessions, subscriptions, unsent bytes");
    MQTT_MAX_DEVICE_BYTES: u64 = Setting::new("POCKET_MQTT_MAX_DEVICE_BYTES", "mqtt.max_device_bytes", "67108864",
        &Number { min: 65_536, max: 1 << 40, unit: "bytes" }, "those of each device or person");
    MQTT_MAX_INFLIGHT: u16 = Setting::new("POCKET_MQTT_MAX_INFLIGHT", "mqtt.max_inflight", "1024",
        &Number { min: 1, max: u16::MAX, unit: "messages" },
        "messages of QoS 1 and 2 to a client that wait for its acknowledgement at a time");
    MQTT_MAX_QUEUED: u32 = Setting::new("POCKET_MQTT_MAX_QUEUED", "mqtt.max_queued", "10000",
        &Number { min: 0, max: 10_000_000, unit: "messages" },
        "messages of QoS 1 and 2 that wait for a slow or absent client; more are dropped and counted");
    MQTT_MAX_QUEUED_BYTES: u32 = Setting::new("POCKET_MQTT_MAX_QUEUED_BYTES", "mqtt.max_queued_bytes", "8388608",
        &Number { min: 0, max: u32::MAX, unit: "bytes" }, "bytes of these");
    MQTT_SLOW_CONSUMER_TIMEOUT: u16 = Setting::new("POCKET_MQTT_SLOW_CONSUMER_TIMEOUT", "mqtt.slow_consumer_timeout",
        "60", &Number { min: 0, max: 3_600, unit: "seconds" },
        "seconds after which a slow client is disconnected, whose queue overflows or whose socket accepts nothing; 0: never");
    MQTT_PUBLISH_RATE: u32 = Setting::new("POCKET_MQTT_PUBLISH_RATE", "mqtt.publish_rate", "0",
        &Number { min: 0, max: 1_000_000, unit: "messages" },
        "messages per second of a device or user; beyond it, reading from the client pauses; 0: no limit");
    MQTT_DEVICE_EVENTS: u32 = Setting::new("POCKET_MQTT_DEVICE_EVENTS", "mqtt.device_events", "100",
        &Number { min: 0, max: 10_000, unit: "events" }, "connect and disconnect events kept per device; 0: none");
    MQTT_SYS_INTERVAL: u64 = Setting::new("POCKET_MQTT_SYS_INTERVAL", "mqtt.sys_interval", "10",
        &Number { min: 0, max: 3_600, unit: "seconds" },
        "seconds between updates of `$SYS/broker/…` for platform administrators; 0: off");
    MQTT_MAX_RETAINED: u32 = Setting::new("POCKET_MQTT_MAX_RETAINED", "mqtt.max_retained", "100000",
        &Number { min: 0, max: 100_000_000, unit: "messages" },
        "retained messages of a tenant; more are delivered, but not kept");
    MQTT_MAX_RETAINED_BYTES: u32 = Setting::new("POCKET_MQTT_MAX_RETAINED_BYTES", "mqtt.max_retained_bytes",
        "67108864", &Number { min: 0, max: u32::MAX, unit: "bytes" }, "bytes of these");

    JWT_SECRET: Option<Secret> = Setting::new("POCKET_JWT_SECRET", "auth.jwt_secret", "",
        &Optional(SecretOf { min_bytes: KEY_BYTES }),
        "signs bearer tokens; the same for all processes on one database")
        .also(&["JWT_SECRET"]).default_is("generated, kept in <data dir>/jwt-secret").hidden(Secrecy::Secret);
    JWT_TTL: u64 = Setting::new("POCKET_JWT_TTL", "auth.jwt_ttl", "3600",
        &Number { min: 60, max: 366 * DAY, unit: "seconds" }, "seconds for which a bearer token is valid");
    JWT_MAX_AGE: u64 = Setting::new("POCKET_JWT_MAX_AGE", "auth.jwt_max_age", "2592000",
        &Number { min: 60, max: 3_660 * DAY, unit: "seconds" },
        "seconds after a log-in at which its bearer tokens end and are not renewed any more");
    TOKEN_KEY: Option<Secret> = Setting::new("POCKET_TOKEN_KEY", "auth.token_key", "",
        &Optional(SecretOf { min_bytes: KEY_BYTES }),
        "keys the hashes of device tokens; the same for all processes on one database, and never changed")
        .default_is("generated, kept in <data dir>/token-key").hidden(Secrecy::Secret);
    ADMIN_USERNAME: Username = Setting::new("POCKET_ADMIN_USERNAME", "auth.admin_username", "admin", &Person,
        "name of the first administrator, created only when there is no user").also(&["ADMIN_USERNAME"]);
    ADMIN_PASSWORD: Option<Password> = Setting::new("POCKET_ADMIN_PASSWORD", "auth.admin_password", "",
        &Optional(PersonalPassword), "password of the first administrator")
        .also(&["ADMIN_PASSWORD"]).default_is("generated and printed once").hidden(Secrecy::Secret);
    LOGIN_WINDOW: u64 = Setting::new("POCKET_LOGIN_WINDOW", "auth.login_window", "60",
        &Number { min: 1, max: DAY, unit: "seconds" }, "seconds over which failed log-ins are counted");
    LOGIN_FAILURES: u32 = Setting::new("POCKET_LOGIN_FAILURES", "auth.login_failures", "10",
        &Number { min: 1, max: 1_000_000, unit: "failures" }, "failed log-ins of one user from one address in that time");
    LOGIN_FAILURES_PER_SOURCE: u32 = Setting::new("POCKET_LOGIN_FAILURES_PER_SOURCE", "auth.login_failures_per_source",
        "50", &Number { min: 1, max: 1_000_000, unit: "failures" },
        "failed log-ins of users from one address in that time");
    DEVICE_FAILURES: u32 = Setting::new("POCKET_DEVICE_FAILURES", "auth.device_failures", "30",
        &Number { min: 1, max: 1_000_000, unit: "failures" }, "failed CONNECTs of one device or person in that time");
    DEVICE_FAILURES_PER_SOURCE: u32 = Setting::new("POCKET_DEVICE_FAILURES_PER_SOURCE",
        "auth.device_failures_per_source", "1000", &Number { min: 1, max: 1_000_000, unit: "failures" },
        "failed CONNECTs from one address in that time");

    INGEST_BATCH: u32 = Setting::new("POCKET_INGEST_BATCH", "ingest.batch", "100",
        &Number { min: 1, max: 100_000, unit: "messages" }, "messages per batch; a full batch is written without waiting for the timer");
    INGEST_FLUSH_MS: u64 = Setting::new("POCKET_INGEST_FLUSH_MS", "ingest.flush_ms", "2000",
        &Number { min: 1, max: 3_600_000, unit: "milliseconds" },
        "milliseconds after which messages without a waiting sender (QoS 0) are written");
    INGEST_QUEUE: u32 = Setting::new("POCKET_INGEST_QUEUE", "ingest.queue", "100000",
        &Number { min: 1, max: 100_000_000, unit: "messages" },
        "messages in the ingest queue; when it is full, reading from publishers pauses");
    INGEST_QUEUE_BYTES: u64 = Setting::new("POCKET_INGEST_QUEUE_BYTES", "ingest.queue_bytes", "67108864",
        &Number { min: 1 << 20, max: 1 << 40, unit: "bytes" },
        "bytes that these messages may take in memory; then as above. A read of one connection, or one request, may go beyond it");
    INGEST_TENANT_SHARE: u8 = Setting::new("POCKET_INGEST_TENANT_SHARE", "ingest.tenant_share", "80",
        &Number { min: 1, max: 100, unit: "percent" },
        "percent of these messages and bytes that a tenant gets while it is alone; with others it gets less, so that there is \
         always room for one more; 100: no limit but the total");
    INGEST_ACK: Acknowledge = Setting::new("POCKET_INGEST_ACK", "ingest.ack", "stored",
        &Choice(&[("stored", Acknowledge::Stored), ("received", Acknowledge::Received)]),
        "`stored`: a message is acknowledged when it is committed; `received`: when it has arrived");
    TELEMETRY_TOPICS: Vec<TopicFilter> = Setting::new("POCKET_TELEMETRY_TOPICS", "ingest.topics", "#", &TopicFilters,
        "topics that are stored; empty: nothing, a pure broker");
    MAX_DEVICE_TOPICS: u32 = Setting::new("POCKET_MAX_DEVICE_TOPICS", "ingest.max_device_topics", "50000",
        &Number { min: 1, max: 10_000_000, unit: "topics" },
        "topics of stored messages that a device may be the first to use, while any message on them is stored; beyond them messages \
         on other topics are refused");
    MAX_TENANT_TOPICS: u32 = Setting::new("POCKET_MAX_TENANT_TOPICS", "ingest.max_tenant_topics", "200000",
        &Number { min: 1, max: 10_000_000, unit: "topics" }, "the same for all devices of a tenant together");
    MAX_TIMESTAMP_AHEAD: u64 = Setting::new("POCKET_MAX_TIMESTAMP_AHEAD", "ingest.max_timestamp_ahead", "600",
        &Number { min: 0, max: 36_500 * DAY, unit: "seconds" },
        "seconds by which the time that a message says may be later than its arrival; one that is later is stored with the \
         time of its arrival, and refused over HTTP");
    PAYLOAD_POLICY: PayloadPolicy = Setting::new("POCKET_PAYLOAD_POLICY", "ingest.payload_policy", "auto",
        &Choice(&[("auto", PayloadPolicy::Auto), ("json", PayloadPolicy::Json), ("any", PayloadPolicy::Any)]),
        "default `payloadPolicy` of new tenants; existing tenants keep theirs");
    MAX_PAYLOAD: u32 = Setting::new("POCKET_MAX_PAYLOAD", "ingest.max_payload", "65536",
        &Number { min: 1, max: 32 << 20, unit: "bytes" }, "largest payload of a message; a message of more could not be compressed");
    MAX_RETAINED_PAYLOAD: u32 = Setting::new("POCKET_MAX_RETAINED_PAYLOAD", "ingest.max_retained_payload", "1048576",
        &Number { min: 1, max: 32 << 20, unit: "bytes" },
        "largest payload of a retained message, such as the list of a gateway's devices; one that is larger than `POCKET_MAX_PAYLOAD` is \
         delivered and retained, but not stored as telemetry; less than `POCKET_MAX_PAYLOAD`: as that");
    MAX_PAYLOAD_KEYS: u32 = Setting::new("POCKET_MAX_PAYLOAD_KEYS", "ingest.max_payload_keys", "2048",
        &Number { min: 1, max: 65_536, unit: "keys" },
        "keys of the objects of a stored payload, those inside arrays aside; one with more is refused");

    LOG: String = Setting::new("POCKET_LOG", "log.filter", "info", &LogFilter, "log filter");
    LOG_FORMAT: LogFormat = Setting::new("POCKET_LOG_FORMAT", "log.format", "pretty",
        &Choice(&[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]), "log format; the log goes to stderr");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for setting in SETTINGS {
            let about = setting.about();
            assert!(setting.allows(about.default), "{}={:?}", about.name, about.default);
        }
    }

    #[test]
    fn every_number_is_allowed_at_its_bounds_and_not_beyond() {
        for setting in SETTINGS {
            let name = setting.about().name;
            let Some((min, max)) = setting.bounds() else { continue };
            assert!(setting.allows(&min.to_string()), "{name}={min}");
            assert!(setting.allows(&max.to_string()), "{name}={max}");
            assert!(!setting.allows(&(max + 1).to_string()), "{name}={}", max + 1);
            if let Some(below) = min.checked_sub(1) {
                assert!(!setting.allows(&below.to_string()), "{name}={below}");
            }
        }
    }

    #[test]
    fn names_and_keys_are_used_once() {
        let mut names = HashSet::new();
        let mut keys = HashSet::new();
        for setting in SETTINGS {
            let about = setting.about();
            assert!(about.name.starts_with("POCKET_"), "{}", about.name);
            assert!(keys.insert(about.key), "{}", about.key);
            for name in about.environment_names() {
                assert!(names.insert(name), "{name}");
            }
        }
    }
}
