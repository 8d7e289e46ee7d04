//! The door for devices, whatever transport they come by: who may connect, what is accepted, what is stored.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use pocket_domain::{
    AccessRules, DeviceConnection, DeviceEventKind, DeviceId, DeviceStanding, DeviceToken, NewDeviceEvent,
    NewTelemetry, Payload, PayloadError, PayloadPolicy, Peer, Rejection, TenantId, Timestamp, TokenHash, TopicName,
};
use pocket_ports::{
    Clock, DeviceRepository, DeviceTokenHasher, Refused, StorageError, Submission, TelemetryIngest, TenantRepository,
};

use crate::activity::ActivityRecorder;
use crate::rule_reader::RuleReader;
use crate::telemetry::TelemetryRules;
use crate::throttle::LoginThrottle;

/// What a device shows when it connects.
#[derive(Clone, Copy)]
pub struct DeviceCredentials<'a> {
    /// The device's id; or its token, when there is no password.
    pub username: Option<&'a str>,
    /// The device's token.
    pub password: Option<&'a [u8]>,
    /// Where it connects from.
    pub source: IpAddr,
}

/// A device that proved itself, and what follows from that while it is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Its tenant, from the credential and from nothing else.
    pub tenant_id: TenantId,
    /// The device.
    pub device_id: DeviceId,
    /// When its token stops; the connection ends then.
    pub until: Option<Timestamp>,
    /// What payloads its tenant accepts.
    pub payload_policy: PayloadPolicy,
    /// Which topics it may use; `None`: nothing is ruled.
    pub rules: Option<Arc<AccessRules>>,
    token: TokenHash,
}

/// Why a device may not connect, or not stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// Unknown, deleted, a wrong token, an expired token: which, is not told to the device.
    #[error("not authorised")]
    BadCredentials,
    /// A right token of a device that a person disabled.
    #[error("the device is disabled")]
    Disabled,
    /// Too many failed attempts from this source or for this device.
    #[error("too many failed attempts")]
    TooManyAttempts,
    /// Storage cannot be asked at present.
    #[error("not available at present: {0}")]
    Unavailable(String),
}

/// Use cases of devices themselves. One for all transports of a process.
pub struct DeviceGateway {
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) access_rules: RuleReader,
    pub(crate) token_hasher: Arc<dyn DeviceTokenHasher>,
    pub(crate) ingest: Arc<dyn TelemetryIngest>,
    pub(crate) activity: Arc<ActivityRecorder>,
    pub(crate) rules: TelemetryRules,
    pub(crate) throttle: LoginThrottle,
    pub(crate) clock: Arc<dyn Clock>,
}

impl DeviceGateway {
    /// Checks what a device shows: `username = device id, password = token`, or `username = token` and no password.
    ///
    /// # Errors
    /// See [`AccessDenied`].
    pub async fn connect(&self, credentials: DeviceCredentials<'_>) -> Result<DeviceAccess, AccessDenied> {
        let source = credentials.source;
        let account = account_of(&credentials);
        let now = self.clock.now();
        self.throttle.check(source, &account, now).map_err(|_| AccessDenied::TooManyAttempts)?;
        let result = self.prove(&credentials).await;
        match &result {
            Ok(_) => self.throttle.succeeded(&account),
            Err(AccessDenied::BadCredentials) => self.throttle.failed(source, &account, now),
            Err(_) => {}
        }
        result
    }

    async fn prove(&self, credentials: &DeviceCredentials<'_>) -> Result<DeviceAccess, AccessDenied> {
        let (device, token) = parse(credentials).ok_or(AccessDenied::BadCredentials)?;
        let access = self.access(self.token_hasher.hash(&token)).await?;
        match device {
            Some(device) if device != access.device_id => Err(AccessDenied::BadCredentials),
            _ => Ok(access),
        }
    }

    /// Judges a connection anew, with the token it was opened with.
    ///
    /// # Errors
    /// See [`AccessDenied`]; the connection must be closed, but for `Unavailable`, when it is judged again later.
    pub async fn recheck(&self, access: &DeviceAccess) -> Result<DeviceAccess, AccessDenied> {
        let renewed = self.access(access.token).await?;
        if (renewed.tenant_id, renewed.device_id) == (access.tenant_id, access.device_id) {
            Ok(renewed)
        } else {
            Err(AccessDenied::BadCredentials)
        }
    }

    async fn access(&self, token: TokenHash) -> Result<DeviceAccess, AccessDenied> {
        let credential = self.devices.credential(token).await?.ok_or(AccessDenied::BadCredentials)?;
        let until = match DeviceStanding::judge(credential.enabled, credential.expires_at, self.clock.now()) {
            DeviceStanding::Active { until } => until,
            DeviceStanding::Disabled => return Err(AccessDenied::Disabled),
            DeviceStanding::Expired => return Err(AccessDenied::BadCredentials),
        };
        let tenant = self.tenants.get(credential.tenant_id).await?.ok_or(AccessDenied::BadCredentials)?;
        let rules = self.access_rules.read(tenant.id, credential.device_id).await?;
        Ok(DeviceAccess {
            tenant_id: tenant.id,
            device_id: credential.device_id,
            until,
            payload_policy: tenant.payload_policy,
            rules,
            token,
        })
    }

    /// Validates a message that a device published, and makes of it what is to be stored. `None`: it is fine, but this
    /// platform does not store its topic. A refusal is noted on the device.
    ///
    /// # Errors
    /// The message must be neither stored nor routed.
    pub fn accept(
        &self,
        access: &DeviceAccess,
        topic: &TopicName,
        payload: &[u8],
        received_at: Timestamp,
    ) -> Result<Option<NewTelemetry>, PayloadError> {
        let read = if self.rules.stores(topic) {
            Payload::read(payload, access.payload_policy, self.rules.max_payload).map(Some)
        } else {
            self.rules.check_size(payload).map(|()| None)
        };
        let read = read.inspect_err(|error| {
            let rejection = Rejection::new(received_at, topic.clone(), &error.to_string());
            self.activity.rejected(access.tenant_id, access.device_id, rejection);
        })?;
        Ok(read.map(|read| NewTelemetry {
            tenant_id: access.tenant_id,
            device_id: access.device_id,
            topic: topic.clone(),
            payload: read.payload,
            timestamp: read.own_time.unwrap_or(received_at),
            received_at,
        }))
    }

    /// Hands accepted messages over to be stored; see [`TelemetryIngest::submit`].
    ///
    /// # Errors
    /// The submission comes back when the queue is full or the platform is stopping.
    pub fn submit(&self, submission: Submission) -> Result<(), Refused> {
        self.ingest.submit(submission)
    }

    /// Waits until [`submit`](Self::submit) has room again.
    pub async fn room(&self) {
        self.ingest.room().await;
    }

    /// A connection of a device was opened. Every one is to be told, and its end too.
    pub fn connected(&self, access: &DeviceAccess, peer: Peer) {
        let connection = DeviceConnection { connected_at: self.clock.now(), peer };
        self.activity.connected(access.tenant_id, access.device_id, connection);
    }

    /// A connection of a device is gone, for a reason as [`DeviceEventKind::Disconnected`] has it. `is_last`: the device has
    /// no other connection to this process. Calls about one device must come in the order of what happened.
    pub fn disconnected(&self, access: &DeviceAccess, peer: Peer, reason: Cow<'static, str>, is_last: bool) {
        let event = NewDeviceEvent { at: self.clock.now(), kind: DeviceEventKind::Disconnected(reason), peer };
        self.activity.disconnected(access.tenant_id, access.device_id, event, is_last);
    }

    /// A device was heard of. Takes a lock that all connections share: once in some seconds a connection is enough.
    pub fn seen(&self, access: &DeviceAccess) {
        self.activity.seen(access.tenant_id, access.device_id, self.clock.now());
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Whose failures are counted. The source is part of it, so that nobody can lock a device out from elsewhere.
fn account_of(credentials: &DeviceCredentials<'_>) -> String {
    match (credentials.username, credentials.password) {
        (Some(username), Some(_)) => format!("{}/{:.64}", credentials.source, username),
        _ => credentials.source.to_string(),
    }
}

fn parse(credentials: &DeviceCredentials<'_>) -> Option<(Option<DeviceId>, DeviceToken)> {
    let username = credentials.username?;
    match credentials.password {
        Some(password) => {
            let token = DeviceToken::parse(std::str::from_utf8(password).ok()?).ok()?;
            Some((Some(username.parse().ok()?), token))
        }
        None => Some((None, DeviceToken::parse(username).ok()?)),
    }
}

impl From<StorageError> for AccessDenied {
    fn from(error: StorageError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
