//! The platform in one process: built from settings, stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_application::{
    ActivityOptions, Adapters, Application, CreatedAdmin, FirstAdmin, IngestOptions, Options, SlotLimits,
    TelemetryRules, ThrottleLimits, TimeOptions, TopicLimits, prepare,
};
use pocket_domain::TenantShare;
use pocket_ports::{Conflict, StorageError};

use crate::config::{FailureLimits, Settings};
use crate::metrics::{self, Metrics};
use crate::serving::{self, Serving};
use crate::transports::{Bound, Running};
use crate::{Failure, adapters};

/// A platform that serves.
pub struct Platform {
    application: Arc<Application>,
    pub(crate) transports: Running,
    api: Option<SocketAddr>,
    mqtt: Vec<(&'static str, SocketAddr)>,
    created_admin: Option<CreatedAdmin>,
    shutdown_timeout: Duration,
    _serving: Option<Serving>,
}

impl Platform {
    /// Opens the database, takes the ports, makes what a first start needs, and serves. Queries and the ingest run on the
    /// current tokio runtime, which must outlive the platform; the transports bring threads of their own.
    ///
    /// # Errors
    /// A port that is taken, a database or data directory that cannot be used, a part that is not built in.
    pub async fn start(settings: &Settings) -> Result<Self, Failure> {
        let mut adapters = adapters::open(settings).await?;
        if !settings.mode.serves_mqtt() {
            // The name of the node is that of the broker, which may run beside this process.
            adapters.storage.broker = None;
        }
        if let Err(failure) = claim_node(settings, &adapters).await {
            adapters.storage.health.close().await;
            return Err(failure);
        }
        let application = Application::start(adapters.clone(), options(settings));
        let mut metrics = Metrics::default();
        metrics.add(metrics::process);
        let ingest = Arc::clone(&application.ingest);
        metrics.add(move || metrics::ingest(ingest.stats()));
        let reads = application.reads.clone();
        metrics.add(move || metrics::reads(reads.stats()));
        let gateway = Arc::clone(&application.gateway);
        let refusing = Arc::clone(&gateway);
        metrics.add(move || metrics::refusals(refusing.refusals()));
        metrics.add(move || metrics::door(&gateway));
        let bridging = Arc::clone(&application);
        metrics.add(move || metrics::bridges(&bridging.bridges.states()));
        let activity = Arc::clone(&application.activity);
        metrics.add(move || metrics::activity(activity.stats()));
        let health = Arc::clone(&adapters.storage.health);
        metrics.add(move || metrics::storage(&*health));
        let retention = Arc::clone(&application.retention);
        metrics.add(move || metrics::retention(&retention));
        let bound = Bound::bind(settings, &application, metrics)
            .map_err(|failure| serving::or_runs_already(settings, failure))?;
        let serving = Serving::note(settings);
        let (api, mqtt) = (bound.api(), bound.mqtt());
        let created_admin = first_start(settings, &adapters).await?;
        // First of all, because it fails when another broker has the name of this one.
        bound.restore(settings).await?;
        if !mqtt.is_empty() {
            // Presence that a crash left behind.
            application.restart_presence().await.map_err(unusable)?;
        }
        let transports = bound.serve(settings, &application).await?;
        let shutdown_timeout = settings.shutdown_timeout;
        Ok(Self { application, transports, api, mqtt, created_admin, shutdown_timeout, _serving: serving })
    }

    /// Where REST listens, with the port that was found when any was asked for.
    pub fn api(&self) -> Option<SocketAddr> {
        self.api
    }

    /// Where MQTT listens over TCP, with the port that was found when any was asked for.
    pub fn mqtt(&self) -> Option<SocketAddr> {
        self.mqtt.iter().find(|(scheme, _)| *scheme == "mqtt").map(|(_, address)| *address)
    }

    /// Where MQTT listens, each address with its scheme: `mqtt`, `mqtts`, `ws` or `wss`.
    pub fn mqtt_listeners(&self) -> &[(&'static str, SocketAddr)] {
        &self.mqtt
    }

    /// The administrator whom this start made.
    pub fn created_admin(&self) -> Option<&CreatedAdmin> {
        self.created_admin.as_ref()
    }

    /// The use cases, for those who embed the platform.
    pub fn application(&self) -> &Arc<Application> {
        &self.application
    }

    /// Stops accepting, closes the sessions, stores what is queued, closes the database; all within the time of the settings,
    /// of which closing the sessions takes half at the most, and a moment for the end of the connections to the database.
    ///
    /// # Errors
    /// When something could not be stored in time. None of it was acknowledged as stored.
    pub async fn stop(self) -> Result<(), Failure> {
        let began = Instant::now();
        self.transports.stop(self.shutdown_timeout / 2).await;
        let left = self.shutdown_timeout.saturating_sub(began.elapsed());
        let report = self.application.shutdown(left).await;
        if report.not_stored.is_nothing() {
            return Ok(());
        }
        Err(Failure::Other(format!(
            "{} could not be stored within {} s; none of it was acknowledged as stored: clients send messages of QoS 1 and 2 \
             again, those of QoS 0 are lost",
            report.not_stored,
            self.shutdown_timeout.as_secs()
        )))
    }
}

/// Takes the name of the broker before any port: another broker that has the name has the ports too, and it is the reason.
async fn claim_node(settings: &Settings, adapters: &Adapters) -> Result<(), Failure> {
    let Some(broker) = &adapters.storage.broker else { return Ok(()) };
    broker.claim(&settings.node).await.map_err(|error| match error {
        StorageError::Conflict(Conflict::Node) => serving::runs_already(settings),
        error => unusable(error),
    })
}

async fn first_start(settings: &Settings, adapters: &Adapters) -> Result<Option<CreatedAdmin>, Failure> {
    let admin =
        FirstAdmin { username: settings.auth.admin_username.clone(), password: settings.auth.admin_password.clone() };
    prepare(adapters, admin, settings.ingest.payload_policy).await.map_err(unusable)
}

fn unusable(error: impl std::fmt::Display) -> Failure {
    Failure::while_doing("cannot prepare the database", error)
}

fn options(settings: &Settings) -> Options {
    let throttle = |limits: FailureLimits| ThrottleLimits {
        per_account: limits.per_account,
        per_source: limits.per_source,
        window: settings.auth.login_window,
    };
    Options {
        node: settings.node.clone(),
        ingest: IngestOptions {
            batch: settings.ingest.batch as usize,
            flush: settings.ingest.flush,
            queue: settings.ingest.queue as usize,
            queue_bytes: usize::try_from(settings.ingest.queue_bytes).unwrap_or(usize::MAX),
            share: TenantShare::of_percent(settings.ingest.tenant_share),
        },
        telemetry: TelemetryRules {
            topics: settings.ingest.topics.clone(),
            max_payload: settings.ingest.max_payload as usize,
            max_retained_payload: settings.ingest.max_retained_payload.max(settings.ingest.max_payload) as usize,
            max_keys: settings.ingest.max_payload_keys as usize,
            payload_policy: settings.ingest.payload_policy,
        },
        time: TimeOptions {
            prune_every: settings.database.prune_every,
            removal_patience: settings.database.removal_patience,
            max_ahead: settings.ingest.max_timestamp_ahead,
        },
        topics: {
            let [per_device, per_tenant] = settings.ingest.max_topics.map(|most| most as usize);
            TopicLimits { per_device, per_tenant }
        },
        activity: ActivityOptions { kept_events: settings.mqtt.device_events },
        reads: SlotLimits { places: settings.api.reads as usize, ..SlotLimits::READS },
        max_login_age: settings.auth.jwt_max_age,
        people_throttle: throttle(settings.auth.people),
        device_throttle: throttle(settings.auth.devices),
    }
}
