//! Hashes of device tokens.

use pocket_domain::{DeviceId, TenantId, Timestamp, TokenHash};
use pocket_ports::{DeviceCredential, TokenReplacement};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, JoinType};
use sea_orm::{QueryFilter, QuerySelect, Set};

use crate::entity::{device, device_token, tenant, time};
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

/// Gives the present token another expiry.
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
}

/// What a token gives access to. A deleted device has no tokens.
pub(crate) async fn credential(
    connection: &impl ConnectionTrait,
    hash: TokenHash,
) -> Result<Option<DeviceCredential>, Error> {
    let device_of_token = device_token::Entity::belongs_to(device::Entity)
        .from(device_token::Column::Device)
        .to(device::Column::Key)
        .into();
    let tenant_of_device =
        device::Entity::belongs_to(tenant::Entity).from(device::Column::Tenant).to(tenant::Column::Key).into();
    let found = device_token::Entity::find()
        .select_only()
        .column(device_token::Column::ExpiresAt)
        .column(device::Column::Enabled)
        .column_as(device::Column::Id, "device_id")
        .column_as(tenant::Column::Id, "tenant_id")
        .join(JoinType::InnerJoin, device_of_token)
        .join(JoinType::InnerJoin, tenant_of_device)
        .filter(device_token::Column::Hash.eq(hash.as_bytes().to_vec()))
        .into_model::<Found>()
        .one(connection)
        .await?;
    let Some(found) = found else { return Ok(None) };
    Ok(Some(DeviceCredential {
        tenant_id: TenantId::from_uuid(found.tenant_id),
        device_id: DeviceId::from_uuid(found.device_id),
        enabled: found.enabled,
        expires_at: found.expires_at.map(time).transpose()?,
    }))
}
