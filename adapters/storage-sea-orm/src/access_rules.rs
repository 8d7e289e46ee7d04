//! Access rules.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{AccessRule, AccessRuleId, DeviceId, MAX_ACCESS_RULES, Page, PageRequest, TenantId, TopicPattern};
use pocket_ports::{AccessChange, AccessRuleRepository, Conflict, StorageError};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, EntityTrait, NotSet, PaginatorTrait, QueryFilter};
use sea_orm::{QueryOrder, QuerySelect, Select, Set};

use crate::database::Database;
use crate::entity::{access_rule, corrupt, device, time};
use crate::error::Error;
use crate::locks::{self, Lock};
use crate::{access_log, tenants};

/// The access rules of a database.
pub(crate) struct AccessRules(pub(crate) Arc<Database>);

fn of_tenant(tenant: TenantId) -> Select<access_rule::Entity> {
    access_rule::Entity::find().filter(access_rule::Column::Tenant.into_expr().eq(tenants::key_of(tenant)))
}

/// The rules of one device, or those for all.
fn of(tenant: TenantId, device: Option<DeviceId>) -> Select<access_rule::Entity> {
    of_tenant(tenant).filter(match device {
        Some(device) => access_rule::Column::Device.eq(device.as_uuid()),
        None => access_rule::Column::Device.is_null(),
    })
}

/// Removes the rules of a device.
pub(crate) async fn delete_of_device(transaction: &DatabaseTransaction, device: DeviceId) -> Result<(), Error> {
    let of_device = access_rule::Column::Device.eq(device.as_uuid());
    access_rule::Entity::delete_many().filter(of_device).exec(transaction).await?;
    Ok(())
}

/// Removes the rules of a tenant and of its devices.
pub(crate) async fn delete_of_tenant(transaction: &DatabaseTransaction, tenant: i64) -> Result<(), Error> {
    access_rule::Entity::delete_many().filter(access_rule::Column::Tenant.eq(tenant)).exec(transaction).await?;
    Ok(())
}

/// The device is there and is not deleted before the transaction ends.
async fn require_device(transaction: &DatabaseTransaction, tenant: i64, id: DeviceId) -> Result<(), Error> {
    let found = device::Entity::find()
        .filter(device::Column::Id.eq(id.as_uuid()))
        .filter(device::Column::Tenant.eq(tenant))
        .filter(device::Column::Deleted.into_expr().not())
        .lock_shared()
        .one(transaction)
        .await?;
    Ok(found.map(drop).ok_or(StorageError::NotFound)?)
}

fn to_row(rule: &AccessRule, tenant: i64) -> access_rule::ActiveModel {
    access_rule::ActiveModel {
        key: NotSet,
        id: Set(rule.id.as_uuid()),
        tenant: Set(tenant),
        device: Set(rule.device_id.map(|device| device.as_uuid())),
        effect: Set(rule.effect.as_str().to_owned()),
        action: Set(rule.action.as_str().to_owned()),
        topic: Set(rule.topic.to_string()),
        created_at: Set(rule.created_at.as_millis()),
    }
}

pub(crate) fn from_row(tenant: TenantId, row: &access_rule::Model) -> Result<AccessRule, StorageError> {
    Ok(AccessRule {
        id: AccessRuleId::from_uuid(row.id),
        tenant_id: tenant,
        device_id: row.device.map(DeviceId::from_uuid),
        effect: row.effect.parse().map_err(corrupt)?,
        action: row.action.parse().map_err(corrupt)?,
        topic: TopicPattern::parse(&row.topic).map_err(corrupt)?,
        created_at: time(row.created_at)?,
    })
}

fn change_of(tenant_id: TenantId, device: Option<DeviceId>) -> AccessChange {
    match device {
        Some(device_id) => AccessChange::Device { tenant_id, device_id },
        None => AccessChange::Tenant { tenant_id },
    }
}

#[async_trait]
impl AccessRuleRepository for AccessRules {
    async fn create(&self, rule: &AccessRule) -> Result<(), StorageError> {
        let rule = rule.clone();
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let tenant = tenants::require(&transaction, rule.tenant_id).await?;
                if let Some(device) = rule.device_id {
                    require_device(&transaction, tenant, device).await?;
                }
                // After the rows, as the changes do that end with an entry in the log. Of two rules that are added at once
                // the second counts the first.
                locks::take(&transaction, Lock::Access).await?;
                if of(rule.tenant_id, rule.device_id).count(&transaction).await? >= MAX_ACCESS_RULES {
                    return Err(Conflict::AccessRules.into());
                }
                access_rule::Entity::insert(to_row(&rule, tenant)).exec(&transaction).await?;
                access_log::write(&transaction, change_of(rule.tenant_id, rule.device_id)).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    async fn get(&self, tenant: TenantId, id: AccessRuleId) -> Result<Option<AccessRule>, StorageError> {
        let query = of_tenant(tenant).filter(access_rule::Column::Id.eq(id.as_uuid()));
        let row = self.0.ask(move |db| async move { Ok(query.one(db.reader()).await?) }).await?;
        row.map(|row| from_row(tenant, &row)).transpose()
    }

    async fn list(
        &self,
        tenant: TenantId,
        device: Option<DeviceId>,
        page: PageRequest,
    ) -> Result<Page<AccessRule>, StorageError> {
        let query = of(tenant, device);
        let (rows, total) = self
            .0
            .ask(move |db| async move {
                let total = query.clone().count(db.reader()).await?;
                let query = query.order_by_asc(access_rule::Column::Id);
                let page = query.limit(u64::from(page.limit())).offset(page.offset());
                Ok((page.all(db.reader()).await?, total))
            })
            .await?;
        let rules = rows.iter().map(|row| from_row(tenant, row));
        Ok(Page { items: rules.collect::<Result<_, _>>()?, total })
    }

    async fn of_device(&self, tenant: TenantId, device: DeviceId) -> Result<Vec<AccessRule>, StorageError> {
        let for_device = Condition::any()
            .add(access_rule::Column::Device.is_null())
            .add(access_rule::Column::Device.eq(device.as_uuid()));
        let query = of_tenant(tenant).filter(for_device).order_by_asc(access_rule::Column::Id);
        let rows = self.0.ask(move |db| async move { Ok(query.all(db.reader()).await?) }).await?;
        rows.iter().map(|row| from_row(tenant, row)).collect()
    }

    async fn delete(&self, tenant: TenantId, id: AccessRuleId) -> Result<bool, StorageError> {
        let query = of_tenant(tenant).filter(access_rule::Column::Id.eq(id.as_uuid()));
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let Some(row) = query.lock_exclusive().one(&transaction).await? else { return Ok(false) };
                access_rule::Entity::delete_by_id(row.key).exec(&transaction).await?;
                let change = change_of(tenant, row.device.map(DeviceId::from_uuid));
                access_log::write(&transaction, change).await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }
}
