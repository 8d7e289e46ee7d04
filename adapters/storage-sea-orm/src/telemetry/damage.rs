//! Chunks that cannot be read: each is told to the operator once, and counted.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use pocket_domain::{DeviceId, TenantId, Timestamp};
use pocket_telemetry_codec::Damaged;
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement};

use super::chunks::Outline;

/// The damaged chunks that this process has met.
#[derive(Default)]
pub(crate) struct Damage(Mutex<HashSet<i64>>);

impl Damage {
    /// The most chunks that are remembered, eight bytes each; those beyond are not told and not counted.
    const MOST: usize = 100_000;

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// `false` when it was met before.
    fn meet(&self, chunk: i64) -> bool {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.len() < Self::MOST && met.insert(chunk)
    }

    /// Tells the operator of a chunk, the first time that it is met. Everything else stays readable.
    pub(crate) async fn report(&self, connection: &impl ConnectionTrait, outline: &Outline, damaged: &Damaged) {
        if !self.meet(outline.key) {
            return;
        }
        let Outline { key, device, first_at, last_at } = *outline;
        let (from, to) = (shown(first_at), shown(last_at));
        match owner(connection, device).await {
            Ok(Some(Owner { device, tenant })) => {
                let (device, tenant) = (DeviceId::from_uuid(device), TenantId::from_uuid(tenant));
                tracing::error!(%tenant, %device, from, to, chunk = key, %damaged, "{LEFT_OUT}");
            }
            // The database cannot say whose it is either.
            Ok(None) | Err(_) => tracing::error!(device_key = device, from, to, chunk = key, %damaged, "{LEFT_OUT}"),
        }
    }
}

const LEFT_OUT: &str = "a chunk of telemetry is damaged and left out; `pocket-iot check` tells what else is";

/// A time as it is written, or the number where it is none.
fn shown(millis: i64) -> String {
    Timestamp::from_millis(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

#[derive(FromQueryResult)]
struct Owner {
    device: Uuid,
    tenant: Uuid,
}

async fn owner(connection: &impl ConnectionTrait, device: i64) -> Result<Option<Owner>, DbErr> {
    let sql = format!(
        "SELECT devices.id AS device, tenants.id AS tenant FROM devices JOIN tenants ON tenants.key = devices.tenant
        WHERE devices.key = {device}"
    );
    Owner::find_by_statement(Statement::from_string(connection.get_database_backend(), sql)).one(connection).await
}
