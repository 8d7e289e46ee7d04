//! The configuration as the composition uses it: typed, complete, and checked for contradictions.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use pocket_domain::{NodeName, Password, PayloadPolicy, TopicFilter, Username};

use super::database::{DatabaseKind, DatabaseUrl};
use super::layers::Layers;
use super::listeners::MqttListeners;
use super::problem::{Problem, Problems};
use super::setting::{AnySetting, Setting};
use super::{BridgeSettings, SETTINGS, Secret, table};
use crate::features;

/// Which parts of the platform this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// REST and MQTT.
    All,
    /// REST only.
    Api,
    /// MQTT only.
    Broker,
}

impl Mode {
    /// Whether REST is served.
    pub fn serves_api(self) -> bool {
        self != Self::Broker
    }

    /// Whether MQTT is served.
    pub fn serves_mqtt(self) -> bool {
        self != Self::Api
    }
}

/// When SQLite considers a commit done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// When it is on the disk.
    Full,
    /// When it is with the operating system.
    Normal,
}

/// When a message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// When it is committed.
    Stored,
    /// When it has arrived.
    Received,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What this process runs.
    pub mode: Mode,
    /// The name of this process among those that serve MQTT on the same database.
    pub node: NodeName,
    /// Where the database and the generated secrets are.
    pub data_dir: PathBuf,
    /// Threads that serve MQTT; at least one.
    pub workers: u32,
    /// How long each step of an orderly stop may take.
    pub shutdown_timeout: Duration,
    /// The database.
    pub database: DatabaseSettings,
    /// REST.
    pub api: ApiSettings,
    /// MQTT.
    pub mqtt: MqttSettings,
    /// Secrets and log-ins.
    pub auth: AuthSettings,
    /// Storing of telemetry.
    pub ingest: IngestSettings,
    /// Bridges to other brokers.
    pub bridges: Vec<BridgeSettings>,
    /// The log.
    pub log: LogSettings,
}

/// The database.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// Its address.
    pub url: DatabaseUrl,
    /// Connections to PostgreSQL, or readers of SQLite.
    pub pool: u32,
    /// When SQLite considers a commit done.
    pub synchronous: Synchronous,
    /// Rows of telemetry after which the oldest are compressed.
    pub seal_rows: u32,
    /// How old rows are when they are compressed, however few they are.
    pub seal_after: Duration,
    /// The most keys of a device that have columns.
    pub max_device_keys: u32,
    /// Bytes of the disk of a SQLite file that telemetry leaves free.
    pub disk_reserve: u64,
    /// How often the telemetry that tenants do not keep is removed.
    pub prune_every: Duration,
    /// How long a removal waits that is out of proportion.
    pub removal_patience: Duration,
}

/// REST.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// Threads that serve it.
    pub workers: u32,
    /// Bytes of the largest body of telemetry.
    pub max_body: u32,
    /// Reads at once whose work grows with what is stored.
    pub reads: u32,
    /// Networks of proxies that tell where requests come from.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of pages that may read answers; `*`: all.
    pub cors_origins: Vec<String>,
    /// What opens `/metrics`.
    pub metrics_token: Option<Secret>,
}

/// MQTT.
#[derive(Clone, Debug)]
pub struct MqttSettings {
    /// Where it listens.
    pub listeners: MqttListeners,
    /// Connections at once.
    pub max_connections: u32,
    /// Connections of each tenant at once; 0: only its share.
    pub max_tenant_connections: u32,
    /// Connections of each device or person at once; 0: no limit.
    pub max_device_connections: u32,
    /// Percent of each total that a tenant gets while it is alone.
    pub tenant_share: u8,
    /// Connections at once whose CONNECT has not come.
    pub max_pending: u32,
    /// Those of one address.
    pub max_pending_per_address: u32,
    /// How long a client may take for its CONNECT.
    pub connect_timeout: Duration,
    /// Receive Maximum as announced to clients.
    pub receive_maximum: u16,
    /// Topic Alias Maximum as announced to clients.
    pub topic_alias_maximum: u16,
    /// The longest keep-alive in seconds; 0: no limit.
    pub keep_alive: u16,
    /// The keep-alive of clients that ask for none; 0: none.
    pub default_keep_alive: u16,
    /// Seconds that a session may outlive its connection.
    pub session_expiry: u32,
    /// Persistent sessions.
    pub max_sessions: u32,
    /// Those of each device.
    pub max_device_sessions: u32,
    /// Subscriptions of a session.
    pub max_subscriptions: u32,
    /// Subscriptions of a device over all its sessions.
    pub max_device_subscriptions: u32,
    /// Subscriptions of a tenant over all its sessions.
    pub max_tenant_subscriptions: u32,
    /// Levels of a topic or filter.
    pub max_levels: u32,
    /// Nodes of a tenant's filters that a message may visit.
    pub max_match_nodes: u32,
    /// Bytes of all that is kept for clients.
    pub max_kept_bytes: u64,
    /// Those of each device or person.
    pub max_device_bytes: u64,
    /// Messages to a client that wait for its acknowledgement at a time.
    pub max_inflight: u16,
    /// What waits for a slow or absent client.
    pub max_queued: Quota,
    /// Seconds for which a client may stay behind; 0: no limit.
    pub slow_consumer_timeout: u16,
    /// Messages a second of a device; 0: no limit.
    pub publish_rate: u32,
    /// Connects and disconnects that are kept of each device.
    pub device_events: u32,
    /// How often the broker tells of itself on `$SYS/broker/…`; zero: never.
    pub sys_interval: Duration,
    /// What is retained for a tenant.
    pub max_retained: Quota,
}

impl MqttSettings {
    /// Whether nobody asks for another number of connections than the default.
    pub fn has_default_connections(&self) -> bool {
        table::MQTT_MAX_CONNECTIONS.is_default(&self.max_connections)
    }
}

/// A bound of messages.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// How many.
    pub messages: u32,
    /// Their bytes together.
    pub bytes: u32,
}

/// Secrets and log-ins.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// Signs bearer tokens; generated when absent.
    pub jwt_secret: Option<Secret>,
    /// How long a bearer token is valid.
    pub jwt_ttl: Duration,
    /// How long after a log-in its bearer tokens are renewed.
    pub jwt_max_age: Duration,
    /// Keys the hashes of device tokens; generated when absent.
    pub token_key: Option<Secret>,
    /// The name of the first administrator.
    pub admin_username: Username,
    /// Their password; generated when absent.
    pub admin_password: Option<Password>,
    /// Over which time failed log-ins are counted.
    pub login_window: Duration,
    /// How many failures people have in that time.
    pub people: FailureLimits,
    /// How many failures devices have in that time.
    pub devices: FailureLimits,
}

/// How many failed log-ins are heard.
#[derive(Clone, Copy, Debug)]
pub struct FailureLimits {
    /// Of one account.
    pub per_account: u32,
    /// From one address.
    pub per_source: u32,
}

/// Storing of telemetry.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// Messages that are written without waiting for the timer.
    pub batch: u32,
    /// After which time messages that nobody waits for are written.
    pub flush: Duration,
    /// Messages that may wait to be written.
    pub queue: u32,
    /// Bytes that these may take in memory.
    pub queue_bytes: u64,
    /// Percent of the queue that one tenant may take.
    pub tenant_share: u8,
    /// When a message is acknowledged.
    pub acknowledge: Acknowledge,
    /// Topics that are stored.
    pub topics: Vec<TopicFilter>,
    /// What payloads new tenants accept.
    pub payload_policy: PayloadPolicy,
    /// Bytes of the largest payload.
    pub max_payload: u32,
    /// Bytes of the largest payload of a retained message.
    pub max_retained_payload: u32,
    /// The most keys of a payload.
    pub max_payload_keys: u32,
    /// The most topics of a device, and of a tenant.
    pub max_topics: [u32; 2],
    /// By how much the time of a message may be later than its arrival.
    pub max_timestamp_ahead: Duration,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Directives of `tracing_subscriber::EnvFilter`, known to be right.
    pub filter: String,
    /// Its form.
    pub format: LogFormat,
}

/// Takes typed values out of the layers and gathers what is wrong.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        let mut problems = layers.problems.clone();
        for setting in SETTINGS {
            let about = setting.about();
            let Some(chosen) = layers.chosen.get(about.name) else { continue };
            if !setting.allows(&chosen.text) {
                problems.push(Problem::not_allowed(*setting, &chosen.text, &chosen.origin));
            } else if let Some(feature) = about.feature.filter(|feature| !features::is_built_in(feature))
                && chosen.text != about.default
            {
                problems.push(Problem::new(format!(
                    "{} ({}): this binary is built without the feature {feature}",
                    about.name, chosen.origin
                )));
            }
        }
        Self { layers, problems }
    }

    /// The value, or the default where the value is among the problems.
    pub(super) fn get<T>(&self, setting: &Setting<T>) -> T {
        let about = setting.about();
        let given = self.layers.chosen.get(about.name).and_then(|chosen| setting.parse(&chosen.text));
        given.or_else(|| setting.parse(about.default)).expect("the default of a setting is allowed")
    }

    fn seconds(&self, setting: &Setting<u64>) -> Duration {
        Duration::from_secs(self.get(setting))
    }

    fn quota(&self, messages: &Setting<u32>, bytes: &Setting<u32>) -> Quota {
        Quota { messages: self.get(messages), bytes: self.get(bytes) }
    }

    fn address(&self, host: &Setting<IpAddr>, port: &Setting<u16>) -> SocketAddr {
        SocketAddr::new(self.get(host), self.get(port))
    }

    pub(super) fn settings(mut self) -> Result<Settings, Problems> {
        let data_dir = self.get(&table::DATA_DIR);
        let settings = Settings {
            mode: self.get(&table::MODE),
            node: self.get(&table::NODE),
            workers: self.get(&table::WORKERS).unwrap_or_else(cores),
            shutdown_timeout: self.seconds(&table::SHUTDOWN_TIMEOUT),
            database: self.database(&data_dir),
            api: self.api(),
            mqtt: self.mqtt(),
            auth: self.auth(),
            ingest: self.ingest(),
            bridges: self.layers.bridges.clone(),
            log: LogSettings { filter: self.get(&table::LOG), format: self.get(&table::LOG_FORMAT) },
            data_dir,
        };
        if !settings.bridges.is_empty() {
            if !features::is_built_in("bridge") {
                self.problems.push(Problem::new("[[bridge]]: this binary is built without the feature bridge"));
            }
            if settings.mode.serves_mqtt() && settings.mqtt.listeners.tcp.is_none() {
                let words = "[[bridge]]: POCKET_MQTT_PORT must be on; a bridge comes in there, over this machine alone if POCKET_MQTT_HOST is 127.0.0.1";
                self.problems.push(Problem::new(words));
            }
        }
        Problems::check(self.problems)?;
        Ok(settings)
    }

    fn database(&mut self, data_dir: &std::path::Path) -> DatabaseSettings {
        let given = self.get(&table::DATABASE_URL);
        let adapter = self.get(&table::DB_ADAPTER);
        let url = given.clone().unwrap_or_else(|| DatabaseUrl::in_data_dir(data_dir));
        match adapter {
            Some(DatabaseKind::Postgres) if given.is_none() => self.problems.push(Problem::new(
                "DB_ADAPTER=postgres: POCKET_DATABASE_URL must name the database, \
                 such as postgres://USER:PASSWORD@HOST/DATABASE",
            )),
            Some(adapter) if adapter != url.kind() => self.problems.push(Problem::new(format!(
                "DB_ADAPTER={} contradicts POCKET_DATABASE_URL={url}; leave one of them out",
                adapter.as_str()
            ))),
            _ => {}
        }
        if !features::is_built_in(url.kind().feature()) {
            let feature = url.kind().feature();
            let problem = format!("POCKET_DATABASE_URL={url}: this binary is built without the feature {feature}");
            self.problems.push(Problem::new(problem));
        }
        DatabaseSettings {
            url,
            pool: self.get(&table::DB_POOL),
            synchronous: self.get(&table::SQLITE_SYNCHRONOUS),
            seal_rows: self.get(&table::SEAL_ROWS),
            seal_after: Duration::from_secs(self.get(&table::SEAL_AFTER)),
            max_device_keys: self.get(&table::MAX_DEVICE_KEYS),
            disk_reserve: self.get(&table::DISK_RESERVE),
            prune_every: Duration::from_secs(self.get(&table::PRUNE_EVERY)),
            removal_patience: Duration::from_secs(self.get(&table::REMOVAL_PATIENCE)),
        }
    }

    fn api(&self) -> ApiSettings {
        ApiSettings {
            address: self.address(&table::API_HOST, &table::API_PORT),
            workers: self.get(&table::API_WORKERS),
            max_body: self.get(&table::API_MAX_BODY),
            reads: self.get(&table::API_READS),
            trusted_proxies: self.get(&table::API_TRUSTED_PROXIES),
            cors_origins: self.get(&table::API_CORS_ORIGINS),
            metrics_token: self.get(&table::METRICS_TOKEN),
        }
    }

    fn mqtt(&mut self) -> MqttSettings {
        MqttSettings {
            listeners: self.mqtt_listeners(),
            max_connections: self.get(&table::MQTT_MAX_CONNECTIONS),
            max_tenant_connections: self.get(&table::MQTT_MAX_TENANT_CONNECTIONS),
            max_device_connections: self.get(&table::MQTT_MAX_DEVICE_CONNECTIONS),
            tenant_share: self.get(&table::MQTT_TENANT_SHARE),
            max_pending: self.get(&table::MQTT_MAX_PENDING),
            max_pending_per_address: self.get(&table::MQTT_MAX_PENDING_PER_ADDRESS),
            connect_timeout: self.seconds(&table::MQTT_CONNECT_TIMEOUT),
            receive_maximum: self.get(&table::MQTT_RECEIVE_MAXIMUM),
            topic_alias_maximum: self.get(&table::MQTT_TOPIC_ALIAS_MAXIMUM),
            keep_alive: self.get(&table::MQTT_KEEP_ALIVE),
            default_keep_alive: self.get(&table::MQTT_DEFAULT_KEEP_ALIVE),
            session_expiry: self.get(&table::MQTT_SESSION_EXPIRY),
            max_sessions: self.get(&table::MQTT_MAX_SESSIONS),
            max_device_sessions: self.get(&table::MQTT_MAX_DEVICE_SESSIONS),
            max_subscriptions: self.get(&table::MQTT_MAX_SUBSCRIPTIONS),
            max_device_subscriptions: self.get(&table::MQTT_MAX_DEVICE_SUBSCRIPTIONS),
            max_tenant_subscriptions: self.get(&table::MQTT_MAX_TENANT_SUBSCRIPTIONS),
            max_levels: self.get(&table::MQTT_MAX_LEVELS),
            max_match_nodes: self.get(&table::MQTT_MAX_MATCH_NODES),
            max_kept_bytes: self.get(&table::MQTT_MAX_KEPT_BYTES),
            max_device_bytes: self.get(&table::MQTT_MAX_DEVICE_BYTES),
            max_inflight: self.get(&table::MQTT_MAX_INFLIGHT),
            max_queued: self.quota(&table::MQTT_MAX_QUEUED, &table::MQTT_MAX_QUEUED_BYTES),
            slow_consumer_timeout: self.get(&table::MQTT_SLOW_CONSUMER_TIMEOUT),
            publish_rate: self.get(&table::MQTT_PUBLISH_RATE),
            device_events: self.get(&table::MQTT_DEVICE_EVENTS),
            sys_interval: self.seconds(&table::MQTT_SYS_INTERVAL),
            max_retained: self.quota(&table::MQTT_MAX_RETAINED, &table::MQTT_MAX_RETAINED_BYTES),
        }
    }

    fn auth(&self) -> AuthSettings {
        AuthSettings {
            jwt_secret: self.get(&table::JWT_SECRET),
            jwt_ttl: self.seconds(&table::JWT_TTL),
            jwt_max_age: self.seconds(&table::JWT_MAX_AGE),
            token_key: self.get(&table::TOKEN_KEY),
            admin_username: self.get(&table::ADMIN_USERNAME),
            admin_password: self.get(&table::ADMIN_PASSWORD),
            login_window: self.seconds(&table::LOGIN_WINDOW),
            people: FailureLimits {
                per_account: self.get(&table::LOGIN_FAILURES),
                per_source: self.get(&table::LOGIN_FAILURES_PER_SOURCE),
            },
            devices: FailureLimits {
                per_account: self.get(&table::DEVICE_FAILURES),
                per_source: self.get(&table::DEVICE_FAILURES_PER_SOURCE),
            },
        }
    }

    fn ingest(&self) -> IngestSettings {
        IngestSettings {
            batch: self.get(&table::INGEST_BATCH),
            flush: Duration::from_millis(self.get(&table::INGEST_FLUSH_MS)),
            queue: self.get(&table::INGEST_QUEUE),
            queue_bytes: self.get(&table::INGEST_QUEUE_BYTES),
            tenant_share: self.get(&table::INGEST_TENANT_SHARE),
            acknowledge: self.get(&table::INGEST_ACK),
            topics: self.get(&table::TELEMETRY_TOPICS),
            payload_policy: self.get(&table::PAYLOAD_POLICY),
            max_payload: self.get(&table::MAX_PAYLOAD),
            max_retained_payload: self.get(&table::MAX_RETAINED_PAYLOAD),
            max_payload_keys: self.get(&table::MAX_PAYLOAD_KEYS),
            max_topics: [self.get(&table::MAX_DEVICE_TOPICS), self.get(&table::MAX_TENANT_TOPICS)],
            max_timestamp_ahead: Duration::from_secs(self.get(&table::MAX_TIMESTAMP_AHEAD)),
        }
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}
