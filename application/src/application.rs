//! All use cases of a process together, with the tasks that run beside them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use pocket_domain::{MaxAhead, NodeName};
use pocket_ports::{
    Clock, DeviceSessions, DeviceTokenHasher, Entropy, PasswordHasher, Storage, StorageError, TelemetryIngest,
    TokenIssuer,
};

use crate::access_rules::AccessRuleService;
use crate::access_watch::AccessWatch;
use crate::activity::{ActivityOptions, ActivityRecorder};
use crate::auth::AuthService;
use crate::bridges::BridgeService;
use crate::dead_letters::DeadLetterService;
use crate::device_events::DeviceEventService;
use crate::device_sessions::DeviceSessionService;
use crate::devices::DeviceService;
use crate::fair_slots::{FairSlots, SlotLimits};
use crate::gateway::{DeviceGateway, LookupCounters};
use crate::hashing::Hashing;
use crate::ingest::{BatchingIngest, IngestOptions, IngestStore, NotStored};
use crate::inside::InsidePasses;
use crate::passwords::KnownPasswords;
use crate::people::People;
use crate::refusals::RefusalLog;
use crate::retention::{RetentionStats, RetentionTask, TimeOptions};
use crate::rule_reader::RuleReader;
use crate::rules_of_topics::RulesOfTopics;
use crate::scope::Scope;
use crate::telemetry::{TelemetryRules, TelemetryService};
use crate::tenants::TenantService;
use crate::throttle::{LoginThrottle, ThrottleLimits};
use crate::timekeeper::Timekeeper;
use crate::topic_quota::{TopicLimits, TopicQuota};
use crate::topic_rules::TopicRuleService;
use crate::users::UserService;
use crate::visits::VisitLog;

/// What the application runs on.
#[derive(Clone)]
pub struct Adapters {
    /// The database.
    pub storage: Storage,
    /// Hashes people's passwords.
    pub password_hasher: Arc<dyn PasswordHasher>,
    /// Signs bearer tokens.
    pub token_issuer: Arc<dyn TokenIssuer>,
    /// Hashes device tokens.
    pub token_hasher: Arc<dyn DeviceTokenHasher>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names this process among those that share the database, as the owner of its broker's state.
    pub node: NodeName,
    /// When batches are written.
    pub ingest: IngestOptions,
    /// What is stored.
    pub telemetry: TelemetryRules,
    /// Places for reads whose work grows with what is stored.
    pub reads: SlotLimits,
    /// What happens by time.
    pub time: TimeOptions,
    /// The most topics of devices and tenants.
    pub topics: TopicLimits,
    /// Who records what is heard of devices.
    pub activity: ActivityOptions,
    /// How long after a log-in its bearer tokens are renewed.
    pub max_login_age: Duration,
    /// How many failed log-ins of people are heard.
    pub people_throttle: ThrottleLimits,
    /// How many failed log-ins of devices are heard.
    pub device_throttle: ThrottleLimits,
}

/// What became of the work that was left at shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// What could not be stored before the deadline.
    pub not_stored: NotStored,
}

/// All use cases.
pub struct Application {
    /// Tenants.
    pub tenants: TenantService,
    /// People.
    pub users: UserService,
    /// Devices, as people see them.
    pub devices: DeviceService,
    /// What happened to the connections of devices.
    pub device_events: DeviceEventService,
    /// Sessions of devices with brokers.
    pub device_sessions: DeviceSessionService,
    /// Which topics devices may use.
    pub access_rules: AccessRuleService,
    /// How tenants name what is published at topics.
    pub topic_rules: TopicRuleService,
    /// Logging in.
    pub auth: AuthService,
    /// Telemetry, as people see it.
    pub telemetry: TelemetryService,
    /// Messages that the database refused.
    pub dead_letters: DeadLetterService,
    /// Bridges to other brokers.
    pub bridges: BridgeService,
    /// The door for devices.
    pub gateway: Arc<DeviceGateway>,
    /// Places for reads whose work grows with what is stored.
    pub reads: FairSlots,
    /// The writer of telemetry.
    pub ingest: Arc<BatchingIngest>,
    /// What is heard of devices.
    pub activity: Arc<ActivityRecorder>,
    /// What waits to be removed.
    pub retention: Arc<RetentionStats>,
    /// The database.
    pub storage: Storage,
    clock: Arc<dyn Clock>,
    watch: Arc<AccessWatch>,
    time: Arc<Timekeeper>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Options {
    /// For how long bearer tokens of a log-in are renewed, where nothing else is chosen.
    pub const MAX_LOGIN_AGE: Duration = Duration::from_secs(30 * 86_400);
}

impl Application {
    /// The time beyond the deadline of a shutdown for the last words to the database, and for its end.
    pub const CLOSING: Duration = Duration::from_secs(2);

    /// Builds the use cases and starts the writer and the recorder on the current tokio runtime.
    pub fn start(adapters: Adapters, options: Options) -> Arc<Self> {
        let Adapters { storage, password_hasher, token_issuer, token_hasher, entropy, clock } = adapters;
        let store = IngestStore {
            write: Arc::clone(&storage.write),
            telemetry: Arc::clone(&storage.telemetry),
            // A process without a broker may share the database with the broker that has the name.
            node: storage.broker.is_some().then(|| options.node.clone()),
        };
        let ingest = Arc::new(BatchingIngest::start(store, Arc::clone(&clock), options.ingest));
        let activity =
            Arc::new(ActivityRecorder::new(Arc::clone(&storage.presence), options.node.clone(), options.activity));
        let watch = Arc::<AccessWatch>::default();
        let reads = FairSlots::new(options.reads);
        let hashing = Hashing::new(password_hasher);
        let people_throttle = Arc::new(LoginThrottle::new(options.people_throttle));
        let time = Timekeeper::new(Arc::clone(&clock), Arc::clone(&storage.telemetry), options.node.clone());
        let time = Arc::new(time);
        let topics = Arc::new(TopicQuota::new(options.topics));
        let retention = Arc::<RetentionStats>::default();
        let removal =
            RetentionTask::new(Arc::clone(&storage.telemetry), Arc::clone(&time), options.time, Arc::clone(&retention));
        let scope = Scope::new(Arc::clone(&storage.tenants));
        let topic_rules = Arc::new(RulesOfTopics::new(Arc::clone(&storage.topic_rules)));
        let recorder = Arc::clone(&activity);
        let refusals = Arc::<RefusalLog>::default();
        let summary = Arc::clone(&refusals);
        let visits = Arc::<VisitLog>::default();
        let of_visits = Arc::clone(&visits);
        let follower = (Arc::clone(&watch), Arc::clone(&storage.access_log));
        let tasks = vec![
            tokio::spawn(async move { recorder.run().await }),
            tokio::spawn(async move { summary.run().await }),
            tokio::spawn(async move { of_visits.run().await }),
            tokio::spawn(async move { follower.0.follow(follower.1).await }),
            tokio::spawn(removal.run()),
            tokio::spawn(Arc::clone(&topics).run(Arc::clone(&storage.telemetry))),
        ];
        Arc::new(Self {
            tenants: TenantService {
                tenants: Arc::clone(&storage.tenants),
                payload_policy: options.telemetry.payload_policy,
                watch: Arc::clone(&watch),
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
            },
            users: UserService {
                scope: scope.clone(),
                tenants: Arc::clone(&storage.tenants),
                users: Arc::clone(&storage.users),
                watch: Arc::clone(&watch),
                hashing: hashing.clone(),
                throttle: Arc::clone(&people_throttle),
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
            },
            devices: DeviceService {
                scope: scope.clone(),
                devices: Arc::clone(&storage.devices),
                logins: Arc::clone(&storage.device_logins),
                token_hasher: Arc::clone(&token_hasher),
                hashing: hashing.clone(),
                watch: Arc::clone(&watch),
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
            },
            device_events: DeviceEventService {
                scope: scope.clone(),
                devices: Arc::clone(&storage.devices),
                presence: Arc::clone(&storage.presence),
            },
            device_sessions: DeviceSessionService {
                scope: scope.clone(),
                devices: Arc::clone(&storage.devices),
                store: storage.sessions.clone(),
                watch: Arc::clone(&watch),
                node: options.node.clone(),
            },
            access_rules: AccessRuleService {
                scope: scope.clone(),
                devices: Arc::clone(&storage.devices),
                rules: Arc::clone(&storage.access_rules),
                watch: Arc::clone(&watch),
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
            },
            topic_rules: TopicRuleService {
                scope: scope.clone(),
                rules: Arc::clone(&topic_rules),
                devices: Arc::clone(&storage.devices),
                telemetry: Arc::clone(&storage.telemetry),
            },
            bridges: BridgeService {
                tenants: Arc::clone(&storage.tenants),
                devices: Arc::clone(&storage.devices),
                token_hasher: Arc::clone(&token_hasher),
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
                monitor: std::sync::OnceLock::new(),
            },
            auth: AuthService {
                tenants: Arc::clone(&storage.tenants),
                users: Arc::clone(&storage.users),
                watch: Arc::clone(&watch),
                hashing: hashing.clone(),
                issuer: Arc::clone(&token_issuer),
                throttle: Arc::clone(&people_throttle),
                max_login_age: options.max_login_age,
                clock: Arc::clone(&clock),
                entropy,
            },
            dead_letters: DeadLetterService {
                scope: scope.clone(),
                devices: Arc::clone(&storage.devices),
                letters: Arc::clone(&storage.dead_letters),
            },
            telemetry: TelemetryService {
                scope,
                tenants: Arc::clone(&storage.tenants),
                devices: Arc::clone(&storage.devices),
                store: Arc::clone(&storage.telemetry),
                topic_rules,
                ingest: Arc::clone(&ingest) as Arc<dyn TelemetryIngest>,
                rules: options.telemetry.clone(),
                topics: Arc::clone(&topics),
                reads: reads.clone(),
                max_ahead: MaxAhead::new(options.time.max_ahead),
                time: Arc::clone(&time),
                clock: Arc::clone(&clock),
            },
            retention,
            gateway: Arc::new(DeviceGateway {
                broker: storage.broker.clone(),
                node: options.node,
                devices: Arc::clone(&storage.devices),
                tenants: Arc::clone(&storage.tenants),
                access_rules: RuleReader::new(Arc::clone(&storage.access_rules)),
                token_hasher,
                known: watch.known(),
                lookups: LookupCounters::default(),
                people: People {
                    tenants: Arc::clone(&storage.tenants),
                    users: Arc::clone(&storage.users),
                    device_logins: Arc::clone(&storage.device_logins),
                    issuer: token_issuer,
                    hashing,
                    throttle: people_throttle,
                    passwords: KnownPasswords::default(),
                },
                inside: InsidePasses::default(),
                ingest: Arc::clone(&ingest) as Arc<dyn TelemetryIngest>,
                activity: Arc::clone(&activity),
                refusals,
                visits,
                rules: options.telemetry,
                throttle: LoginThrottle::new(options.device_throttle),
                max_ahead: MaxAhead::new(options.time.max_ahead),
                dated_at_arrival: AtomicU64::new(0),
                topics: Arc::clone(&topics),
                time: Arc::clone(&time),
                throttled_proofs: FairSlots::new(DeviceGateway::THROTTLED_PROOFS),
                clock: Arc::clone(&clock),
            }),
            reads,
            ingest,
            activity,
            storage,
            clock,
            watch,
            time,
            tasks,
        })
    }

    /// To be called before devices are let in: those that an earlier process of this node left as online are not.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn restart_presence(&self) -> Result<(), StorageError> {
        self.activity.restart(self.clock.now()).await
    }

    /// Whether messages can be stored now, as far as that can be told.
    ///
    /// # Errors
    /// `Unavailable` with the reason, for who watches over the platform.
    pub async fn ready(&self) -> Result<(), StorageError> {
        self.storage.health.check().await?;
        // Some faults show only when something is written: a disk that is full, for example.
        self.ingest.trouble().map_or(Ok(()), |cause| Err(StorageError::Unavailable(cause)))
    }

    /// Names the connections that must hear of revoked access.
    pub fn attach_sessions(&self, sessions: Arc<dyn DeviceSessions>) {
        self.watch.attach(sessions);
    }

    /// Stores what is queued, until the deadline, then ends all connections to the database, which may take
    /// [`CLOSING`](Self::CLOSING) more. Transports must be stopped before.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let until = Instant::now() + deadline;
        let not_stored = self.ingest.drain(deadline).await;
        let left = || until.saturating_duration_since(Instant::now()).max(Self::CLOSING / 2);
        // Presence of the connections that were just closed. A batch that the recorder is at goes first, so it still runs.
        if tokio::time::timeout(left(), self.activity.flush()).await.is_err() {
            tracing::warn!("presence of devices could not be recorded in time");
        }
        for task in &self.tasks {
            task.abort();
        }
        if let Ok(Err(error)) = tokio::time::timeout(left() / 2, self.time.end()).await {
            tracing::debug!(%error, "the next process will not know what the clock showed");
        }
        if tokio::time::timeout(left(), self.storage.health.close()).await.is_err() {
            tracing::warn!("the database did not close in time");
        }
        ShutdownReport { not_stored }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
