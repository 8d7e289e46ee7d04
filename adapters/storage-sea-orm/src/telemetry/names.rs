//! Rows with the names that keys stand for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pocket_domain::{DeviceId, Payload, Telemetry, TelemetryId, TopicName};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use super::log::Found;
use crate::entity::{corrupt, device, time, topic};
use crate::error::Error;
use crate::key_cache::Names as Bounded;
use crate::timeline::Timeline;

/// Keys in one statement.
const STEP: usize = 500;

/// Rows of a tenant as they are outside; those of a device or topic that is gone, or is another tenant's, are left out.
pub(crate) async fn named(
    connection: &impl ConnectionTrait,
    topics: &TopicNames,
    tenant: i64,
    rows: Vec<Found>,
) -> Result<Vec<Telemetry>, Error> {
    let devices = device_ids(connection, tenant, rows.iter().map(|found| found.device).collect()).await?;
    Names::with_devices(connection, devices, topics, Some(tenant), rows.iter()).await?.named(rows)
}

/// What keys of devices and topics stand for.
pub(crate) struct Names {
    devices: HashMap<i64, DeviceId>,
    topics: HashMap<i64, TopicName>,
}

impl Names {
    /// Those of rows whose devices are known; where the rows are of one tenant, only topics of that tenant.
    pub(crate) async fn with_devices(
        connection: &impl ConnectionTrait,
        devices: HashMap<i64, DeviceId>,
        topics: &TopicNames,
        tenant: Option<i64>,
        rows: impl Iterator<Item = &Found>,
    ) -> Result<Self, Error> {
        let topics = topics.of(connection, tenant, rows.map(|found| found.row.topic).collect()).await?;
        Ok(Self { devices, topics })
    }

    /// The rows as they are outside; those of a device or topic that is gone are left out.
    pub(crate) fn named(&self, rows: Vec<Found>) -> Result<Vec<Telemetry>, Error> {
        let mut named = Vec::with_capacity(rows.len());
        for Found { device, row } in rows {
            let (Some(device_id), Some(topic)) = (self.devices.get(&device), self.topics.get(&row.topic)) else {
                continue;
            };
            named.push(Telemetry {
                id: TelemetryId::from_key(row.id),
                device_id: *device_id,
                topic: topic.clone(),
                payload: Payload::from_stored(row.payload),
                timestamp: time(row.timestamp)?,
                received_at: time(row.received_at)?,
            });
        }
        Ok(named)
    }
}

/// Names of topics that were asked for lately, by their keys, with the key of their tenant. One life of a database never gives
/// a key to another name, so all is forgotten when the life is another; whoever asks for a tenant gets nothing of others anyway.
#[derive(Default)]
pub(crate) struct TopicNames {
    timeline: Arc<Timeline>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Of which epoch of the timeline they are.
    epoch: u64,
    names: Bounded<i64, (i64, TopicName)>,
}

impl TopicNames {
    /// Names that hold as long as the database is the same.
    pub(crate) fn new(timeline: Arc<Timeline>) -> Self {
        Self { timeline, known: Mutex::default() }
    }

    /// What is known of an epoch.
    fn of_epoch(&self, epoch: u64) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.epoch < epoch {
            *known = Known { epoch, names: Bounded::default() };
        }
        known
    }

    /// Forgets topics that are gone.
    pub(crate) fn forget(&self, keys: &[i64]) {
        let mut known = self.of_epoch(self.timeline.epoch());
        for key in keys {
            known.names.forget(key, |(_, name)| name.as_str().len());
        }
    }

    /// What the keys stand for; those of topics that are gone may be missing.
    pub(super) async fn of(
        &self,
        connection: &impl ConnectionTrait,
        tenant: Option<i64>,
        keys: HashSet<i64>,
    ) -> Result<HashMap<i64, TopicName>, Error> {
        let epoch = self.timeline.epoch();
        let is_meant = |of: i64| tenant.is_none_or(|tenant| tenant == of);
        let (mut names, mut unknown) = (HashMap::with_capacity(keys.len()), Vec::new());
        {
            let known = self.of_epoch(epoch);
            for key in keys {
                match known.names.get(&key) {
                    Some((of, name)) if is_meant(*of) => drop(names.insert(key, name.clone())),
                    _ => unknown.push(key),
                }
            }
        }
        if !unknown.is_empty() {
            let found = topic_names(connection, &unknown).await?;
            let mut known = self.of_epoch(epoch);
            // What was read before another epoch began is not kept.
            if known.epoch == epoch && epoch == self.timeline.epoch() {
                known.names.remember(found.iter().cloned(), |_, (_, name)| name.as_str().len());
            }
            names.extend(found.into_iter().filter(|(_, (of, _))| is_meant(*of)).map(|(key, (_, name))| (key, name)));
        }
        Ok(names)
    }
}

async fn device_ids(
    connection: &impl ConnectionTrait,
    tenant: i64,
    keys: HashSet<i64>,
) -> Result<HashMap<i64, DeviceId>, Error> {
    let keys: Vec<i64> = keys.into_iter().collect();
    let mut ids = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(STEP) {
        let rows: Vec<(i64, sea_orm::prelude::Uuid)> = device::Entity::find()
            .select_only()
            .columns([device::Column::Key, device::Column::Id])
            .filter(device::Column::Tenant.eq(tenant))
            .filter(device::Column::Key.is_in(keys.iter().copied()))
            .into_tuple()
            .all(connection)
            .await?;
        ids.extend(rows.into_iter().map(|(key, id)| (key, DeviceId::from_uuid(id))));
    }
    Ok(ids)
}

/// Names of topics, each with the key of its tenant.
async fn topic_names(connection: &impl ConnectionTrait, keys: &[i64]) -> Result<Vec<(i64, (i64, TopicName))>, Error> {
    let mut names = Vec::with_capacity(keys.len());
    for keys in keys.chunks(STEP) {
        for row in topic::Entity::find().filter(topic::Column::Key.is_in(keys.iter().copied())).all(connection).await? {
            names.push((row.key, (row.tenant, TopicName::parse(&row.name).map_err(corrupt)?)));
        }
    }
    Ok(names)
}
