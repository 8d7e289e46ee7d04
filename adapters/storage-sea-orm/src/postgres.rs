//! PostgreSQL: a pool.

mod address;
mod pooler;
mod server;
mod words;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::{self, PgConnection, Postgres, Row};
use sea_orm::{Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError};
use sea_orm_migration::MigratorTrait;
use tokio::time::timeout;

use address::Address;
use server::Server;

use crate::OpenError;
use crate::database::Connections;
use crate::migration::{MigrationReport, apply, plan};
use crate::options::Options;
use crate::suspicion::{NOTICE_OUR_END, Suspicion};
use crate::timeline::{LIFE, Timeline};

/// How long a connection of the pool may take to answer before it is used.
const TEST: Duration = Duration::from_secs(1);
/// How long a call waits for a connection, new or of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was not used for so long is tested before it is used; a server may have gone meanwhile.
const TEST_AFTER: Duration = Duration::from_secs(10);
/// A connection that was not needed for so long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// The driver logs what a server notices, such as that a table is there already, which each start asks.
const FEW_NOTICES: &str = "SET client_min_messages = warning";

/// Whether an address can be read, with the files of certificates that it names.
pub(crate) fn check_address(url: &str) -> Result<(), OpenError> {
    Address::parse(url).map(|_| ())
}

/// Opens the pool of a database that is up to date.
pub(crate) async fn connect(options: &Options) -> Result<Connections, OpenError> {
    let (suspicion, timeline) = (Arc::default(), Arc::default());
    let server = Server::with_room(&options.url, options.pool).await?;
    let pool = open(&server, options.pool, &suspicion, &timeline).await?;
    Ok(Connections { writer: pool.clone(), reader: pool, suspicion, timeline })
}

/// Brings the database up to date.
pub(crate) async fn migrate<M: MigratorTrait>(options: &Options) -> Result<MigrationReport, OpenError> {
    let server = Server::with_sessions(&options.url).await?;
    let connection = open(&server, 1, &Arc::default(), &Arc::default()).await?;
    let plan = plan::<M>(&connection).await?;
    if !plan.pending.is_empty() {
        tracing::debug!(applied = plan.applied.len(), pending = plan.pending.len(), "migrating");
        apply::<M>(&connection).await?;
    }
    connection.close().await.map_err(|error| OpenError::Unavailable(error.to_string()))?;
    Ok(MigrationReport { applied: plan.pending, snapshot: None })
}

/// Opens one connection to look at the database.
pub(crate) async fn open_unchanged(options: &Options) -> Result<DatabaseConnection, OpenError> {
    let server = Server::with_sessions(&options.url).await?;
    open(&server, 1, &Arc::default(), &Arc::default()).await
}

/// Opens a connection that belongs to its opener alone, and is never exchanged for another.
pub(crate) async fn connect_alone(url: &str) -> Result<DatabaseConnection, OpenError> {
    let (server, first) = Server::meet(url).await?;
    server::end(first).await;
    let mut connect = server.connect_options();
    connect
        .connect_timeout(ACQUIRE_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None);
    connected(&server, Database::connect(connect).await).await
}

async fn open(
    server: &Server,
    connections: u32,
    suspicion: &Arc<Suspicion>,
    timeline: &Arc<Timeline>,
) -> Result<DatabaseConnection, OpenError> {
    let mut connect = server.connect_options();
    connect
        .connect_timeout(ACQUIRE_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE)
        .map_sqlx_postgres_pool_opts(hooks(suspicion, timeline))
        .max_connections(connections)
        .min_connections(1);
    connected(server, Database::connect(connect).await).await
}

/// The pool tries again until its time is over and then only says so.
async fn connected(
    server: &Server,
    result: Result<DatabaseConnection, DbErr>,
) -> Result<DatabaseConnection, OpenError> {
    match result {
        Ok(connection) => Ok(connection),
        Err(DbErr::Conn(RuntimeErr::SqlxError(cause))) if matches!(*cause, SqlxError::PoolTimedOut) => {
            Err(OpenError::Unavailable(server.why_silent(ACQUIRE_TIMEOUT).await))
        }
        Err(error) => Err(OpenError::Unavailable(error.to_string())),
    }
}

/// What is done with each connection: when it is new, when somebody is done with it, and before the next uses it.
fn hooks(
    suspicion: &Arc<Suspicion>,
    timeline: &Arc<Timeline>,
) -> impl Fn(PoolOptions<Postgres>) -> PoolOptions<Postgres> + use<> {
    let (suspicion, timeline) = (Arc::clone(suspicion), Arc::clone(timeline));
    move |pool| {
        let (at_release, at_acquire) = (Arc::clone(&suspicion), Arc::clone(&suspicion));
        let timeline = Arc::clone(&timeline);
        pool.after_connect(move |connection, _| {
            let timeline = Arc::clone(&timeline);
            Box::pin(async move {
                sqlx::raw_sql(NOTICE_OUR_END).execute(&mut *connection).await?;
                sqlx::raw_sql(FEW_NOTICES).execute(&mut *connection).await?;
                // Before anything is read through it.
                timeline.meets(sqlx::raw_sql(LIFE).fetch_one(connection).await?.try_get("life")?);
                Ok(())
            })
        })
        .after_release(move |connection, _| {
            let is_suspect = at_release.is_raised();
            Box::pin(async move { if is_suspect { is_free(connection).await } else { Ok(true) } })
        })
        .test_before_acquire(false)
        .before_acquire(move |connection, known| {
            let is_tested = known.idle_for >= TEST_AFTER || at_acquire.is_raised();
            Box::pin(async move { if is_tested { is_free(connection).await } else { Ok(true) } })
        })
    }
}

/// Whether a connection answers in time and is in no transaction; an error when it does not answer. Who gives up waiting for a BEGIN
/// leaves a transaction of which the driver knows nothing.
async fn is_free(connection: &mut PgConnection) -> Result<bool, SqlxError> {
    // As one message: the time of a statement is that of the last message.
    let question = sqlx::raw_sql("SELECT transaction_timestamp() = statement_timestamp()");
    match timeout(TEST, question.fetch_one(connection)).await {
        Ok(answer) => answer?.try_get(0),
        Err(_) => Err(SqlxError::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Why the server of the URL gave no answer within that time.
pub(crate) async fn why_no_answer(url: &str, waited: Duration) -> Option<String> {
    Some(words::of_silence(&Address::parse(url).ok()?, waited).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_url_is_told_without_the_password() {
        let refused = Server::meet("postgres://user:hunter2@localhost:port/pocket").await.err().unwrap();
        assert!(matches!(&refused, OpenError::Options(message) if message.contains("port")), "{refused:?}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
