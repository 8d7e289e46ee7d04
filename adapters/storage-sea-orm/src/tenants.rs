//! Tenants.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    MaxAge, MaxBytes, Page, PageRequest, Retention, RetentionUpdate, Tenant, TenantId, TenantName, Timestamp,
};
use pocket_ports::{AccessChange, PrunedTenant, StorageError, TenantRepository, TenantUpdate};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SubQueryStatement};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IntoActiveModel, Statement,
};
use sea_orm::{NotSet, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Set};

use crate::database::Database;
use crate::entity::{corrupt, dead_letter, device, tenant, time, user};
use crate::error::Error;
use crate::{access_log, access_rules, device_logins, tokens, topic_rules};

/// The tenants of a database.
pub(crate) struct Tenants(pub(crate) Arc<Database>);

/// Tenants that are not deleted.
fn live() -> Select<tenant::Entity> {
    tenant::Entity::find().filter(tenant::Column::Deleted.into_expr().not())
}

fn by_id(id: TenantId) -> Select<tenant::Entity> {
    live().filter(tenant::Column::Id.eq(id.as_uuid()))
}

/// A sub-query for the key of the tenant, which nothing equals when there is none. As one value, and not as a list of
/// them, it lets an index give the order.
pub(crate) fn key_of(id: TenantId) -> Expr {
    let key = Query::select()
        .column((tenant::Entity, tenant::Column::Key))
        .from(tenant::Entity)
        .and_where(Expr::col((tenant::Entity, tenant::Column::Id)).eq(id.as_uuid()))
        .and_where(Expr::col((tenant::Entity, tenant::Column::Deleted)).not())
        .to_owned();
    Expr::SubQuery(None, Box::new(SubQueryStatement::SelectStatement(key)))
}

/// The key of the tenant.
pub(crate) async fn key(connection: &impl ConnectionTrait, id: TenantId) -> Result<Option<i64>, Error> {
    Ok(by_id(id).one(connection).await?.map(|row| row.key))
}

/// The key of the tenant, which is not deleted before the transaction ends.
pub(crate) async fn require(transaction: &impl ConnectionTrait, id: TenantId) -> Result<i64, Error> {
    let found = by_id(id).lock_shared().one(transaction).await?;
    Ok(found.ok_or(StorageError::NotFound)?.key)
}

/// A tenant that does not keep everything.
pub(crate) struct Limited {
    pub(crate) key: i64,
    pub(crate) id: TenantId,
    pub(crate) retention: Retention,
}

/// The tenants that keep messages for some time, and how far each is pruned.
pub(crate) async fn pruned(db: &Database) -> Result<Vec<PrunedTenant>, Error> {
    #[derive(FromQueryResult)]
    struct Mark {
        tenant: i64,
        pruned_to: i64,
    }
    let sql = "SELECT tenant, pruned_to FROM pruned_tenants";
    let marks = Mark::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await?;
    let marks: HashMap<i64, i64> = marks.into_iter().map(|mark| (mark.tenant, mark.pruned_to)).collect();
    let limited = limited(db.reader()).await?.into_iter().filter(|tenant| tenant.retention.max_age.is_some());
    let of = |tenant: Limited| PrunedTenant {
        id: tenant.id,
        retention: tenant.retention,
        to: marks.get(&tenant.key).and_then(|to| Timestamp::from_millis(*to).ok()),
    };
    Ok(limited.map(of).collect())
}

async fn forget_pruned(transaction: &impl ConnectionTrait, key: i64) -> Result<(), Error> {
    transaction.execute_unprepared(&format!("DELETE FROM pruned_tenants WHERE tenant = {key}")).await?;
    Ok(())
}

/// Keeps how far a tenant is pruned.
pub(crate) async fn keep_pruned(db: &Database, id: TenantId, to: Timestamp) -> Result<(), Error> {
    let transaction = db.begin().await?;
    if let Some(row) = by_id(id).one(&transaction).await? {
        let sql = format!(
            "INSERT INTO pruned_tenants (tenant, pruned_to) VALUES ({}, {})
            ON CONFLICT (tenant) DO UPDATE SET pruned_to = excluded.pruned_to",
            row.key,
            to.as_millis()
        );
        transaction.execute_unprepared(&sql).await?;
    }
    Ok(transaction.commit().await?)
}

/// The tenants that do not keep everything.
pub(crate) async fn limited(connection: &impl ConnectionTrait) -> Result<Vec<Limited>, Error> {
    let is_limited = tenant::Column::MaxAgeSeconds.is_not_null().or(tenant::Column::MaxBytes.is_not_null());
    let rows = live().filter(is_limited).order_by_asc(tenant::Column::Key).all(connection).await?;
    let of =
        |row: &tenant::Model| Ok(Limited { key: row.key, id: TenantId::from_uuid(row.id), retention: retention(row)? });
    Ok(rows.iter().map(of).collect::<Result<_, StorageError>>()?)
}

fn retention(row: &tenant::Model) -> Result<Retention, StorageError> {
    let max_age = row.max_age_seconds.map(|seconds| MaxAge::parse(seconds.unsigned_abs()));
    let max_bytes = row.max_bytes.map(|bytes| MaxBytes::parse(bytes.unsigned_abs()));
    Ok(Retention { max_age: max_age.transpose().map_err(corrupt)?, max_bytes: max_bytes.transpose().map_err(corrupt)? })
}

/// The columns of what is kept.
fn columns(retention: Retention) -> (Option<i64>, Option<i64>) {
    // Both limits are far below the largest number.
    let max_age = retention.max_age.map(|age| age.as_secs().cast_signed());
    (max_age, retention.max_bytes.map(|bytes| bytes.get().cast_signed()))
}

pub(crate) fn from_row(row: &tenant::Model) -> Result<Tenant, StorageError> {
    Ok(Tenant {
        id: TenantId::from_uuid(row.id),
        name: TenantName::parse(&row.name).map_err(corrupt)?,
        payload_policy: row.payload_policy.parse().map_err(corrupt)?,
        retention: retention(row)?,
        created_at: time(row.created_at)?,
    })
}

#[async_trait]
impl TenantRepository for Tenants {
    async fn create(&self, tenant: &Tenant) -> Result<(), StorageError> {
        let (max_age_seconds, max_bytes) = columns(tenant.retention);
        let row = tenant::ActiveModel {
            key: NotSet,
            id: Set(tenant.id.as_uuid()),
            name: Set(tenant.name.to_string()),
            payload_policy: Set(tenant.payload_policy.as_str().to_owned()),
            created_at: Set(tenant.created_at.as_millis()),
            max_age_seconds: Set(max_age_seconds),
            max_bytes: Set(max_bytes),
            deleted: Set(false),
        };
        self.0
            .ask(|db| async move {
                let transaction = db.begin().await?;
                tenant::Entity::insert(row).exec(&transaction).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    async fn get(&self, id: TenantId) -> Result<Option<Tenant>, StorageError> {
        let row = self.0.ask(move |db| async move { Ok(by_id(id).one(db.reader()).await?) }).await?;
        row.as_ref().map(from_row).transpose()
    }

    async fn find_by_name(&self, name: &TenantName) -> Result<Option<Tenant>, StorageError> {
        let query = live().filter(tenant::Column::Name.eq(name.as_str()));
        let row = self.0.ask(|db| async move { Ok(query.one(db.reader()).await?) }).await?;
        row.as_ref().map(from_row).transpose()
    }

    async fn list(&self, page: PageRequest) -> Result<Page<Tenant>, StorageError> {
        let (rows, total) = self
            .0
            .ask(move |db| async move {
                let total = live().count(db.reader()).await?;
                let rows = live()
                    .order_by_asc(tenant::Column::Id)
                    .limit(u64::from(page.limit()))
                    .offset(page.offset())
                    .all(db.reader())
                    .await?;
                Ok((rows, total))
            })
            .await?;
        Ok(Page { items: rows.iter().map(from_row).collect::<Result<_, _>>()?, total })
    }

    async fn update(&self, id: TenantId, update: TenantUpdate) -> Result<Tenant, StorageError> {
        let row = self
            .0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let row = by_id(id).lock_exclusive().one(&transaction).await?.ok_or(StorageError::NotFound)?;
                let policy = update.payload_policy.map(|policy| policy.as_str());
                let new_policy = policy.filter(|policy| *policy != row.payload_policy);
                let (max_age_seconds, max_bytes) = columns(update.retention.of(retention(&row)?));
                let mut changed = row.into_active_model();
                changed.max_age_seconds.set_if_not_equals(max_age_seconds);
                changed.max_bytes.set_if_not_equals(max_bytes);
                if let Some(name) = update.name {
                    changed.name = Set(name.to_string());
                }
                if let Some(policy) = new_policy {
                    changed.payload_policy = Set(policy.to_owned());
                }
                let row = changed.update(&transaction).await?;
                if update.retention != RetentionUpdate::default() {
                    // Whoever changes what is kept knows what goes.
                    forget_pruned(&transaction, row.key).await?;
                }
                if new_policy.is_some() {
                    access_log::write(&transaction, AccessChange::Tenant { tenant_id: id }).await?;
                }
                transaction.commit().await?;
                Ok(row)
            })
            .await?;
        from_row(&row)
    }

    async fn delete(&self, id: TenantId) -> Result<bool, StorageError> {
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let Some(row) = by_id(id).lock_exclusive().one(&transaction).await? else { return Ok(false) };
                tokens::delete_of_tenant(&transaction, row.key).await?;
                device_logins::delete_of_tenant(&transaction, row.key).await?;
                forget_pruned(&transaction, row.key).await?;
                access_rules::delete_of_tenant(&transaction, row.key).await?;
                topic_rules::delete_of_tenant(&transaction, row.key).await?;
                user::Entity::delete_many().filter(user::Column::Tenant.eq(row.key)).exec(&transaction).await?;
                device::Entity::update_many()
                    .col_expr(device::Column::Deleted, Expr::value(true))
                    .filter(device::Column::Tenant.eq(row.key))
                    .exec(&transaction)
                    .await?;
                dead_letter::Entity::delete_many()
                    .filter(dead_letter::Column::Tenant.eq(id.as_uuid()))
                    .exec(&transaction)
                    .await?;
                tenant::Entity::update_many()
                    .col_expr(tenant::Column::Deleted, Expr::value(true))
                    .filter(tenant::Column::Key.eq(row.key))
                    .exec(&transaction)
                    .await?;
                access_log::write(&transaction, AccessChange::Tenant { tenant_id: id }).await?;
                transaction.commit().await?;
                db.deleted.notify_one();
                Ok(true)
            })
            .await
    }
}
