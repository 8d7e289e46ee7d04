//! The tables whose rows are read one by one, and what each row must be.

use pocket_domain::{DeviceUsername, NodeName, TenantId, TokenHash, TopicName};
use pocket_ports::StorageError;
use sea_orm::prelude::Uuid;
use sea_orm::{FromQueryResult, QueryResult};

use crate::entity::{
    access_rule, corrupt, dead_letter, device, device_login, device_token, tenant, time, topic, topic_rule, user,
};
use crate::error::Error;
use crate::{access_rules, device_events, devices, tenants, topic_rules, users};

/// What must be there beside a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    Nobody,
    Tenant,
    Device,
}

/// A table, and how its rows are verified.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// What is read: `owner_tenant` and `owner_device` are ids, or null where there are none.
    pub(super) columns: &'static str,
    pub(super) from: &'static str,
    /// What it is read by, a number.
    pub(super) key: &'static str,
    pub(super) owned: Owned,
    pub(super) check: fn(&QueryResult) -> Result<(), StorageError>,
}

/// Tables with keys of their own.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "tenants",
        columns: "tenants.*, tenants.id AS owner_tenant, NULL AS owner_device",
        from: "tenants",
        key: "tenants.key",
        owned: Owned::Nobody,
        check: |row| tenants::from_row(&read::<tenant::Model>(row)?).map(drop),
    },
    Table {
        name: "users",
        columns: "users.*, tenants.id AS owner_tenant, NULL AS owner_device",
        from: "users LEFT JOIN tenants ON tenants.key = users.tenant",
        key: "users.key",
        owned: Owned::Tenant,
        check: |row| user(read(row)?),
    },
    Table {
        name: "devices",
        columns: "devices.*, tenants.id AS owner_tenant, devices.id AS owner_device",
        from: "devices LEFT JOIN tenants ON tenants.key = devices.tenant",
        key: "devices.key",
        owned: Owned::Tenant,
        check: |row| devices::parse(nobody(), read::<device::Model>(row)?).map(drop),
    },
    Table {
        name: "access_rules",
        columns: "access_rules.*, tenants.id AS owner_tenant, devices.id AS owner_device,
            access_rules.device IS NOT NULL AND devices.id IS NULL AS is_lost",
        from: "access_rules LEFT JOIN tenants ON tenants.key = access_rules.tenant
            LEFT JOIN devices ON devices.id = access_rules.device AND devices.tenant = access_rules.tenant",
        key: "access_rules.key",
        owned: Owned::Tenant,
        check: access_rule,
    },
    Table {
        name: "topic_rules",
        columns: "topic_rules.*, tenants.id AS owner_tenant, NULL AS owner_device",
        from: "topic_rules LEFT JOIN tenants ON tenants.key = topic_rules.tenant",
        key: "topic_rules.tenant",
        owned: Owned::Tenant,
        check: |row| topic_rules::from_row(&read::<topic_rule::Model>(row)?).map(drop),
    },
    Table {
        name: "topics",
        columns: "topics.*, tenants.id AS owner_tenant, NULL AS owner_device",
        from: "topics LEFT JOIN tenants ON tenants.key = topics.tenant",
        key: "topics.key",
        owned: Owned::Tenant,
        check: |row| TopicName::parse(&read::<topic::Model>(row)?.name).map(drop).map_err(corrupt),
    },
    Table {
        name: "dead_letters",
        columns: "dead_letters.*, dead_letters.tenant AS owner_tenant, dead_letters.device AS owner_device",
        from: "dead_letters",
        key: "dead_letters.key",
        owned: Owned::Nobody,
        check: dead_letter,
    },
    Table {
        name: "access_changes",
        columns: "access_changes.*, access_changes.tenant AS owner_tenant, access_changes.device AS owner_device",
        from: "access_changes",
        key: "access_changes.sequence",
        owned: Owned::Nobody,
        check: |row| time(read::<crate::entity::access_change::Model>(row)?.at).map(drop),
    },
    Table {
        name: "broker_nodes",
        columns: "broker_nodes.*, NULL AS owner_tenant, NULL AS owner_device",
        from: "broker_nodes",
        key: "broker_nodes.key",
        owned: Owned::Nobody,
        check: |row| node(&read::<Named>(row)?.name),
    },
    Table {
        name: "broker_absences",
        columns: "broker_absences.node AS name, NULL AS owner_tenant, NULL AS owner_device",
        from: "broker_absences",
        key: "broker_absences.key",
        owned: Owned::Nobody,
        check: |row| node(&read::<Named>(row)?.name),
    },
];

const TOKENS: &str = "device_tokens LEFT JOIN devices ON devices.key = device_tokens.device
    LEFT JOIN tenants ON tenants.key = devices.tenant";
const LOGINS: &str = "device_logins LEFT JOIN devices ON devices.key = device_logins.device
    LEFT JOIN tenants ON tenants.key = devices.tenant";
const PRESENCE: &str = "device_presence LEFT JOIN devices ON devices.key = device_presence.device
    LEFT JOIN tenants ON tenants.key = devices.tenant";
const EVENTS: &str = "device_events LEFT JOIN devices ON devices.key = device_events.device
    LEFT JOIN tenants ON tenants.key = devices.tenant";

/// Tables with rows of devices. Their rows go before the device does.
pub(super) const OF_DEVICES: &[Table] = &[
    Table {
        name: "device_tokens",
        columns: "device_tokens.*, tenants.id AS owner_tenant, devices.id AS owner_device",
        from: TOKENS,
        key: "device_tokens.device",
        owned: Owned::Device,
        check: |row| token(read(row)?),
    },
    Table {
        name: "device_logins",
        columns: "device_logins.*, tenants.id AS owner_tenant, devices.id AS owner_device",
        from: LOGINS,
        key: "device_logins.device",
        owned: Owned::Device,
        check: |row| login(&read(row)?),
    },
    Table {
        name: "device_presence",
        columns: "device_presence.*, tenants.id AS owner_tenant, devices.id AS owner_device",
        from: PRESENCE,
        key: "device_presence.device",
        owned: Owned::Device,
        check: presence,
    },
    Table {
        name: "device_events",
        columns: "device_events.*, tenants.id AS owner_tenant, devices.id AS owner_device",
        from: EVENTS,
        key: "device_events.device",
        owned: Owned::Device,
        check: |row| pocket_domain::DeviceEvent::try_from(read::<device_events::Row>(row)?).map(drop),
    },
];

fn read<R: FromQueryResult>(row: &QueryResult) -> Result<R, StorageError> {
    R::from_query_result(row, "").map_err(|error| Error::from(error).into())
}

/// Whose a row is does not matter to its form.
fn nobody() -> TenantId {
    TenantId::from_uuid(Uuid::nil())
}

#[derive(FromQueryResult)]
struct Named {
    name: String,
}

fn node(name: &str) -> Result<(), StorageError> {
    NodeName::parse(name).map(drop).map_err(corrupt)
}

fn user(row: user::Model) -> Result<(), StorageError> {
    let (_, password) = users::from_row(nobody(), row)?;
    // Each kind of hash has its own form behind that: https://github.com/P-H-C/phc-string-format
    if password.expose().starts_with('$') { Ok(()) } else { Err(corrupt("the password's hash is no PHC string")) }
}

fn access_rule(row: &QueryResult) -> Result<(), StorageError> {
    access_rules::from_row(nobody(), &read::<access_rule::Model>(row)?)?;
    let is_lost: bool = row.try_get("", "is_lost").map_err(Error::from)?;
    if is_lost { Err(corrupt("its device is not one of its tenant")) } else { Ok(()) }
}

fn dead_letter(row: &QueryResult) -> Result<(), StorageError> {
    let row: dead_letter::Model = read(row)?;
    [row.timestamp, row.received_at, row.at].into_iter().try_for_each(|at| time(at).map(drop))
}

fn login(row: &device_login::Model) -> Result<(), StorageError> {
    DeviceUsername::parse(&row.username).map_err(corrupt)?;
    time(row.created_at)?;
    if row.password_hash.starts_with('$') { Ok(()) } else { Err(corrupt("the password's hash has no known form")) }
}

fn token(row: device_token::Model) -> Result<(), StorageError> {
    let length = row.hash.len();
    let hash: Result<[u8; 32], _> = row.hash.try_into();
    hash.map(TokenHash::from_bytes).map_err(|_| corrupt(format!("the token's hash has {length} bytes, not 32")))?;
    row.expires_at.map(time).transpose().map(drop)
}

#[derive(FromQueryResult)]
struct PresenceRow {
    node: String,
    client_id: String,
    remote_address: Option<String>,
    protocol: String,
}

fn presence(row: &QueryResult) -> Result<(), StorageError> {
    let PresenceRow { node: name, client_id, remote_address, protocol } = read(row)?;
    node(&name)?;
    device_events::peer(client_id, remote_address, protocol).map(drop)
}
