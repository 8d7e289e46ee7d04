//! Poolers before a server, such as PgBouncer.
//!
//! A pooler that gives each transaction any connection of the server (`pool_mode = transaction` or `statement`) cannot be worked with: the
//! name of a process is a lock that belongs to a session, and so are prepared statements. One that keeps a connection for each client
//! (`pool_mode = session`) is no different from the server, but it may let in fewer than this process wants, and let the others wait
//! without a word.

use std::time::Duration;

use sea_orm::SqlxError;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{self, Connection, PgConnection, Row};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::Address;
use super::server::end;
use super::words;
use crate::OpenError;

/// How long a connection may take to open.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether a session keeps its connection of the server.
const ROUNDS: usize = 3;

/// Refuses a pooler that does not keep sessions.
///
/// # Errors
/// When there is such a pooler, or the server cannot be connected to.
pub(super) async fn check_sessions(
    address: &Address,
    options: &PgConnectOptions,
    mut first: PgConnection,
) -> Result<(), OpenError> {
    let checked = match in_time(address, may_be_pooled(address, &mut first)).await? {
        Ok(true) => {
            let opened = timeout(PATIENCE, PgConnection::connect_with(options)).await;
            let Ok(Ok(mut second)) = opened else { return Err(too_few(address, 1, 2)) };
            let checked = timeout(PATIENCE * 2, keeps_sessions(&mut first, &mut second)).await;
            let Ok(checked) = checked else { return Err(too_few(address, 1, 2)) };
            end(second).await;
            checked
        }
        other => other.map(|_| true),
    };
    end(first).await;
    match checked {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Unavailable(format!(
            "a pooler at {} gives each transaction another connection of the server (PgBouncer: pool_mode = transaction or statement), \
             and this program needs sessions: set pool_mode = session, for its database or user alone if need be, or connect to the \
             server itself",
            address.shown()
        ))),
        Err(error) => Err(OpenError::Unavailable(words::of_error(address, &error))),
    }
}

/// Refuses a pooler that does not let in as many connections as this process is to have: it would wait for the last of them.
///
/// # Errors
/// When there are fewer.
pub(super) async fn check_room(
    address: &Address,
    options: &PgConnectOptions,
    mut first: PgConnection,
    pool: u32,
) -> Result<(), OpenError> {
    if !in_time(address, may_be_pooled(address, &mut first)).await?.unwrap_or(false) {
        end(first).await;
        return Ok(());
    }
    // One more holds the name of the process.
    let wanted = pool + 1;
    let mut opening = JoinSet::new();
    for _ in 1..wanted {
        let options = options.clone();
        // A pooler lets everybody in, and looks for a connection of the server with the first question.
        opening.spawn(async move {
            let opening = async {
                let mut connection = PgConnection::connect_with(&options).await?;
                server_process(&mut connection).await?;
                Ok::<_, SqlxError>(connection)
            };
            timeout(PATIENCE, opening).await
        });
    }
    let mut open = vec![first];
    while let Some(opened) = opening.join_next().await {
        open.extend(opened.ok().and_then(Result::ok).and_then(Result::ok));
    }
    let count = u32::try_from(open.len()).unwrap_or(u32::MAX);
    for connection in open {
        end(connection).await;
    }
    if count < wanted { Err(too_few(address, count, wanted)) } else { Ok(()) }
}

/// What a question gives. A pooler without a connection of the server for it would wait for minutes.
async fn in_time<T>(address: &Address, question: impl Future<Output = T>) -> Result<T, OpenError> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => Ok(answer),
        Err(_) => Err(OpenError::Unavailable(words::of_silence(address, PATIENCE).await)),
    }
}

fn too_few(address: &Address, count: u32, wanted: u32) -> OpenError {
    OpenError::Unavailable(format!(
        "the pooler at {} lets in {count} connections at a time at present, and this process needs {wanted}: POCKET_DB_POOL and one that \
         holds its name; raise the size of its pool (PgBouncer: default_pool_size), or lower POCKET_DB_POOL",
        address.shown()
    ))
}

/// Whether the server may be another than the one that was connected to: it says so when it has another port or address.
async fn may_be_pooled(address: &Address, connection: &mut PgConnection) -> Result<bool, SqlxError> {
    let asked = "SELECT coalesce(inet_server_port(), 0)::text AS port, coalesce(host(inet_server_addr()), '') AS ip";
    let row = sqlx::raw_sql(asked).fetch_one(connection).await?;
    let (port, ip): (String, String) = (row.try_get("port")?, row.try_get("ip")?);
    let Some((host, wanted)) = address.host() else {
        // Over a socket of the machine, a server of it has no address.
        return Ok(!ip.is_empty());
    };
    let known = tokio::net::lookup_host((host, wanted))
        .await
        .map(|found| found.map(|one| one.ip().to_string()).collect::<Vec<_>>());
    Ok(port != wanted.to_string() || !known.unwrap_or_default().contains(&ip))
}

/// Whether a session has the same connection of the server before, while and after another one needs one.
async fn keeps_sessions(first: &mut PgConnection, second: &mut PgConnection) -> Result<bool, SqlxError> {
    for _ in 0..ROUNDS {
        let before = server_process(first).await?;
        // With `pool_mode = statement` there are no transactions.
        if sqlx::raw_sql("BEGIN").execute(&mut *second).await.is_err() {
            return Ok(false);
        }
        let Ok(other) = server_process(second).await else { return Ok(false) };
        if before == other {
            return Ok(false);
        }
        // Without a session of its own, it may have to wait for the transaction of the other.
        let after = timeout(PATIENCE, server_process(first)).await;
        if !after.is_ok_and(|after| after.is_ok_and(|after| after == before)) {
            return Ok(false);
        }
        sqlx::raw_sql("ROLLBACK").execute(&mut *second).await?;
    }
    Ok(true)
}

async fn server_process(connection: &mut PgConnection) -> Result<String, SqlxError> {
    sqlx::raw_sql("SELECT pg_backend_pid()::text AS pid").fetch_one(connection).await?.try_get("pid")
}
