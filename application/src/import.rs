//! Storing a history that comes from somewhere else, as often as one likes: what is there is not stored again.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use pocket_domain::{
    DeviceId, MaxAhead, NewTelemetry, OwnTime, Payload, PayloadPolicy, Retention, Tenant, TenantId, Timestamp,
    TopicName,
};
use pocket_ports::{Clock, DeviceRepository, Import, Imported, TelemetryStore, TenantRepository};

use crate::fair_slots::{FairSlot, FairSlots};
use crate::policy::Action;
use crate::telemetry::{TelemetryRules, TelemetryService};
use crate::topic_quota::TopicQuota;
use crate::{Caller, Error};

/// A row of a text that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// The device.
    pub device_id: DeviceId,
    /// Where it was published.
    pub topic: TopicName,
    /// The text of the payload.
    pub payload: String,
    /// The time it is about; absent, the payload's own.
    pub timestamp: Option<Timestamp>,
    /// When it arrived; absent or in the future, now.
    pub received_at: Option<Timestamp>,
}

/// What is wrong with a line of a text that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongLine {
    /// The line, counted from 1.
    pub line: u64,
    /// The field or column, where one is to blame.
    pub field: Option<String>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl WrongLine {
    /// A line that is wrong as a whole.
    pub fn whole(line: u64, message: impl Into<String>) -> Self {
        Self { line, field: None, message: message.into() }
    }

    /// A line with a wrong field.
    pub fn field(line: u64, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line, field: Some(field.into()), message: message.into() }
    }

    /// The line, and the field of it: `line 17, deviceId`.
    pub fn place(&self) -> String {
        match &self.field {
            Some(field) => format!("line {}, {field}", self.line),
            None => format!("line {}", self.line),
        }
    }
}

impl fmt::Display for WrongLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for WrongLine {}

/// Why a batch was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A line is wrong.
    #[error(transparent)]
    Line(#[from] WrongLine),
    /// Something else came in the way.
    #[error(transparent)]
    Other(#[from] Error),
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ImportSummary {
    /// Rows of all batches that are stored: the sum of the others.
    pub rows: u64,
    /// Rows that are new.
    pub stored: u64,
    /// Rows that were there.
    pub present: u64,
}

/// What an import runs on.
#[derive(Clone)]
pub struct ImportPorts {
    /// Tenants.
    pub tenants: Arc<dyn TenantRepository>,
    /// Devices.
    pub devices: Arc<dyn DeviceRepository>,
    /// The history.
    pub store: Arc<dyn TelemetryStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Stores rows of one tenant, a batch at a time. Messages are stored as if they had been posted, and are not routed to
/// subscribers.
pub struct Importer {
    ports: ImportPorts,
    tenant: TenantId,
    policy: PayloadPolicy,
    retention: Retention,
    max_payload: usize,
    /// Places for looking a batch up; `None` for whoever has the database in their hands.
    reads: Option<FairSlots>,
    /// How many topics there may be, for the same.
    topics: Option<Arc<TopicQuota>>,
    /// How far ahead the time of a row may be, for those who have no more than the API.
    max_ahead: Option<MaxAhead>,
    /// Devices that were there.
    known: HashSet<DeviceId>,
    summary: ImportSummary,
}

impl Importer {
    /// Rows of a batch, which is stored whole or not at all.
    pub const BATCH: usize = 1_000;
    /// The most devices that are remembered.
    const MOST_KNOWN: usize = 65_536;

    /// Imports without asking who wants it, for whoever has the database in their hands. Payloads are of at most so many bytes.
    ///
    /// # Errors
    /// `NotFound` for an unknown tenant; those of storage.
    pub async fn new(ports: ImportPorts, tenant: TenantId, max_payload: usize) -> Result<Self, Error> {
        let Tenant { payload_policy: policy, retention, .. } =
            ports.tenants.get(tenant).await?.ok_or(Error::NotFound)?;
        Ok(Self {
            ports,
            tenant,
            policy,
            retention,
            max_payload,
            reads: None,
            topics: None,
            max_ahead: None,
            known: HashSet::new(),
            summary: ImportSummary::default(),
        })
    }

    /// How far it is.
    pub fn summary(&self) -> ImportSummary {
        self.summary
    }

    /// A place for heavy work of the tenant, where there is a bound of it; to be given back soon.
    ///
    /// # Errors
    /// `Internal`, which should not happen.
    pub async fn place(&self) -> Result<Option<FairSlot>, Error> {
        match &self.reads {
            Some(reads) => reads.go_on(self.tenant).await.map(Some),
            None => Ok(None),
        }
    }

    /// The most bytes of a payload.
    pub fn max_payload(&self) -> usize {
        self.max_payload
    }

    /// Stores those rows of a batch that are not there.
    ///
    /// # Errors
    /// The first line that is wrong, or what came in the way; then nothing of the batch is stored.
    pub async fn store(&mut self, batch: Vec<ImportRow>) -> Result<(), ImportError> {
        let now = self.ports.clock.now();
        let mut lines = Vec::with_capacity(batch.len());
        let mut messages = Vec::with_capacity(batch.len());
        for row in batch {
            lines.push(row.line);
            messages.push(self.message(row, now).await?);
        }
        let _place = self.place().await?;
        let imported = match self.ports.store.import(messages.into()).await.map_err(Error::from)? {
            Import::Done(imported) => imported,
            Import::DeviceGone(index) => {
                return Err(no_device(lines.get(index).copied().unwrap_or_default()).into());
            }
        };
        let stored = imported.iter().filter(|one| matches!(one, Imported::Stored(_))).count() as u64;
        self.summary.rows += imported.len() as u64;
        self.summary.stored += stored;
        self.summary.present += imported.len() as u64 - stored;
        Ok(())
    }

    async fn message(&mut self, row: ImportRow, now: Timestamp) -> Result<NewTelemetry, ImportError> {
        let wrong = |field: &str, message: String| ImportError::from(WrongLine::field(row.line, field, message));
        if row.topic.is_system() {
            return Err(wrong("topic", "must not begin with $".into()));
        }
        if !self.is_known(row.device_id).await? {
            return Err(no_device(row.line).into());
        }
        let read = Payload::read_again(row.payload.as_bytes(), self.policy, self.max_payload)
            .map_err(|error| wrong("payload", error.to_string()))?;
        let own_time = match read.own_time {
            Some(OwnTime::At(time)) => Some(time),
            _ => None,
        };
        // That of its arrival would be another each time, and the row never found again.
        let missing = || wrong("timestamp", "is needed when the payload has no time of its own".into());
        let timestamp = row.timestamp.or(own_time).ok_or_else(missing)?;
        if let Some(Err(ahead)) = self.max_ahead.map(|most| most.check(timestamp, now)) {
            return Err(wrong("timestamp", ahead.to_string()));
        }
        if let Some(topics) = &self.topics {
            let full = topics.admit(self.tenant, row.device_id, &row.topic);
            full.map_err(|full| wrong("topic", full.to_string()))?;
        }
        let received_at = row.received_at.unwrap_or(now).min(now);
        let mut message = NewTelemetry {
            tenant_id: self.tenant,
            device_id: row.device_id,
            timestamp,
            topic: row.topic,
            payload: read.payload,
            received_at,
        };
        // What is asked for is not removed at once: a row that is too old by all that it says counts from now.
        if self.retention.kept_from(now).is_some_and(|from| message.ages_from() < from) {
            message.received_at = now;
        }
        Ok(message)
    }

    async fn is_known(&mut self, device: DeviceId) -> Result<bool, Error> {
        if self.known.contains(&device) {
            return Ok(true);
        }
        let is_known = self.ports.devices.get(self.tenant, device).await?.is_some();
        if is_known {
            if self.known.len() >= Self::MOST_KNOWN {
                self.known.clear();
            }
            self.known.insert(device);
        }
        Ok(is_known)
    }
}

fn no_device(line: u64) -> WrongLine {
    WrongLine::field(line, "deviceId", "is not a device of this tenant")
}

impl TelemetryService {
    /// Begins to import rows into a tenant's history.
    ///
    /// # Errors
    /// `Forbidden` for who may not store telemetry; `NotFound` for an unknown tenant.
    pub async fn import(&self, caller: &Caller, tenant: Option<TenantId>) -> Result<Importer, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::WriteTelemetry).await?;
        let TelemetryRules { max_payload, .. } = self.rules;
        let ports = ImportPorts {
            tenants: Arc::clone(&self.tenants),
            devices: Arc::clone(&self.devices),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
        };
        let importer = Importer::new(ports, tenant, max_payload).await?;
        Ok(Importer {
            reads: Some(self.reads.clone()),
            topics: Some(Arc::clone(&self.topics)),
            max_ahead: Some(self.max_ahead),
            ..importer
        })
    }
}
