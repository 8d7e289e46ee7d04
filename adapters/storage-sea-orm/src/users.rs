//! People.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{LoginId, Page, PageRequest, PasswordHash, Role, TenantId, Timestamp, User, UserId, Username};
use pocket_ports::{
    AccessChange, Conflict, ENDED_LOGIN_MARGIN, MAX_ENDED_LOGINS, StorageError, UserRepository, UserStanding,
    UserUpdate,
};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel};
use sea_orm::{ModelTrait, NotSet, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Set};

use crate::database::Database;
use crate::entity::{corrupt, ended_login, time, user};
use crate::error::Error;
use crate::locks::{self, Lock};
use crate::{access_log, tenants};

/// The people of a database.
pub(crate) struct Users(pub(crate) Arc<Database>);

fn of_tenant(tenant: TenantId) -> Select<user::Entity> {
    user::Entity::find().filter(user::Column::Tenant.into_expr().eq(tenants::key_of(tenant)))
}

fn by_id(tenant: TenantId, id: UserId) -> Select<user::Entity> {
    of_tenant(tenant).filter(user::Column::Id.eq(id.as_uuid()))
}

async fn require(transaction: &impl ConnectionTrait, tenant: TenantId, id: UserId) -> Result<user::Model, Error> {
    let found = by_id(tenant, id).lock_exclusive().one(transaction).await?;
    Ok(found.ok_or(StorageError::NotFound)?)
}

pub(crate) fn from_row(tenant: TenantId, row: user::Model) -> Result<(User, PasswordHash), StorageError> {
    let user = User {
        id: UserId::from_uuid(row.id),
        tenant_id: tenant,
        username: Username::parse(&row.username).map_err(corrupt)?,
        role: row.role.parse().map_err(corrupt)?,
        credential_version: u32::try_from(row.credential_version).map_err(corrupt)?,
        created_at: time(row.created_at)?,
    };
    Ok((user, PasswordHash::from_phc(row.password)))
}

/// Refuses what leaves the tenant without a user who administers, or the platform without a platform administrator. The
/// transaction must hold [`Lock::Administrators`].
async fn check_not_last_admin(
    transaction: &DatabaseTransaction,
    user: &user::Model,
    new_role: Option<Role>,
) -> Result<(), Error> {
    let role: Role = user.role.parse().map_err(corrupt)?;
    let administers = |role: &Role| role.administers();
    let others = user::Entity::find().filter(user::Column::Key.ne(user.key));
    if role.administers() && !new_role.is_some_and(Role::administers) {
        let roles = Role::ALL.iter().filter(|role| administers(role)).map(|role| role.as_str());
        let beside =
            others.clone().filter(user::Column::Tenant.eq(user.tenant)).filter(user::Column::Role.is_in(roles));
        if beside.one(transaction).await?.is_none() {
            return Err(Conflict::LastAdmin.into());
        }
    }
    if role == Role::PlatformAdmin && new_role != Some(Role::PlatformAdmin) {
        let beside = others.filter(user::Column::Role.eq(Role::PlatformAdmin.as_str()));
        if beside.one(transaction).await?.is_none() {
            return Err(Conflict::LastAdmin.into());
        }
    }
    Ok(())
}

/// Milliseconds for which an expired entry stays.
fn margin() -> i64 {
    i64::try_from(ENDED_LOGIN_MARGIN.as_millis()).unwrap_or(i64::MAX)
}

/// Log-ins that a user ended.
fn ended_of(user_key: i64) -> Select<ended_login::Entity> {
    ended_login::Entity::find().filter(ended_login::Column::UserKey.eq(user_key))
}

/// Adds one to `credential_version` and forgets the log-ins that were ended one by one.
async fn end_all(transaction: &DatabaseTransaction, tenant: TenantId, row: user::Model) -> Result<user::Model, Error> {
    let (id, version) = (UserId::from_uuid(row.id), row.credential_version + 1);
    ended_login::Entity::delete_many().filter(ended_login::Column::UserKey.eq(row.key)).exec(transaction).await?;
    let mut changed = row.into_active_model();
    changed.credential_version = Set(version);
    let row = changed.update(transaction).await?;
    access_log::write(transaction, AccessChange::User { tenant_id: tenant, user_id: id }).await?;
    Ok(row)
}

#[async_trait]
impl UserRepository for Users {
    async fn create(&self, user: &User, password: &PasswordHash) -> Result<(), StorageError> {
        let (user, password) = (user.clone(), password.expose().to_owned());
        self.0
            .ask(|db| async move {
                let transaction = db.begin().await?;
                let row = user::ActiveModel {
                    key: NotSet,
                    id: Set(user.id.as_uuid()),
                    tenant: Set(tenants::require(&transaction, user.tenant_id).await?),
                    username: Set(user.username.to_string()),
                    role: Set(user.role.as_str().to_owned()),
                    password: Set(password),
                    credential_version: Set(i64::from(user.credential_version)),
                    created_at: Set(user.created_at.as_millis()),
                };
                user::Entity::insert(row).exec(&transaction).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    async fn get(&self, tenant: TenantId, id: UserId) -> Result<Option<User>, StorageError> {
        let row = self.0.ask(move |db| async move { Ok(by_id(tenant, id).one(db.reader()).await?) }).await?;
        row.map(|row| from_row(tenant, row).map(|(user, _)| user)).transpose()
    }

    async fn find_by_name(
        &self,
        tenant: TenantId,
        username: &Username,
    ) -> Result<Option<(User, PasswordHash)>, StorageError> {
        let query = of_tenant(tenant).filter(user::Column::Username.eq(username.as_str()));
        let row = self.0.ask(|db| async move { Ok(query.one(db.reader()).await?) }).await?;
        row.map(|row| from_row(tenant, row)).transpose()
    }

    async fn list(&self, tenant: TenantId, page: PageRequest) -> Result<Page<User>, StorageError> {
        let (rows, total) = self
            .0
            .ask(move |db| async move {
                let total = of_tenant(tenant).count(db.reader()).await?;
                let rows = of_tenant(tenant)
                    .order_by_asc(user::Column::Id)
                    .limit(u64::from(page.limit()))
                    .offset(page.offset())
                    .all(db.reader())
                    .await?;
                Ok((rows, total))
            })
            .await?;
        let users = rows.into_iter().map(|row| from_row(tenant, row).map(|(user, _)| user));
        Ok(Page { items: users.collect::<Result<_, _>>()?, total })
    }

    async fn update(&self, tenant: TenantId, id: UserId, update: UserUpdate) -> Result<User, StorageError> {
        let row = self
            .0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                locks::take(&transaction, Lock::Administrators).await?;
                let row = require(&transaction, tenant, id).await?;
                if update.role.is_some() {
                    check_not_last_admin(&transaction, &row, update.role).await?;
                }
                let role = update.role.map(Role::as_str).filter(|role| *role != row.role);
                let mut changed = row.into_active_model();
                if let Some(role) = role {
                    changed.role = Set(role.to_owned());
                }
                if let Some(username) = update.username {
                    changed.username = Set(username.to_string());
                }
                let row = changed.update(&transaction).await?;
                if role.is_some() {
                    access_log::write(&transaction, AccessChange::User { tenant_id: tenant, user_id: id }).await?;
                }
                transaction.commit().await?;
                Ok(row)
            })
            .await?;
        from_row(tenant, row).map(|(user, _)| user)
    }

    async fn set_password(&self, tenant: TenantId, id: UserId, password: &PasswordHash) -> Result<User, StorageError> {
        let password = password.expose().to_owned();
        let row = self
            .0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let row = require(&transaction, tenant, id).await?;
                let version = row.credential_version + 1;
                let mut changed = row.into_active_model();
                changed.password = Set(password);
                changed.credential_version = Set(version);
                let row = changed.update(&transaction).await?;
                access_log::write(&transaction, AccessChange::User { tenant_id: tenant, user_id: id }).await?;
                transaction.commit().await?;
                Ok(row)
            })
            .await?;
        from_row(tenant, row).map(|(user, _)| user)
    }

    async fn delete(&self, tenant: TenantId, id: UserId) -> Result<bool, StorageError> {
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                locks::take(&transaction, Lock::Administrators).await?;
                let Some(row) = by_id(tenant, id).lock_exclusive().one(&transaction).await? else { return Ok(false) };
                check_not_last_admin(&transaction, &row, None).await?;
                row.delete(&transaction).await?;
                access_log::write(&transaction, AccessChange::User { tenant_id: tenant, user_id: id }).await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    async fn standing(
        &self,
        tenant: TenantId,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<UserStanding>, StorageError> {
        let found = self
            .0
            .ask(move |db| async move {
                let Some(row) = by_id(tenant, id).one(db.reader()).await? else { return Ok(None) };
                let ended = ended_of(row.key)
                    .filter(ended_login::Column::Until.gt(now.as_millis()))
                    .limit(MAX_ENDED_LOGINS as u64)
                    .all(db.reader())
                    .await?;
                Ok(Some((row, ended)))
            })
            .await?;
        let Some((row, ended)) = found else { return Ok(None) };
        let (user, _) = from_row(tenant, row)?;
        let ended = ended.into_iter().map(|ended| LoginId::from_uuid(ended.login)).collect();
        Ok(Some(UserStanding { user, ended }))
    }

    async fn end_login(
        &self,
        tenant: TenantId,
        id: UserId,
        login: LoginId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let row = require(&transaction, tenant, id).await?;
                ended_login::Entity::delete_many()
                    .filter(ended_login::Column::Until.lte(now.as_millis().saturating_sub(margin())))
                    .exec(&transaction)
                    .await?;
                let others = ended_of(row.key)
                    .filter(ended_login::Column::Login.ne(login.as_uuid()))
                    .filter(ended_login::Column::Until.gt(now.as_millis()));
                if others.count(&transaction).await? >= MAX_ENDED_LOGINS as u64 {
                    end_all(&transaction, tenant, row).await?;
                } else {
                    ended_login::Entity::delete_by_id((row.key, login.as_uuid())).exec(&transaction).await?;
                    let ended = ended_login::ActiveModel {
                        user_key: Set(row.key),
                        login: Set(login.as_uuid()),
                        until: Set(until.as_millis()),
                    };
                    ended_login::Entity::insert(ended).exec_without_returning(&transaction).await?;
                    access_log::write(&transaction, AccessChange::User { tenant_id: tenant, user_id: id }).await?;
                }
                Ok(transaction.commit().await?)
            })
            .await
    }

    async fn end_all_logins(&self, tenant: TenantId, id: UserId) -> Result<User, StorageError> {
        let row = self
            .0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let row = require(&transaction, tenant, id).await?;
                let row = end_all(&transaction, tenant, row).await?;
                transaction.commit().await?;
                Ok(row)
            })
            .await?;
        from_row(tenant, row).map(|(user, _)| user)
    }

    async fn any(&self) -> Result<bool, StorageError> {
        self.0.ask(|db| async move { Ok(user::Entity::find().one(db.reader()).await?.is_some()) }).await
    }
}
