//! Devices.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    Device, DeviceConnection, DeviceFilter, DeviceId, DeviceName, DeviceUpdate, DeviceUsername, Labels, Notes, Page,
    PageRequest, Rejection, ScanPlace, TenantId, Timestamp, TokenHash, TokenKeyFingerprint, TopicName,
};
use pocket_ports::{AccessChange, DeviceCredential, DeviceRepository, KnownTokenKey, StorageError, TokenReplacement};
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait};
use sea_orm::{IntoActiveModel, NotSet, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, SelectModel};
use sea_orm::{Selector, Set, Statement};

use crate::database::Database;
use crate::entity::{corrupt, dead_letter, device, time};
use crate::error::Error;
use crate::json_rows::{self, Column};
use crate::name_pattern::NamePattern;
use crate::together::Question;
use crate::{access_log, access_rules, device_events, device_logins, tenants, token_key, tokens};

/// The devices of a database.
pub(crate) struct Devices(pub(crate) Arc<Database>);

/// Devices of the tenant that are not deleted.
fn of_tenant(tenant: TenantId) -> Select<device::Entity> {
    device::Entity::find()
        .filter(device::Column::Deleted.into_expr().not())
        .filter(device::Column::Tenant.into_expr().eq(tenants::key_of(tenant)))
}

fn by_id(tenant: TenantId, id: DeviceId) -> Select<device::Entity> {
    of_tenant(tenant).filter(device::Column::Id.eq(id.as_uuid()))
}

/// The device, if it belongs to the tenant.
pub(crate) async fn find(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    id: DeviceId,
) -> Result<Option<device::Model>, Error> {
    Ok(by_id(tenant, id).one(connection).await?)
}

/// The keys and ids of a tenant's devices from a place of a walk on, in the order of their ids; at most so many.
pub(crate) async fn behind(
    connection: &impl ConnectionTrait,
    tenant: i64,
    only: Option<DeviceId>,
    after: Option<ScanPlace>,
    limit: u64,
) -> Result<Vec<(i64, DeviceId)>, Error> {
    let mut query = device::Entity::find()
        .select_only()
        .columns([device::Column::Key, device::Column::Id])
        .filter(device::Column::Deleted.into_expr().not())
        .filter(device::Column::Tenant.eq(tenant));
    if let Some(device) = only {
        query = query.filter(device::Column::Id.eq(device.as_uuid()));
    }
    if let Some(ScanPlace { device_id, row }) = after {
        let id = device_id.as_uuid();
        query = query.filter(if row.is_some() { device::Column::Id.gte(id) } else { device::Column::Id.gt(id) });
    }
    let query = query.order_by_asc(device::Column::Id).limit(limit);
    let rows: Vec<(i64, sea_orm::prelude::Uuid)> = query.into_tuple().all(connection).await?;
    Ok(rows.into_iter().map(|(key, id)| (key, DeviceId::from_uuid(id))).collect())
}

/// The keys of a tenant's devices that are being removed.
pub(crate) async fn deleted(connection: &impl ConnectionTrait, tenant: i64) -> Result<HashSet<i64>, Error> {
    let keys: Vec<i64> = device::Entity::find()
        .select_only()
        .column(device::Column::Key)
        .filter(device::Column::Deleted.into_expr())
        .filter(device::Column::Tenant.eq(tenant))
        .into_tuple()
        .all(connection)
        .await?;
    Ok(keys.into_iter().collect())
}

/// A device as people see it.
#[derive(Clone, FromQueryResult)]
pub(crate) struct Row {
    #[sea_orm(nested)]
    device: device::Model,
    online: bool,
    login: Option<String>,
}

/// Whether a device has a connection through any broker process that is there.
const ONLINE: &str = "EXISTS (SELECT 1 FROM device_presence WHERE device_presence.device = devices.key
    AND NOT EXISTS (SELECT 1 FROM broker_absences WHERE broker_absences.node = device_presence.node))";

/// The user name of a device's own log-in.
const LOGIN: &str = "(SELECT username FROM device_logins WHERE device_logins.device = devices.key)";

fn is_online() -> Expr {
    Expr::cust(ONLINE)
}

fn rows(query: Select<device::Entity>) -> Selector<SelectModel<Row>> {
    query.expr_as(is_online(), "online").expr_as(Expr::cust(LOGIN), "login").into_model()
}

/// Joins the devices that are there to `rows` with the columns `of_tenant` and `of_device`. Each pair is looked up by itself: an
/// id counts only in the tenant that asks for it.
pub(crate) const THERE: &str = "
    JOIN tenants ON tenants.id = rows.of_tenant AND NOT tenants.deleted
    JOIN devices ON devices.id = rows.of_device AND devices.tenant = tenants.key AND NOT devices.deleted";

/// A device by its id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DeviceLookup {
    tenant: TenantId,
    id: DeviceId,
}

#[async_trait]
impl Question for DeviceLookup {
    type Answer = Option<Row>;
    const TRIPS: usize = 1;
    const MOST: usize = 500;

    async fn answer(db: &Database, questions: Vec<Self>) -> Result<Vec<Option<Row>>, Error> {
        let wanted: HashSet<Self> = questions.iter().copied().collect();
        let pairs = wanted.iter().map(|Self { tenant, id }| {
            serde_json::json!([tenant.as_uuid().simple().to_string(), id.as_uuid().simple().to_string()])
        });
        let pairs = serde_json::Value::from_iter(pairs).to_string();
        let sql = format!(
            "{} SELECT rows.of_tenant, devices.*, {ONLINE} AS online, {LOGIN} AS login FROM rows {THERE}",
            json_rows::with(db.backend(), &[("of_tenant", Column::Id), ("of_device", Column::Id)])
        );
        let statement = Statement::from_sql_and_values(db.backend(), sql, [pairs.into()]);
        let mut found = HashMap::with_capacity(wanted.len());
        for row in db.reader().query_all_raw(statement).await? {
            let tenant: sea_orm::prelude::Uuid = row.try_get("", "of_tenant")?;
            let row = Row::from_query_result(&row, "")?;
            found.insert(Self { tenant: TenantId::from_uuid(tenant), id: DeviceId::from_uuid(row.device.id) }, row);
        }
        Ok(questions.iter().map(|question| found.get(question).cloned()).collect())
    }
}

/// The device that a transaction has changed.
async fn shown(transaction: &impl ConnectionTrait, tenant: TenantId, id: DeviceId) -> Result<Row, Error> {
    Ok(rows(by_id(tenant, id)).one(transaction).await?.ok_or(StorageError::NotFound)?)
}

/// The device, which nobody else changes until the transaction ends.
pub(crate) async fn require(
    transaction: &impl ConnectionTrait,
    tenant: TenantId,
    id: DeviceId,
) -> Result<device::Model, Error> {
    let found = by_id(tenant, id).lock_exclusive().one(transaction).await?;
    Ok(found.ok_or(StorageError::NotFound)?)
}

/// The devices that the filter means; `None` when it can mean none.
fn filtered(tenant: TenantId, filter: &DeviceFilter, backend: DbBackend) -> Option<Select<device::Entity>> {
    let mut query = of_tenant(tenant);
    if let Some(label) = &filter.label {
        let has_label = match backend {
            DbBackend::Postgres => "\"devices\".\"labels\"::jsonb @> to_jsonb($1::text)",
            _ => "EXISTS (SELECT 1 FROM json_each(\"devices\".\"labels\") WHERE \"value\" = ?)",
        };
        query = query.filter(Expr::cust_with_values(has_label, [label.as_str()]));
    }
    if let Some(name) = &filter.name {
        query = match NamePattern::of(name, backend) {
            NamePattern::Nothing => return None,
            NamePattern::Equals(name) => query.filter(device::Column::Name.eq(name)),
            NamePattern::HasForm(form) => {
                let has_form = match backend {
                    DbBackend::Postgres => "\"devices\".\"name\" LIKE $1",
                    _ => "\"devices\".\"name\" GLOB ?",
                };
                query.filter(Expr::cust_with_values(has_form, [form]))
            }
        };
    }
    if let Some(online) = filter.online {
        query = query.filter(if online { is_online() } else { is_online().not() });
    }
    Some(query)
}

fn labels_text(labels: &Labels) -> String {
    serde_json::Value::from_iter(labels.iter().map(|label| label.as_str())).to_string()
}

fn from_row(tenant: TenantId, row: Row) -> Result<Device, StorageError> {
    let Row { device: row, online, login } = row;
    let labels: Vec<String> = serde_json::from_str(&row.labels).map_err(corrupt)?;
    let last_rejection = match (row.rejected_at, row.rejected_topic, row.rejected_reason) {
        (Some(at), Some(topic), Some(reason)) => {
            Some(Rejection { at: time(at)?, topic: TopicName::parse(&topic).map_err(corrupt)?, reason })
        }
        _ => None,
    };
    let connection = match (row.connected_at, row.client_id, row.protocol) {
        (Some(at), Some(client_id), Some(protocol)) => Some(DeviceConnection {
            connected_at: time(at)?,
            peer: device_events::peer(client_id, row.remote_address, protocol)?,
        }),
        _ => None,
    };
    Ok(Device {
        id: DeviceId::from_uuid(row.id),
        tenant_id: tenant,
        name: DeviceName::parse(&row.name).map_err(corrupt)?,
        labels: Labels::parse(&labels).map_err(corrupt)?,
        notes: Notes::parse(&row.notes).map_err(corrupt)?,
        enabled: row.enabled,
        username: login.as_deref().map(DeviceUsername::parse).transpose().map_err(corrupt)?,
        token_expires_at: row.token_expires_at.map(time).transpose()?,
        created_at: time(row.created_at)?,
        updated_at: time(row.updated_at)?,
        online,
        connection,
        last_seen_at: row.last_seen_at.map(time).transpose()?,
        last_rejection,
    })
}

/// A device as its row alone says; whether it is online stands elsewhere.
pub(crate) fn parse(tenant: TenantId, device: device::Model) -> Result<Device, StorageError> {
    from_row(tenant, Row { device, online: false, login: None })
}

fn to_row(device: &Device, tenant: i64) -> device::ActiveModel {
    let millis = |time: Option<Timestamp>| Set(time.map(Timestamp::as_millis));
    let rejection = device.last_rejection.as_ref();
    device::ActiveModel {
        key: NotSet,
        id: Set(device.id.as_uuid()),
        tenant: Set(tenant),
        name: Set(device.name.to_string()),
        labels: Set(labels_text(&device.labels)),
        notes: Set(device.notes.as_str().to_owned()),
        enabled: Set(device.enabled),
        token_expires_at: millis(device.token_expires_at),
        created_at: Set(device.created_at.as_millis()),
        updated_at: Set(device.updated_at.as_millis()),
        connected_at: Set(None),
        client_id: Set(None),
        remote_address: Set(None),
        protocol: Set(None),
        events: Set(0),
        last_seen_at: millis(device.last_seen_at),
        rejected_at: millis(rejection.map(|rejection| rejection.at)),
        rejected_topic: Set(rejection.map(|rejection| rejection.topic.to_string())),
        rejected_reason: Set(rejection.map(|rejection| rejection.reason.clone())),
        deleted: Set(false),
    }
}

/// The row with a person's changes.
fn changed(row: device::Model, update: DeviceUpdate, now: Timestamp) -> device::ActiveModel {
    let mut row = row.into_active_model();
    if let Some(name) = update.name {
        row.name = Set(name.to_string());
    }
    if let Some(labels) = update.labels {
        row.labels = Set(labels_text(&labels));
    }
    if let Some(notes) = update.notes {
        row.notes = Set(notes.as_str().to_owned());
    }
    if let Some(enabled) = update.enabled {
        row.enabled = Set(enabled);
    }
    if let Some(expires_at) = update.token_expires_at {
        row.token_expires_at = Set(expires_at.map(Timestamp::as_millis));
    }
    row.updated_at = Set(now.as_millis());
    row
}

/// Adds a device with its token and returns its key and that of its tenant.
pub(crate) async fn insert(
    transaction: &DatabaseTransaction,
    device: &Device,
    token: TokenHash,
) -> Result<(i64, i64), Error> {
    let tenant = tenants::require(transaction, device.tenant_id).await?;
    let inserted = device::Entity::insert(to_row(device, tenant)).exec(transaction).await?;
    tokens::insert(transaction, inserted.last_insert_id, token, device.token_expires_at).await?;
    Ok((inserted.last_insert_id, tenant))
}

#[async_trait]
impl DeviceRepository for Devices {
    async fn create(&self, device: &Device, token: TokenHash) -> Result<(), StorageError> {
        let device = device.clone();
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                insert(&transaction, &device, token).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    async fn get(&self, tenant: TenantId, id: DeviceId) -> Result<Option<Device>, StorageError> {
        let row = self.0.lookups.ask(&self.0, DeviceLookup { tenant, id }).await?;
        row.map(|row| from_row(tenant, row)).transpose()
    }

    async fn list(
        &self,
        tenant: TenantId,
        filter: &DeviceFilter,
        page: PageRequest,
    ) -> Result<Page<Device>, StorageError> {
        let Some(query) = filtered(tenant, filter, self.0.backend()) else {
            return Ok(Page { items: Vec::new(), total: 0 });
        };
        let (found, total) = self
            .0
            .ask(move |db| async move {
                let total = query.clone().count(db.reader()).await?;
                let page = query.order_by_asc(device::Column::Id).limit(u64::from(page.limit())).offset(page.offset());
                Ok((rows(page).all(db.reader()).await?, total))
            })
            .await?;
        let devices = found.into_iter().map(|row| from_row(tenant, row));
        Ok(Page { items: devices.collect::<Result<_, _>>()?, total })
    }

    async fn update(
        &self,
        tenant: TenantId,
        id: DeviceId,
        update: DeviceUpdate,
        now: Timestamp,
    ) -> Result<Device, StorageError> {
        let row = self
            .0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let row = require(&transaction, tenant, id).await?;
                let (enabled, expires_at) = (update.enabled, update.token_expires_at);
                let row = changed(row, update, now).update(&transaction).await?;
                if let Some(expires_at) = expires_at {
                    tokens::set_expiry(&transaction, row.key, expires_at).await?;
                }
                if enabled.is_some() || expires_at.is_some() {
                    let change = AccessChange::Device { tenant_id: tenant, device_id: id };
                    access_log::write(&transaction, change).await?;
                }
                let row = shown(&transaction, tenant, id).await?;
                transaction.commit().await?;
                Ok(row)
            })
            .await?;
        from_row(tenant, row)
    }

    async fn delete(&self, tenant: TenantId, id: DeviceId) -> Result<bool, StorageError> {
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let Some(row) = by_id(tenant, id).lock_exclusive().one(&transaction).await? else { return Ok(false) };
                tokens::delete_of_device(&transaction, row.key).await?;
                device_logins::delete_of_device(&transaction, row.key).await?;
                access_rules::delete_of_device(&transaction, id).await?;
                dead_letter::Entity::delete_many()
                    .filter(dead_letter::Column::Device.eq(id.as_uuid()))
                    .exec(&transaction)
                    .await?;
                device::ActiveModel { deleted: Set(true), ..row.into_active_model() }.update(&transaction).await?;
                let change = AccessChange::Device { tenant_id: tenant, device_id: id };
                access_log::write(&transaction, change).await?;
                transaction.commit().await?;
                db.deleted.notify_one();
                Ok(true)
            })
            .await
    }

    async fn replace_token(
        &self,
        tenant: TenantId,
        id: DeviceId,
        replacement: TokenReplacement,
    ) -> Result<Device, StorageError> {
        let row = self
            .0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let row = require(&transaction, tenant, id).await?;
                tokens::replace(&transaction, row.key, &replacement).await?;
                let update = DeviceUpdate { token_expires_at: Some(replacement.expires_at), ..Default::default() };
                changed(row, update, replacement.now).update(&transaction).await?;
                let change = AccessChange::Device { tenant_id: tenant, device_id: id };
                access_log::write(&transaction, change).await?;
                let row = shown(&transaction, tenant, id).await?;
                transaction.commit().await?;
                Ok(row)
            })
            .await?;
        from_row(tenant, row)
    }

    async fn credential(&self, token: TokenHash) -> Result<Option<DeviceCredential>, StorageError> {
        self.0.ask(move |db| async move { tokens::credential(db.reader(), token).await }).await
    }

    async fn token_key(&self) -> Result<KnownTokenKey, StorageError> {
        self.0.ask(move |db| async move { token_key::known(db.reader()).await }).await
    }

    async fn claim_token_key(&self, key: TokenKeyFingerprint) -> Result<TokenKeyFingerprint, StorageError> {
        self.0.ask(move |db| async move { token_key::claim(&db, key).await }).await
    }

    async fn replace_token_key(&self, key: TokenKeyFingerprint) -> Result<(), StorageError> {
        self.0.ask(move |db| async move { token_key::replace(&db, key).await }).await
    }
}
