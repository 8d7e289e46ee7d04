//! Telemetry: posted by people's programs, and read back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pocket_domain::{
    DeviceId, Invalid, MaxAhead, NewTelemetry, Payload, PayloadError, PayloadPolicy, ReadPayload, Readings,
    TelemetryId, TelemetryPage, TelemetryQuery, TenantId, Timestamp, TooFarAhead, TopicFilter, TopicName,
};
use pocket_ports::{
    Clock, DeviceRepository, Fate, Refused, Settled, Submission, TelemetryIngest, TelemetryStore, TenantRepository,
};

use crate::fair_slots::FairSlots;
use crate::policy::{Action, permit};
use crate::rules_of_topics::RulesOfTopics;
use crate::scope::Scope;
use crate::timekeeper::Timekeeper;
use crate::topic_quota::TopicQuota;
use crate::{Caller, Error};

/// What is stored of what devices publish.
#[derive(Clone, Debug)]
pub struct TelemetryRules {
    /// Topics that are stored; none: a pure broker.
    pub topics: Vec<TopicFilter>,
    /// The most bytes of a payload.
    pub max_payload: usize,
    /// The most bytes of the payload of a retained message; one that is larger than `max_payload` is not stored.
    pub max_retained_payload: usize,
    /// The most keys of a payload that is stored, those inside arrays aside.
    pub max_keys: usize,
    /// What payloads a tenant accepts that is added without a policy of its own.
    pub payload_policy: PayloadPolicy,
}

impl TelemetryRules {
    /// The most bytes of a payload as it is stored, which is longer than it came where it is no JSON. Storage keeps no more
    /// together with other messages.
    pub const MAX_STORED: usize = 32 << 20;

    /// Reads a payload that is to be stored, with the readings of an array apart.
    pub(crate) fn read_all(&self, payload: &[u8], policy: PayloadPolicy) -> Result<Readings, PayloadError> {
        let readings = Payload::read_all(payload, policy, self.max_payload)?;
        for read in std::iter::once(&readings.first).chain(&readings.more) {
            let bytes = read.payload.as_str().len();
            if bytes > Self::MAX_STORED {
                return Err(PayloadError::TooLarge { bytes, allowed: Self::MAX_STORED });
            }
            if read.keys > self.max_keys {
                return Err(PayloadError::TooManyKeys { keys: read.keys, allowed: self.max_keys });
            }
        }
        Ok(readings)
    }

    /// Whether messages on a topic are stored. Topics that begin with `$` never are.
    pub fn stores(&self, topic: &TopicName) -> bool {
        !topic.is_system() && self.topics.iter().any(|filter| filter.as_str() == "#" || filter.matches(topic.as_str()))
    }

    pub(crate) fn check_size(&self, payload: &[u8]) -> Result<(), PayloadError> {
        if payload.len() > self.max_payload {
            return Err(PayloadError::TooLarge { bytes: payload.len(), allowed: self.max_payload });
        }
        Ok(())
    }
}

/// A message that somebody posts for a device.
#[derive(Clone, Debug)]
pub struct TelemetryInput {
    /// The device.
    pub device_id: DeviceId,
    /// Where.
    pub topic: TopicName,
    /// What: the text of one JSON value.
    pub payload: String,
    /// The time it is about; absent, the payload's own, or that of its arrival.
    pub timestamp: Option<Timestamp>,
}

/// Use cases of telemetry.
pub struct TelemetryService {
    pub(crate) scope: Scope,
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) store: Arc<dyn TelemetryStore>,
    pub(crate) topic_rules: Arc<RulesOfTopics>,
    pub(crate) ingest: Arc<dyn TelemetryIngest>,
    pub(crate) rules: TelemetryRules,
    pub(crate) reads: FairSlots,
    pub(crate) topics: Arc<TopicQuota>,
    pub(crate) max_ahead: MaxAhead,
    pub(crate) time: Arc<Timekeeper>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl TelemetryService {
    /// Whether a person may store telemetry at all.
    ///
    /// # Errors
    /// `Forbidden` when the role may not.
    pub fn permit_writing(&self, caller: &Caller) -> Result<(), Error> {
        permit(caller, Action::WriteTelemetry)
    }

    /// The most messages of one call.
    pub const MAX_ENTRIES: usize = 1_000;
    /// The most rows that these may become.
    pub const MAX_ROWS: usize = 10_000;
    /// How long a full queue is waited for before the caller is asked to come again.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Rows of a page of one device that needs no place among the reads.
    const SMALL_PAGE: u32 = 200;
    /// How long a commit is waited for. The messages stay queued, and may be stored yet.
    const COMMIT_PATIENCE: Duration = Duration::from_secs(10);

    /// Stores messages and returns the ids of their rows, in order, when they are committed. All or, when one is wrong, none. A
    /// payload that is an array of readings becomes as many rows.
    ///
    /// # Errors
    /// `Entry` with what is wrong and where: `NotFound` for a device, `Invalid` for a topic or payload;
    /// `Invalid(telemetry)` for no or too many entries; `Unavailable` while the database cannot be written: the messages
    /// may be stored later all the same.
    pub async fn record(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        inputs: Vec<TelemetryInput>,
    ) -> Result<Vec<TelemetryId>, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::WriteTelemetry).await?;
        if !(1..=Self::MAX_ENTRIES).contains(&inputs.len()) {
            let message = format!("must be 1 to {} entries", Self::MAX_ENTRIES);
            return Err(Invalid::new("telemetry", message).into());
        }
        let policy = self.tenants.get(tenant).await?.ok_or(Error::NotFound)?.payload_policy;
        let received_at = self.clock.now();
        let mut known = HashMap::new();
        let (mut messages, mut entries) = (Vec::with_capacity(inputs.len()), Vec::with_capacity(inputs.len()));
        for (index, input) in inputs.into_iter().enumerate() {
            let added = self.messages(tenant, input, policy, received_at, &mut known).await;
            messages.extend(added.map_err(|error| Error::Entry { index, error: Box::new(error) })?);
            entries.resize(messages.len(), index);
            if messages.len() > Self::MAX_ROWS {
                let message = format!("must have at most {} readings in all", Self::MAX_ROWS);
                return Err(Invalid::new("telemetry", message).into());
            }
        }
        self.store_all(messages, &entries).await
    }

    async fn messages(
        &self,
        tenant_id: TenantId,
        input: TelemetryInput,
        policy: PayloadPolicy,
        received_at: Timestamp,
        known: &mut HashMap<DeviceId, bool>,
    ) -> Result<Vec<NewTelemetry>, Error> {
        if input.topic.is_system() {
            return Err(Invalid::new("topic", "must not begin with $").into());
        }
        let exists = match known.get(&input.device_id) {
            Some(exists) => *exists,
            None => {
                let exists = self.devices.get(tenant_id, input.device_id).await?.is_some();
                known.insert(input.device_id, exists);
                exists
            }
        };
        if !exists {
            return Err(Error::NotFound);
        }
        let readings = self
            .rules
            .read_all(input.payload.as_bytes(), policy)
            .map_err(|error| Invalid::new("payload", error.to_string()))?;
        let is_near = |time: &Timestamp| self.check_ahead(*time, received_at);
        if let Some(Err(ahead)) = input.timestamp.as_ref().map(is_near) {
            return Err(Invalid::new("timestamp", ahead.to_string()).into());
        }
        self.topics
            .admit(tenant_id, input.device_id, &input.topic)
            .map_err(|full| Invalid::new("topic", full.to_string()))?;
        // What the caller says holds for a message as a whole, not for readings that have times of their own. A device's own
        // time that is too far ahead is that of its arrival, whichever way the message takes.
        let is_one = readings.more.is_empty();
        let time = |read: &ReadPayload| match input.timestamp {
            Some(time) if is_one || read.own_time.is_none() => time,
            _ => Some(read.time(received_at)).filter(|time| is_near(time).is_ok()).unwrap_or(received_at),
        };
        let message = |read: ReadPayload| NewTelemetry {
            tenant_id,
            device_id: input.device_id,
            topic: input.topic.clone(),
            timestamp: time(&read),
            payload: read.payload,
            received_at,
        };
        Ok(readings.into_iter().map(message).collect())
    }

    /// Judges the time of a message.
    pub(crate) fn check_ahead(&self, time: Timestamp, arrival: Timestamp) -> Result<(), TooFarAhead> {
        self.max_ahead.check(time, self.time.at_least(arrival))
    }

    /// Stores rows; of each the place of its entry is known.
    async fn store_all(&self, messages: Vec<NewTelemetry>, entries: &[usize]) -> Result<Vec<TelemetryId>, Error> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let receipt = Box::new(move |result: Result<Settled<'_>, _>| {
            // Nobody listens any more when the caller went away; the rows are stored all the same.
            let _ = sender.send(result.map(|settled| settled.fates.to_vec()));
        });
        let tenant = messages.first().map(|message| message.tenant_id);
        self.submit(Submission { tenant, messages, changes: Vec::new(), receipt: Some(receipt) }).await?;
        let fates = tokio::time::timeout(Self::COMMIT_PATIENCE, receiver)
            .await
            .map_err(|_| {
                Error::Unavailable("the messages are still queued: the database did not store them in time".into())
            })?
            .map_err(|_| Error::Internal("the ingest dropped a receipt".into()))?
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        fates.into_iter().zip(entries).map(|(fate, entry)| id_of(*entry, fate)).collect()
    }

    async fn submit(&self, mut submission: Submission) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + Self::PATIENCE;
        loop {
            match self.ingest.submit(submission) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(_)) => return Err(Error::Unavailable("the platform is stopping".into())),
                Err(Refused::Full(back)) => submission = back,
            }
            if tokio::time::timeout_at(deadline, self.ingest.room(submission.tenant)).await.is_err() {
                return Err(Error::Unavailable("the ingest queue is full".into()));
            }
        }
    }

    /// Whether something is stored of a tenant at topics that a filter matches.
    ///
    /// # Errors
    /// `Busy` when too many reads of the tenant, or of all tenants, are under way.
    pub async fn has_messages_at(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        topic: &TopicFilter,
    ) -> Result<bool, Error> {
        let query = TelemetryQuery { topic: Some(topic.clone()), ..TelemetryQuery::default() }.with_limit(Some(1))?;
        Ok(!self.range(caller, tenant, &query).await?.rows.is_empty())
    }

    /// A page of a tenant's history.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have; `Invalid(from)` when `from` is after `to`; `Busy` when too many
    /// reads of the tenant, or of all tenants, are under way.
    pub async fn range(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        query: &TelemetryQuery,
    ) -> Result<TelemetryPage, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadTelemetry).await?;
        query.check()?;
        let page = {
            // A short page of one device is little work, whatever is stored.
            let is_small = query.device_id.is_some() && query.topic.is_none() && query.limit() <= Self::SMALL_PAGE;
            let _place = if is_small { None } else { Some(self.reads.enter(tenant).await?) };
            self.store.range(tenant, query).await?
        };
        // Only what is empty leaves open whether the device is there.
        if page.rows.is_empty()
            && let Some(device) = query.device_id
            && self.devices.get(tenant, device).await?.is_none()
        {
            return Err(Error::NotFound);
        }
        Ok(page)
    }
}

fn id_of(index: usize, fate: Fate) -> Result<TelemetryId, Error> {
    let error = match fate {
        Fate::Stored(id) => return Ok(id),
        Fate::DeviceGone => Error::NotFound,
        Fate::Lost => Error::Internal("the database rejected this message".into()),
        Fate::SetAside => {
            Invalid::new("payload", "the database rejected this message; it is among the dead letters").into()
        }
    };
    Err(Error::Entry { index, error: Box::new(error) })
}
