//! Rows with the names that keys stand for.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use pocket_domain::{DeviceId, Payload, Telemetry, TelemetryId, TopicName};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use super::log::Found;
use crate::entity::{corrupt, device, time, topic};
use crate::error::Error;
use crate::key_cache::Names as Bounded;

/// Keys in one statement.
const STEP: usize = 500;

/// The rows as they are outside; those of a device or topic that is gone are left out.
pub(crate) async fn named(
    connection: &impl ConnectionTrait,
    topics: &TopicNames,
    rows: Vec<Found>,
) -> Result<Vec<Telemetry>, Error> {
    let devices = device_ids(connection, rows.iter().map(|found| found.device).collect()).await?;
    Names::with_devices(connection, devices, topics, rows.iter()).await?.named(rows)
}

/// What keys of devices and topics stand for.
pub(crate) struct Names {
    devices: HashMap<i64, DeviceId>,
    topics: HashMap<i64, TopicName>,
}

impl Names {
    /// Those of rows whose devices are known.
    pub(crate) async fn with_devices(
        connection: &impl ConnectionTrait,
        devices: HashMap<i64, DeviceId>,
        topics: &TopicNames,
        rows: impl Iterator<Item = &Found>,
    ) -> Result<Self, Error> {
        let topics = topics.of(connection, rows.map(|found| found.row.topic).collect()).await?;
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

/// Names of topics that were asked for lately, by their keys: a key is never given to another name.
#[derive(Default)]
pub(crate) struct TopicNames(Mutex<Bounded<i64, TopicName>>);

impl TopicNames {
    /// Forgets topics that are gone.
    pub(crate) fn forget(&self, keys: &[i64]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            known.forget(key, |name| name.as_str().len());
        }
    }

    /// What the keys stand for; those of topics that are gone may be missing.
    async fn of(
        &self,
        connection: &impl ConnectionTrait,
        keys: HashSet<i64>,
    ) -> Result<HashMap<i64, TopicName>, Error> {
        let (mut names, mut unknown) = (HashMap::with_capacity(keys.len()), Vec::new());
        {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for key in keys {
                match known.get(&key) {
                    Some(name) => drop(names.insert(key, name.clone())),
                    None => unknown.push(key),
                }
            }
        }
        if !unknown.is_empty() {
            let found = topic_names(connection, &unknown).await?;
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.remember(found.iter().cloned(), |_, name| name.as_str().len());
            names.extend(found);
        }
        Ok(names)
    }
}

async fn device_ids(connection: &impl ConnectionTrait, keys: HashSet<i64>) -> Result<HashMap<i64, DeviceId>, Error> {
    let keys: Vec<i64> = keys.into_iter().collect();
    let mut ids = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(STEP) {
        let rows: Vec<(i64, sea_orm::prelude::Uuid)> = device::Entity::find()
            .select_only()
            .columns([device::Column::Key, device::Column::Id])
            .filter(device::Column::Key.is_in(keys.iter().copied()))
            .into_tuple()
            .all(connection)
            .await?;
        ids.extend(rows.into_iter().map(|(key, id)| (key, DeviceId::from_uuid(id))));
    }
    Ok(ids)
}

async fn topic_names(connection: &impl ConnectionTrait, keys: &[i64]) -> Result<Vec<(i64, TopicName)>, Error> {
    let mut names = Vec::with_capacity(keys.len());
    for keys in keys.chunks(STEP) {
        for row in topic::Entity::find().filter(topic::Column::Key.is_in(keys.iter().copied())).all(connection).await? {
            names.push((row.key, TopicName::parse(&row.name).map_err(corrupt)?));
        }
    }
    Ok(names)
}
