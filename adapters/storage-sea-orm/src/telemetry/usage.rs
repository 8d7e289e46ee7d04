//! How much a history takes.

use std::collections::HashMap;

use pocket_domain::{NameUsage, TenantId, Usage, UsagePart};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

use super::snapshot::{Sealed, Snapshot};
use crate::database::Database;
use crate::entity::time;
use crate::error::Error;
use crate::key_list::list;
use crate::{devices, tenants};

#[derive(FromQueryResult)]
struct Sum {
    rows: i64,
    bytes: i64,
    oldest: Option<i64>,
    newest: Option<i64>,
}

impl Sum {
    fn part(&self) -> Result<UsagePart, Error> {
        let time = |at: Option<i64>| at.map(time).transpose();
        Ok(UsagePart {
            rows: self.rows.unsigned_abs(),
            bytes: self.bytes.unsigned_abs(),
            oldest: time(self.oldest)?,
            newest: time(self.newest)?,
        })
    }
}

/// The bytes of a row of the log.
fn log_bytes(backend: DbBackend) -> String {
    let payload = match backend {
        DbBackend::Postgres => "octet_length(payload)",
        // The length of a text is that of its characters.
        _ => "length(CAST(payload AS BLOB))",
    };
    format!("CAST(coalesce(sum({payload} + {}), 0) AS BIGINT)", UsagePart::LOG_ROW_BYTES)
}

const CHUNK_BYTES: &str = "CAST(coalesce(sum(bytes), 0) AS BIGINT)";

/// How much the history of a tenant takes.
pub(crate) async fn usage(db: &Database, tenant: TenantId) -> Result<Usage, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let transaction = snapshot.transaction();
    let Some(tenant) = tenants::key(transaction, tenant).await? else { return Ok(Usage::default()) };
    let deleted = list(devices::deleted(transaction, tenant).await?);
    let present = if deleted.is_empty() { String::new() } else { format!("AND device NOT IN ({deleted})") };
    let Sealed { sealed, batch } = snapshot.sealed();
    let log = format!(
        "SELECT count(*) AS rows, {} AS bytes, min(timestamp) AS oldest, max(timestamp) AS newest FROM telemetry
        WHERE tenant = {tenant} AND id > {sealed} {present}",
        log_bytes(db.backend())
    );
    let chunks = format!(
        "SELECT CAST(coalesce(sum(row_count), 0) AS BIGINT) AS rows, {CHUNK_BYTES} AS bytes, min(first_at) AS oldest,
            max(last_at) AS newest FROM telemetry_chunks WHERE tenant = {tenant} AND batch <= {batch} {present}"
    );
    let (log, chunks) = (sum(transaction, log).await?.part()?, sum(transaction, chunks).await?.part()?);
    let names = names(transaction, &tenant.to_string()).await?.remove(&tenant).unwrap_or_default();
    Ok(Usage { log, chunks, names })
}

/// What the names of the topics of tenants, and the keys and last values of their devices, take: of those tenants whose keys a
/// query gives.
async fn names(connection: &impl ConnectionTrait, tenants: &str) -> Result<HashMap<i64, NameUsage>, DbErr> {
    let mut names = names_of_topics(connection, tenants).await?;
    for (tenant, of_devices) in names_of_devices(connection, tenants).await? {
        let all = names.entry(tenant).or_default();
        *all = all.and(of_devices);
    }
    Ok(names)
}

#[derive(FromQueryResult)]
struct Names {
    tenant: i64,
    count: i64,
    bytes: i64,
}

/// The keys and last values of devices, of those that have many.
async fn names_of_devices(connection: &impl ConnectionTrait, tenants: &str) -> Result<HashMap<i64, NameUsage>, DbErr> {
    let devices = format!("device IN (SELECT key FROM devices WHERE tenant IN ({tenants}) AND NOT deleted)");
    let sql = format!(
        "SELECT devices.tenant AS tenant, CAST(sum(entries) AS BIGINT) AS count, CAST(sum(bytes) AS BIGINT) AS bytes FROM (
            SELECT device, sum(entries) AS entries, sum(bytes) AS bytes FROM (
                SELECT device, count(*) AS entries, sum(octet_length(path)) AS bytes
                FROM telemetry_keys WHERE {devices} GROUP BY device
                UNION ALL SELECT device, count(*) AS entries, sum(octet_length(path) + octet_length(value)) AS bytes
                FROM telemetry_latest WHERE {devices} GROUP BY device
            ) AS parts GROUP BY device HAVING sum(bytes) + {} * sum(entries) > {}
        ) AS large JOIN devices ON devices.key = large.device GROUP BY devices.tenant",
        NameUsage::NAME_BYTES,
        NameUsage::FREE_BYTES
    );
    let found = Names::find_by_statement(Statement::from_string(connection.get_database_backend(), sql));
    let of = |row: Names| (row.tenant, NameUsage::new(row.count.unsigned_abs(), row.bytes.unsigned_abs()));
    Ok(found.all(connection).await?.into_iter().map(of).collect())
}

/// The names of topics.
async fn names_of_topics(connection: &impl ConnectionTrait, tenants: &str) -> Result<HashMap<i64, NameUsage>, DbErr> {
    let backend = connection.get_database_backend();
    let length = match backend {
        DbBackend::Postgres => "octet_length(name)",
        _ => "length(CAST(name AS BLOB))",
    };
    let sql = format!(
        "SELECT tenant, count(*) AS count, CAST(sum({length}) AS BIGINT) AS bytes FROM topics
        WHERE tenant IN ({tenants}) GROUP BY tenant"
    );
    let found = Names::find_by_statement(Statement::from_string(backend, sql)).all(connection).await?;
    let of = |row: Names| (row.tenant, NameUsage::new(row.count.unsigned_abs(), row.bytes.unsigned_abs()));
    Ok(found.into_iter().map(of).collect())
}

async fn sum(connection: &impl ConnectionTrait, sql: String) -> Result<Sum, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    Sum::find_by_statement(statement).one(connection).await?.ok_or(DbErr::RecordNotFound("a sum".into()))
}

/// The bytes that the histories of all tenants take.
pub(crate) async fn bytes_by_tenant(db: &Database) -> Result<HashMap<i64, TenantBytes>, Error> {
    #[derive(FromQueryResult)]
    struct Bytes {
        tenant: i64,
        bytes: i64,
    }
    let snapshot = Snapshot::begin(db).await?;
    let Sealed { sealed, batch } = snapshot.sealed();
    let log = format!(
        "SELECT tenant, {} AS bytes FROM telemetry WHERE id > {sealed} GROUP BY tenant",
        log_bytes(db.backend())
    );
    let chunks =
        format!("SELECT tenant, {CHUNK_BYTES} AS bytes FROM telemetry_chunks WHERE batch <= {batch} GROUP BY tenant");
    let mut bytes: HashMap<i64, u64> = HashMap::new();
    for sql in [log, chunks] {
        let statement = Statement::from_string(db.backend(), sql);
        for row in Bytes::find_by_statement(statement).all(snapshot.transaction()).await? {
            *bytes.entry(row.tenant).or_default() += row.bytes.unsigned_abs();
        }
    }
    let limited = "SELECT key FROM tenants WHERE max_bytes IS NOT NULL";
    let names = names(snapshot.transaction(), limited).await?;
    let mut of_tenants: HashMap<i64, TenantBytes> = HashMap::new();
    for (tenant, bytes) in bytes {
        of_tenants.entry(tenant).or_default().messages = bytes;
    }
    for (tenant, names) in names {
        of_tenants.entry(tenant).or_default().names = names.bytes;
    }
    Ok(of_tenants)
}

/// What the history of a tenant takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TenantBytes {
    pub(crate) messages: u64,
    pub(crate) names: u64,
}

impl TenantBytes {
    /// How many bytes of messages have to go until all is within so many. Names go with their messages, so that each of these is
    /// taken to bring its share of the names along.
    pub(crate) fn excess(self, most: u64) -> u64 {
        let all = self.messages + self.names;
        let excess = u128::from(all.saturating_sub(most)) * u128::from(self.messages);
        u64::try_from(excess.div_ceil(u128::from(all.max(1)))).unwrap_or(u64::MAX)
    }
}
