//! Whose a device is, and whose a topic is: rows of telemetry have keys only.

use std::collections::{BTreeSet, HashMap};

use pocket_domain::{DeviceId, TenantId};
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement};

use super::rows;
use crate::key_list::list;

/// Keys in one statement.
const STEP: usize = 500;

/// A device with its tenant.
#[derive(Clone, Copy, Debug, FromQueryResult)]
struct Row {
    key: i64,
    id: Uuid,
    tenant: i64,
    tenant_id: Uuid,
}

/// A device with its tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) tenant: i64,
    pub(super) tenant_id: TenantId,
    pub(super) device_id: DeviceId,
}

/// Those of these devices that are there.
pub(super) async fn owners(
    connection: &impl ConnectionTrait,
    devices: BTreeSet<i64>,
) -> Result<HashMap<i64, Owner>, DbErr> {
    let mut owners = HashMap::new();
    for keys in devices.into_iter().collect::<Vec<_>>().chunks(STEP) {
        let sql = format!(
            "SELECT devices.key, devices.id, devices.tenant, tenants.id AS tenant_id FROM devices
            JOIN tenants ON tenants.key = devices.tenant WHERE devices.key IN ({})",
            list(keys.iter().copied())
        );
        // A row that cannot be read is told where its table is verified.
        let found = rows(connection, sql).await?;
        owners.extend(found.iter().filter_map(|row| Row::from_query_result(row, "").ok()).map(|row| {
            let (tenant_id, device_id) = (TenantId::from_uuid(row.tenant_id), DeviceId::from_uuid(row.id));
            (row.key, Owner { tenant: row.tenant, tenant_id, device_id })
        }));
    }
    Ok(owners)
}

/// The tenants of those of these topics that are there.
pub(super) async fn tenants_of_topics(
    connection: &impl ConnectionTrait,
    topics: BTreeSet<i64>,
) -> Result<HashMap<i64, i64>, DbErr> {
    #[derive(FromQueryResult)]
    struct Topic {
        key: i64,
        tenant: i64,
    }
    let mut tenants = HashMap::new();
    for keys in topics.into_iter().collect::<Vec<_>>().chunks(STEP) {
        let sql = format!("SELECT key, tenant FROM topics WHERE key IN ({})", list(keys.iter().copied()));
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let found = Topic::find_by_statement(statement).all(connection).await?;
        tenants.extend(found.into_iter().map(|topic| (topic.key, topic.tenant)));
    }
    Ok(tenants)
}
