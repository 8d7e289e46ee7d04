//! User names and passwords of devices.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{DeviceId, DeviceLoginId, DeviceUsername, PasswordHash, TenantId, Timestamp};
use pocket_ports::{
    AccessChange, DeviceCredential, DeviceLogin, DeviceLoginImport, DeviceLoginRepository, ImportedDevice,
    NewDeviceLogin, StorageError,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, IntoActiveModel,
    QueryFilter, Set, Statement, Value,
};

use crate::database::Database;
use crate::entity::{corrupt, device, device_login};
use crate::error::Error;
use crate::{access_log, devices};

/// The log-ins of devices of a database.
pub(crate) struct DeviceLogins(pub(crate) Arc<Database>);

#[derive(FromQueryResult)]
struct Found {
    login_id: sea_orm::prelude::Uuid,
    password_hash: String,
    tenant_id: sea_orm::prelude::Uuid,
    device_id: sea_orm::prelude::Uuid,
    enabled: bool,
    payload_policy: String,
    is_ruled: bool,
}

impl TryFrom<Found> for DeviceLogin {
    type Error = StorageError;

    fn try_from(found: Found) -> Result<Self, StorageError> {
        Ok(Self {
            id: DeviceLoginId::from_uuid(found.login_id),
            hash: PasswordHash::from_phc(found.password_hash),
            credential: DeviceCredential {
                tenant_id: TenantId::from_uuid(found.tenant_id),
                device_id: DeviceId::from_uuid(found.device_id),
                enabled: found.enabled,
                expires_at: None,
                payload_policy: found.payload_policy.parse().map_err(corrupt)?,
                is_ruled: found.is_ruled,
            },
        })
    }
}

/// Log-ins with all that a CONNECT needs.
const LOGINS: &str = "
    SELECT device_logins.id AS login_id, device_logins.password_hash AS password_hash, tenants.id AS tenant_id,
        devices.id AS device_id, devices.enabled AS enabled, tenants.payload_policy AS payload_policy,
        EXISTS (SELECT 1 FROM access_rules WHERE access_rules.tenant = tenants.key AND access_rules.device IS NULL)
            OR EXISTS (SELECT 1 FROM access_rules WHERE access_rules.device = devices.id) AS is_ruled
    FROM device_logins JOIN devices ON devices.key = device_logins.device JOIN tenants ON tenants.key = devices.tenant";
const OF_USERNAME: &str =
    "WHERE device_logins.username = $1 ORDER BY device_logins.created_at, device_logins.id LIMIT $2";
const REPLACE_HASH: &str = "UPDATE device_logins SET password_hash = $1 WHERE id = $2 AND password_hash = $3
    AND device = (SELECT key FROM devices WHERE devices.id = $4)";
const OF_DEVICE: &str = "WHERE devices.id = $1 AND tenants.id = $2";

async fn read(db: &Database, which: &str, values: [Value; 2]) -> Result<Vec<DeviceLogin>, Error> {
    let statement = Statement::from_sql_and_values(db.backend(), format!("{LOGINS} {which}"), values);
    let found = Found::find_by_statement(statement).all(db.reader()).await?;
    Ok(found.into_iter().map(DeviceLogin::try_from).collect::<Result<_, _>>()?)
}

/// Takes the log-in of a device away, if it has one.
pub(crate) async fn delete_of_device(transaction: &DatabaseTransaction, device: i64) -> Result<bool, Error> {
    Ok(device_login::Entity::delete_by_id(device).exec(transaction).await?.rows_affected > 0)
}

/// Takes all log-ins of all devices of a tenant away.
pub(crate) async fn delete_of_tenant(transaction: &DatabaseTransaction, tenant: i64) -> Result<(), Error> {
    let of_tenant = device_login::Column::Tenant.eq(tenant);
    device_login::Entity::delete_many().filter(of_tenant).exec(transaction).await?;
    Ok(())
}

async fn touch(transaction: &DatabaseTransaction, row: device::Model, now: Timestamp) -> Result<(), Error> {
    device::ActiveModel { updated_at: Set(now.as_millis()), ..row.into_active_model() }.update(transaction).await?;
    Ok(())
}

async fn insert(
    transaction: &DatabaseTransaction,
    device: i64,
    tenant: i64,
    login: &NewDeviceLogin,
) -> Result<(), Error> {
    let new = device_login::ActiveModel {
        device: Set(device),
        tenant: Set(tenant),
        id: Set(login.id.as_uuid()),
        username: Set(login.username.to_string()),
        password_hash: Set(login.hash.expose().to_owned()),
        created_at: Set(login.now.as_millis()),
    };
    device_login::Entity::insert(new).exec_without_returning(transaction).await?;
    Ok(())
}

/// Gives a device a log-in in place of the one it has.
async fn replace(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    device: DeviceId,
    login: &NewDeviceLogin,
) -> Result<(), Error> {
    let row = devices::require(transaction, tenant, device).await?;
    delete_of_device(transaction, row.key).await?;
    insert(transaction, row.key, row.tenant, login).await?;
    touch(transaction, row, login.now).await?;
    access_log::write(transaction, AccessChange::Device { tenant_id: tenant, device_id: device }).await
}

#[async_trait]
impl DeviceLoginRepository for DeviceLogins {
    async fn set(&self, tenant: TenantId, device: DeviceId, login: &NewDeviceLogin) -> Result<(), StorageError> {
        let login = login.clone();
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                replace(&transaction, tenant, device, &login).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    async fn import(&self, tenant: TenantId, logins: &[DeviceLoginImport]) -> Result<(), StorageError> {
        let logins = logins.to_vec();
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                for DeviceLoginImport { device, login } in &logins {
                    match device {
                        ImportedDevice::Present(device) => replace(&transaction, tenant, *device, login).await?,
                        ImportedDevice::New(device, token) => {
                            let (device, tenant) = devices::insert(&transaction, device, *token).await?;
                            insert(&transaction, device, tenant, login).await?;
                        }
                    }
                }
                Ok(transaction.commit().await?)
            })
            .await
    }

    async fn replace_hash(&self, login: &DeviceLogin, hash: &PasswordHash) -> Result<bool, StorageError> {
        let (id, device) = (login.id.as_uuid(), login.credential.device_id.as_uuid());
        let (from, to) = (login.hash.expose().to_owned(), hash.expose().to_owned());
        self.0
            .ask(move |db| async move {
                let values = [to.into(), id.into(), from.into(), device.into()];
                let statement = Statement::from_sql_and_values(db.backend(), REPLACE_HASH, values);
                Ok(db.writer().execute_raw(statement).await?.rows_affected() > 0)
            })
            .await
    }

    async fn remove(&self, tenant: TenantId, device: DeviceId, now: Timestamp) -> Result<bool, StorageError> {
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let row = devices::require(&transaction, tenant, device).await?;
                if !delete_of_device(&transaction, row.key).await? {
                    return Ok(false);
                }
                touch(&transaction, row, now).await?;
                access_log::write(&transaction, AccessChange::Device { tenant_id: tenant, device_id: device }).await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    async fn get(&self, tenant: TenantId, device: DeviceId) -> Result<Option<DeviceLogin>, StorageError> {
        let values = [device.as_uuid().into(), tenant.as_uuid().into()];
        let found = self.0.ask(move |db| async move { read(&db, OF_DEVICE, values).await }).await?;
        Ok(found.into_iter().next())
    }

    async fn find(&self, username: &DeviceUsername, limit: u32) -> Result<Vec<DeviceLogin>, StorageError> {
        let values = [username.as_str().into(), i64::from(limit).into()];
        self.0.ask(move |db| async move { read(&db, OF_USERNAME, values).await }).await
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn logins_are_found_by_indexes_alone() {
        let sample = Sample::new().await;
        for (which, values) in [
            (OF_USERNAME, [Value::from("mqtt"), Value::from(8_i64)]),
            (OF_DEVICE, [sample.device.as_uuid().into(), sample.tenant.as_uuid().into()]),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {LOGINS} {which}");
            let explain = Statement::from_sql_and_values(sample.database.backend(), sql, values);
            let rows = sample.database.reader().query_all_raw(explain).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
            assert!(!plan.iter().any(|step| step.contains("SCAN")), "{plan:?}");
        }
    }
}
