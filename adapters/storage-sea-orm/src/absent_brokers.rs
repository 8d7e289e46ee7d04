//! Broker processes that are gone without having said so, of those that share a PostgreSQL database.
//!
//! The name of a broker is held by a lock that ends with its process (see `claim`). Each process looks now and then whose locks are
//! there. A broker whose lock is missing for a while is listed as absent, upon which nothing is online through it; it is taken
//! off the list when its lock is back, or when it starts again. A broker whose own lock is missing, because the server or the
//! connection ended, takes it again. Nothing is written as long as nothing changes.
//!
//! A SQLite file has one broker, with which the other processes on the file end or start.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_domain::{NodeName, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, FromQueryResult, Statement, Value};

use crate::claim::NAMESPACE;
use crate::database::{Database, LIMIT};
use crate::database_time::time_now;
use crate::entity::time;
use crate::error::Error;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// How long a lock may be missing: longer than a broker takes to notice and to take it again.
const GRACE: Duration = Duration::from_secs(15);

/// Starts to look, where several processes may share the database.
pub(crate) fn start(db: &Arc<Database>) {
    if db.backend() != DbBackend::Postgres {
        return;
    }
    // The task alone must not keep the database open.
    let db_of_task = Arc::downgrade(db);
    db.start_task(async move {
        let mut missing = HashMap::new();
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(db) = db_of_task.upgrade() else { return };
            if let Err(error) = db.in_time(LIMIT, look(&db, &mut missing)).await {
                tracing::debug!(?error, "cannot look which brokers are there");
                // A server that was away has forgotten all locks, and every broker gets time to take its own again.
                missing.clear();
            }
        }
    });
}

/// A broker that has or had a name.
#[derive(FromQueryResult)]
struct Broker {
    name: String,
    /// Whether a process holds the name.
    is_held: bool,
    /// Whether devices are recorded as online through it.
    has_devices: bool,
    /// Since when it is listed as absent.
    since: Option<i64>,
    now: i64,
}

/// Looks once. `missing` has the brokers whose locks were not there the last time, with when that was seen first, by the clock that
/// counts on and by that of the database.
async fn look(db: &Database, missing: &mut HashMap<String, (Instant, i64)>) -> Result<(), Error> {
    let sql = format!(
        "SELECT name, EXISTS (SELECT 1 FROM device_presence WHERE node = name) AS has_devices,
            (SELECT since FROM broker_absences WHERE node = name) AS since, {} AS now,
            EXISTS (SELECT 1 FROM pg_locks
                WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid::bigint = $1 AND objid::bigint = hashtext(name)::bigint & 4294967295 AND granted) AS is_held
        FROM writers WHERE lasts",
        time_now(DbBackend::Postgres)
    );
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [i64::from(NAMESPACE).into()]);
    let brokers = Broker::find_by_statement(statement).all(db.reader()).await?;
    let held: HashSet<&str> = brokers.iter().filter(|broker| broker.is_held).map(|broker| &*broker.name).collect();
    db.writers.hold_names(db, &held).await?;
    missing.retain(|name, _| !held.contains(&**name));
    for Broker { name, is_held, has_devices, since, now } in &brokers {
        if *is_held && since.is_some() {
            run(db.writer(), "DELETE FROM broker_absences WHERE node = $1", vec![name.into()]).await?;
            tracing::info!(node = %name, "a broker is back; devices that are connected to it are online again");
        }
        if *is_held || !has_devices || since.is_some() {
            continue;
        }
        let (first, at) = *missing.entry(name.clone()).or_insert_with(|| (Instant::now(), *now));
        if first.elapsed() >= GRACE {
            let sql = "INSERT INTO broker_absences (node, since) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            run(db.writer(), sql, vec![name.into(), at.into()]).await?;
            tracing::warn!(node = %name, "a broker is gone without a word; no device is online through it any more");
        }
    }
    Ok(())
}

async fn run(connection: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<(), Error> {
    let backend = connection.get_database_backend();
    connection.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// Takes a broker that starts off the list. Returns since when nothing was online through it.
pub(crate) async fn end(
    transaction: &DatabaseTransaction,
    node: &NodeName,
    now: Timestamp,
) -> Result<Timestamp, Error> {
    let backend = transaction.get_database_backend();
    let sql = "DELETE FROM broker_absences WHERE node = $1 RETURNING since";
    let statement = Statement::from_sql_and_values(backend, sql, [node.as_str().into()]);
    let since: Option<i64> = match transaction.query_one_raw(statement).await? {
        Some(row) => Some(row.try_get("", "since")?),
        None => None,
    };
    Ok(since.map(time).transpose()?.map_or(now, |since| since.min(now)))
}
