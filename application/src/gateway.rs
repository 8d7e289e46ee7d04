//! The door for devices, and for people who connect to the broker, whatever transport they come by: who may connect, what
//! is accepted, what is stored.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pocket_domain::{
    AccessRules, DeviceConnection, DeviceEventKind, DeviceLoginId, DeviceStanding, Excerpt, MaxAhead, NewDeviceEvent,
    NodeName, PayloadPolicy, Peer, Principal, TenantId, Timestamp, TokenHash, TopicRights,
};
use pocket_ports::{
    BrokerState, BrokerStore, Clock, DeviceCredential, DeviceRepository, DeviceTokenHasher, Refused, StorageError,
    Submission, TelemetryIngest, TenantRepository,
};

use crate::activity::ActivityRecorder;
use crate::credential_cache::{CredentialCache, Known};
use crate::fair_slots::{FairSlots, SlotLimits};
use crate::inside::InsidePasses;
use crate::people::{Pass, People};
use crate::policy;
use crate::refusals::RefusalLog;
use crate::rule_reader::RuleReader;
use crate::telemetry::TelemetryRules;
use crate::throttle::LoginThrottle;
use crate::timekeeper::Timekeeper;
use crate::topic_quota::TopicQuota;
use crate::visits::VisitLog;

/// What a client shows when it connects.
#[derive(Clone, Copy)]
pub struct ClientCredentials<'a> {
    /// The device's id or own user name, or the person's name; or the device's token, when there is no password.
    pub username: Option<&'a str>,
    /// The device's token or own password, or the person's bearer token or password.
    pub password: Option<&'a [u8]>,
    /// Where it connects from.
    pub source: IpAddr,
}

/// A client that proved whose it is, and what follows from that while it is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAccess {
    /// Its tenant, from the credential and from nothing else.
    pub tenant_id: TenantId,
    /// The device or person.
    pub principal: Principal,
    /// When the token stops; the connection ends then.
    pub until: Option<Timestamp>,
    /// What payloads its tenant accepts.
    pub payload_policy: PayloadPolicy,
    /// Which topics it may use; `None`: nothing is ruled.
    pub rules: Option<Arc<AccessRules>>,
    /// What it may do with topics at all.
    pub rights: TopicRights,
    pub(crate) proof: Proof,
}

impl ClientAccess {
    /// Whether both rest on the same credential of the same device or person, so that one judgement holds for both.
    pub fn rests_on_the_same(&self, other: &Self) -> bool {
        (self.tenant_id, self.principal, &self.proof) == (other.tenant_id, other.principal, &other.proof)
    }

    /// The same for a client that is away, whatever it showed when it was connected.
    #[must_use]
    pub fn of_absent(&self) -> Self {
        Self { proof: Proof::Absent, ..self.clone() }
    }
}

/// What the access rests on, to be judged by again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Token(TokenHash),
    /// A user name and password of a device's own.
    Login(DeviceLoginId),
    Pass(Pass),
    /// None is needed: it is the program that this runs in, for itself or for a device.
    Host,
    /// Nothing: the client is away.
    Absent,
}

/// Where credentials of devices came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialLookups {
    /// From what was known.
    pub from_cache: u64,
    /// From storage, one look-up each; there is another where access rules hold.
    pub from_storage: u64,
}

#[derive(Default)]
pub(crate) struct LookupCounters {
    from_cache: AtomicU64,
    from_storage: AtomicU64,
}

/// Why a client may not connect, or not stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// Unknown, deleted, a wrong token, an expired token: which, is not told to the client.
    #[error("not authorised")]
    BadCredentials,
    /// A right token of a device that a person disabled.
    #[error("the device is disabled")]
    Disabled,
    /// Too many failed attempts from this source or for this device or person.
    #[error("too many failed attempts")]
    TooManyAttempts,
    /// Storage cannot be asked at present.
    #[error("not available at present: {0}")]
    Unavailable(String),
}

/// Use cases of connected clients themselves. One for all transports of a process.
pub struct DeviceGateway {
    pub(crate) broker: Option<Arc<dyn BrokerStore>>,
    pub(crate) node: NodeName,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) access_rules: RuleReader,
    pub(crate) token_hasher: Arc<dyn DeviceTokenHasher>,
    pub(crate) known: Arc<CredentialCache>,
    pub(crate) lookups: LookupCounters,
    pub(crate) people: People,
    pub(crate) inside: InsidePasses,
    pub(crate) ingest: Arc<dyn TelemetryIngest>,
    pub(crate) activity: Arc<ActivityRecorder>,
    pub(crate) refusals: Arc<RefusalLog>,
    pub(crate) visits: Arc<VisitLog>,
    pub(crate) rules: TelemetryRules,
    pub(crate) throttle: LoginThrottle,
    pub(crate) max_ahead: MaxAhead,
    pub(crate) dated_at_arrival: AtomicU64,
    pub(crate) topics: Arc<TopicQuota>,
    pub(crate) time: Arc<Timekeeper>,
    /// Places for log-ins that are heard though others failed too often, shared by source addresses.
    pub(crate) throttled_proofs: FairSlots<IpAddr>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl DeviceGateway {
    /// Log-ins after too many that failed which are looked up at a time, and which may wait.
    pub(crate) const THROTTLED_PROOFS: SlotLimits =
        SlotLimits { places: 8, line: 4_096, lines: 16_384, patience: Duration::from_secs(10) };

    /// Checks what a client shows. A device: its token, as the password or the user name, beside its id or anything that is not
    /// another device's; or its own user name and password. A person: their name, and a bearer token or their password.
    ///
    /// # Errors
    /// See [`AccessDenied`].
    pub async fn connect(&self, credentials: ClientCredentials<'_>) -> Result<ClientAccess, AccessDenied> {
        if let Some(access) = self.access_inside(&credentials).await {
            return access;
        }
        // The device's id or the person's name; of a client that shows a token alone, the token.
        let account = credentials.username.map(str::as_bytes);
        let attempt = self.throttle.begin_unguessable(credentials.source, account, self.clock.now());
        let Ok(attempt) = attempt else { return self.prove_although_throttled(&credentials).await };
        let result = self.prove(&credentials).await;
        match &result {
            Ok(_) => attempt.succeeded(),
            // It stays counted.
            Err(AccessDenied::BadCredentials) => drop(attempt),
            Err(_) => attempt.withdrawn(),
        }
        if let (Ok(access), Some(name)) = (&result, credentials.username)
            && let Principal::User(user) = access.principal
        {
            let source = credentials.source;
            tracing::info!(name = %Excerpt(name), %user, tenant = %access.tenant_id, %source, "logged in over MQTT");
        }
        result
    }

    /// Judges a connection anew, with the credentials it was opened with.
    ///
    /// # Errors
    /// See [`AccessDenied`]; the connection must be closed, but for `Unavailable`, when it is judged again later.
    pub async fn recheck(&self, access: &ClientAccess) -> Result<ClientAccess, AccessDenied> {
        let renewed = match access.proof {
            Proof::Token(token) => self.access_from_storage(token).await?,
            Proof::Login(login) => self.recheck_login(access, login).await?,
            Proof::Absent => return Err(AccessDenied::BadCredentials),
            Proof::Host => return self.host_access(access.tenant_id, access.principal.device()).await,
            Proof::Pass(pass) => {
                self.people.recheck(pass, self.clock.now()).await?;
                return self.access_of_person(pass).await;
            }
        };
        if (renewed.tenant_id, renewed.principal) == (access.tenant_id, access.principal) {
            Ok(renewed)
        } else {
            Err(AccessDenied::BadCredentials)
        }
    }

    /// The access that a token gives, from what is known of it or from storage.
    pub(crate) async fn access(&self, token: TokenHash) -> Result<ClientAccess, AccessDenied> {
        match self.known.get(token) {
            Some(known) => {
                self.lookups.from_cache.fetch_add(1, Ordering::Relaxed);
                self.judge(Proof::Token(token), known)
            }
            None => self.access_from_storage(token).await,
        }
    }

    /// One look-up, and another for the rules where any hold.
    async fn access_from_storage(&self, token: TokenHash) -> Result<ClientAccess, AccessDenied> {
        self.lookups.from_storage.fetch_add(1, Ordering::Relaxed);
        let epoch = self.known.epoch();
        let credential = self.devices.credential(token).await?.ok_or(AccessDenied::BadCredentials)?;
        let rules = self.rules_of(&credential).await?;
        let known = Known { credential, rules };
        self.known.keep(epoch, token, known.clone());
        self.judge(Proof::Token(token), known)
    }

    /// The rules that hold for a device, where any do.
    pub(crate) async fn rules_of(
        &self,
        credential: &DeviceCredential,
    ) -> Result<Option<Arc<AccessRules>>, AccessDenied> {
        match credential.is_ruled {
            true => Ok(self.access_rules.read(credential.tenant_id, credential.device_id).await?),
            false => Ok(None),
        }
    }

    pub(crate) fn judge(&self, proof: Proof, Known { credential, rules }: Known) -> Result<ClientAccess, AccessDenied> {
        let until = match DeviceStanding::judge(credential.enabled, credential.expires_at, self.clock.now()) {
            DeviceStanding::Active { until } => until,
            DeviceStanding::Disabled => return Err(AccessDenied::Disabled),
            DeviceStanding::Expired => return Err(AccessDenied::BadCredentials),
        };
        Ok(ClientAccess {
            tenant_id: credential.tenant_id,
            principal: Principal::Device(credential.device_id),
            until,
            payload_policy: credential.payload_policy,
            rules,
            rights: TopicRights::TENANT,
            proof,
        })
    }

    /// Where credentials of devices came from since the start.
    pub fn lookups(&self) -> CredentialLookups {
        CredentialLookups {
            from_cache: self.lookups.from_cache.load(Ordering::Relaxed),
            from_storage: self.lookups.from_storage.load(Ordering::Relaxed),
        }
    }

    pub(crate) async fn access_of_person(&self, pass: Pass) -> Result<ClientAccess, AccessDenied> {
        let tenant = self.tenants.get(pass.tenant_id).await?.ok_or(AccessDenied::BadCredentials)?;
        Ok(ClientAccess {
            tenant_id: tenant.id,
            principal: Principal::User(pass.user_id),
            until: pass.until,
            payload_policy: tenant.payload_policy,
            rules: self.access_rules.read_for_person(tenant.id, pass.user_id).await?,
            rights: policy::topic_rights(pass.role),
            proof: Proof::Pass(pass),
        })
    }

    /// What holds for a client that is away, without its credentials: what waits for it is judged by that. `None` when
    /// nobody is there to come back: the device or the tenant is gone.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn access_of(
        &self,
        tenant: TenantId,
        principal: Principal,
    ) -> Result<Option<ClientAccess>, StorageError> {
        let Principal::Device(device_id) = principal else { return Ok(None) };
        let (Some(tenant), Some(_)) = (self.tenants.get(tenant).await?, self.devices.get(tenant, device_id).await?)
        else {
            return Ok(None);
        };
        Ok(Some(ClientAccess {
            tenant_id: tenant.id,
            principal,
            until: None,
            payload_policy: tenant.payload_policy,
            rules: self.access_rules.read(tenant.id, device_id).await?,
            rights: TopicRights::TENANT,
            proof: Proof::Absent,
        }))
    }

    /// The name of the broker.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// What the broker of this node left when it ended; `None` when storage keeps no such state, so that none of it needs
    /// to be handed over with [`submit`](Self::submit).
    ///
    /// # Errors
    /// When storage fails, and when another broker of the same name is running.
    pub async fn broker_state(&self) -> Result<Option<BrokerState>, StorageError> {
        match &self.broker {
            Some(broker) => {
                broker.claim(&self.node).await?;
                self.time.load().await?;
                broker.load(&self.node, self.time.steady()).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Hands accepted messages over to be stored; see [`TelemetryIngest::submit`].
    ///
    /// # Errors
    /// The submission comes back when the queue is full or the platform is stopping.
    pub fn submit(&self, submission: Submission) -> Result<(), Refused> {
        self.ingest.submit(submission)
    }

    /// Waits until [`submit`](Self::submit) has room for a tenant again.
    pub async fn room(&self, tenant: Option<TenantId>) {
        self.ingest.room(tenant).await;
    }

    /// A connection of a device was opened. Every one is to be told, and its end too. Of people no presence is kept.
    pub fn connected(&self, access: &ClientAccess, peer: Peer) {
        self.visits.opened(access.tenant_id, access.principal, &peer);
        let Some(device) = access.principal.device() else { return };
        let connection = DeviceConnection { connected_at: self.clock.now(), peer };
        self.activity.connected(access.tenant_id, device, connection);
    }

    /// A connection of a device is gone, for a reason as [`DeviceEventKind::Disconnected`] has it. `is_last`: the device has
    /// no other connection to this process. Calls about one device must come in the order of what happened.
    pub fn disconnected(&self, access: &ClientAccess, peer: Peer, reason: Cow<'static, str>, is_last: bool) {
        self.visits.closed(access.tenant_id, access.principal, &peer, &reason);
        let Some(device) = access.principal.device() else { return };
        let event = NewDeviceEvent { at: self.clock.now(), kind: DeviceEventKind::Disconnected(reason), peer };
        self.activity.disconnected(access.tenant_id, device, event, is_last);
    }

    /// A device was heard of. Takes a lock that all connections share: once in some seconds a connection is enough.
    pub fn seen(&self, access: &ClientAccess) {
        if let Some(device) = access.principal.device() {
            self.activity.seen(access.tenant_id, device, self.clock.now());
        }
    }

    /// The present moment, as the wall clock shows it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The present moment for intervals, such as how long a session has been away or a message may wait: it goes on by the time
    /// that passed, whatever the wall clock does, also from one process of this node to the next.
    pub fn steady_now(&self) -> Timestamp {
        self.time.steady()
    }
}

impl From<StorageError> for AccessDenied {
    fn from(error: StorageError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
