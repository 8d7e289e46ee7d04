//! Hashes of device tokens.

use pocket_domain::{DeviceId, TenantId, Timestamp, TokenHash};
use pocket_ports::{DeviceCredential, TokenReplacement};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter, Set, Statement,
};

use crate::entity::{corrupt, device, device_token, time};
use crate::error::Error;

/// Stores the present token of a device.
pub(crate) async fn insert(
    transaction: &DatabaseTransaction,
    device: i64,
    hash: TokenHash,
    expires_at: Option<Timestamp>,
) -> Result<(), Error> {
    let row = device_token::ActiveModel {
        hash: Set(hash.as_bytes().to_vec()),
        device: Set(device),
        expires_at: Set(expires_at.map(Timestamp::as_millis)),
        present: Set(true),
    };
    device_token::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Gives the present token another expiry. One in its grace does not outlast it.
pub(crate) async fn set_expiry(
    transaction: &DatabaseTransaction,
    device: i64,
    expires_at: Option<Timestamp>,
) -> Result<(), Error> {
    device_token::Entity::update_many()
        .col_expr(device_token::Column::ExpiresAt, Expr::value(expires_at.map(Timestamp::as_millis)))
        .filter(device_token::Column::Device.eq(device))
        .filter(device_token::Column::Present.eq(true))
        .exec(transaction)
        .await?;
    if let Some(expires_at) = expires_at {
        device_token::Entity::update_many()
            .col_expr(device_token::Column::ExpiresAt, Expr::value(Some(expires_at.as_millis())))
            .filter(device_token::Column::Device.eq(device))
            .filter(device_token::Column::Present.eq(false))
            .filter(device_token::Column::ExpiresAt.gt(expires_at.as_millis()))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// Puts a new token in the place of the present one, which works on for its grace if there is one.
pub(crate) async fn replace(
    transaction: &DatabaseTransaction,
    device: i64,
    replacement: &TokenReplacement,
) -> Result<(), Error> {
    let of_device = device_token::Column::Device.eq(device);
    let present = device_token::Column::Present.eq(true);
    let old = device_token::Entity::find().filter(of_device.clone()).filter(present).one(transaction).await?;
    device_token::Entity::delete_many().filter(of_device).exec(transaction).await?;
    if let (Some(old), Some(grace_until)) = (old, replacement.grace_until) {
        let end = [old.expires_at, Some(grace_until.as_millis())].into_iter().flatten().min();
        let row = device_token::ActiveModel {
            hash: Set(old.hash),
            device: Set(device),
            expires_at: Set(end),
            present: Set(false),
        };
        device_token::Entity::insert(row).exec_without_returning(transaction).await?;
    }
    insert(transaction, device, replacement.hash, replacement.expires_at).await
}

/// Ends all tokens of a device.
pub(crate) async fn delete_of_device(transaction: &DatabaseTransaction, device: i64) -> Result<(), Error> {
    let of_device = device_token::Column::Device.eq(device);
    device_token::Entity::delete_many().filter(of_device).exec(transaction).await?;
    Ok(())
}

/// Ends all tokens of all devices of a tenant.
pub(crate) async fn delete_of_tenant(transaction: &DatabaseTransaction, tenant: i64) -> Result<(), Error> {
    let devices = Query::select()
        .column(device::Column::Key)
        .from(device::Entity)
        .and_where(device::Column::Tenant.eq(tenant))
        .to_owned();
    let of_tenant = device_token::Column::Device.in_subquery(devices);
    device_token::Entity::delete_many().filter(of_tenant).exec(transaction).await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct Found {
    tenant_id: sea_orm::prelude::Uuid,
    device_id: sea_orm::prelude::Uuid,
    enabled: bool,
    expires_at: Option<i64>,
    payload_policy: String,
    is_ruled: bool,
}

/// All that a CONNECT needs, in one statement: ten thousand devices may send one at once.
const CREDENTIAL: &str = "
    SELECT tenants.id AS tenant_id, devices.id AS device_id, devices.enabled AS enabled,
        device_tokens.expires_at AS expires_at, tenants.payload_policy AS payload_policy,
        EXISTS (SELECT 1 FROM access_rules WHERE tenant = tenants.key AND device IS NULL)
            OR EXISTS (SELECT 1 FROM access_rules WHERE device = devices.id) AS is_ruled
    FROM device_tokens JOIN devices ON devices.key = device_tokens.device JOIN tenants ON tenants.key = devices.tenant
    WHERE device_tokens.hash = $1";

/// What a token gives access to. A deleted device has no tokens.
pub(crate) async fn credential(
    connection: &impl ConnectionTrait,
    hash: TokenHash,
) -> Result<Option<DeviceCredential>, Error> {
    let values = [hash.as_bytes().to_vec().into()];
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), CREDENTIAL, values);
    let Some(found) = Found::find_by_statement(statement).one(connection).await? else { return Ok(None) };
    Ok(Some(DeviceCredential {
        tenant_id: TenantId::from_uuid(found.tenant_id),
        device_id: DeviceId::from_uuid(found.device_id),
        enabled: found.enabled,
        expires_at: found.expires_at.map(time).transpose()?,
        payload_policy: found.payload_policy.parse().map_err(corrupt)?,
        is_ruled: found.is_ruled,
    }))
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn a_credential_is_found_by_indexes_alone() {
        let sample = Sample::new().await;
        let backend = sample.database.backend();
        let explain = Statement::from_sql_and_values(
            backend,
            format!("EXPLAIN QUERY PLAN {CREDENTIAL}"),
            [vec![1_u8; 32].into()],
        );
        let rows = sample.database.reader().query_all_raw(explain).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        assert!(plan.iter().any(|step| step.contains("SEARCH device_tokens USING PRIMARY KEY (hash=?)")), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("SCAN")), "{plan:?}");
    }
}
