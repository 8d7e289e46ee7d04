//! An open database: its connections, the runtime they belong to, and what the repositories share.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pocket_ports::StorageError;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, SqlxError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::decoders::Decoders;
use crate::devices::DeviceLookup;
use crate::error::Error;
use crate::keeper::Shortfall;
use crate::locks;
use crate::room::Room;
use crate::suspicion::Suspicion;
use crate::telemetry::{Damage, DevicePage, LatestCache, LogIndex, Parts, TopicNames};
use crate::timeline::Timeline;
use crate::together::Together;
use crate::upkeep::Upkeep;
use crate::writers::Writers;

/// How long somebody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the end waits for the removal of rows that stand for this process.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a server may take for the statements of an append, or for a commit: the largest batch passes a slow line in it.
const ANSWER: Duration = Duration::from_secs(30);
/// How long one answer may be read for: a transaction that reads keeps SQLite from emptying its write-ahead log.
const READING: Duration = Duration::from_secs(30);
/// How long anything else may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The connections of one database. With PostgreSQL both are the same pool.
pub(crate) struct Connections {
    /// For transactions that write; one connection with SQLite.
    pub(crate) writer: DatabaseConnection,
    /// For everything else.
    pub(crate) reader: DatabaseConnection,
    /// That connections of PostgreSQL do not answer.
    pub(crate) suspicion: Arc<Suspicion>,
    /// Which life of the database connections meet.
    pub(crate) timeline: Arc<Timeline>,
}

/// An open database.
pub(crate) struct Database {
    connections: Connections,
    runtime: Handle,
    /// Who commits batches.
    pub(crate) writers: Writers,
    /// Where rows of the log are, in a SQLite file.
    pub(crate) log_index: LogIndex,
    /// Look-ups of single devices.
    pub(crate) lookups: Together<DeviceLookup>,
    /// Pages of the history of single devices.
    pub(crate) pages: Together<DevicePage>,
    /// Parts of chunks that such pages took lately.
    pub(crate) parts: Parts,
    /// Last values of rows of the log that were asked for lately.
    pub(crate) latest: LatestCache,
    /// Held by the one search for last values whose turn it is.
    pub(crate) searching: tokio::sync::Mutex<()>,
    /// Names of topics that were asked for lately.
    pub(crate) topic_names: TopicNames,
    /// What decodes chunks.
    pub(crate) decoders: Decoders,
    /// Chunks that cannot be read.
    pub(crate) damage: Damage,
    /// Whether something was removed whose topic nothing else may have.
    pub(crate) topics_loose: AtomicBool,
    /// What keeping the database in shape came to.
    pub(crate) upkeep: Upkeep,
    /// What sealing could not keep as it should be.
    pub(crate) shortfall: Shortfall,
    /// Wakes the purge when something was deleted.
    pub(crate) deleted: Arc<Notify>,
    /// What goes on in the background.
    tasks: Mutex<Vec<AbortHandle>>,
    url: String,
    room: Option<Room>,
    closed: AtomicBool,
}

impl Database {
    /// Takes connections that were opened on the present runtime.
    pub(crate) fn new(connections: Connections, url: &str) -> Self {
        Self {
            topic_names: TopicNames::new(Arc::clone(&connections.timeline)),
            connections,
            runtime: Handle::current(),
            writers: Writers::default(),
            log_index: LogIndex::default(),
            lookups: Together::default(),
            pages: Together::default(),
            parts: Parts::default(),
            latest: LatestCache::default(),
            searching: tokio::sync::Mutex::default(),
            decoders: Decoders::default(),
            damage: Damage::default(),
            topics_loose: AtomicBool::new(true),
            upkeep: Upkeep::default(),
            shortfall: Shortfall::default(),
            deleted: Arc::default(),
            tasks: Mutex::default(),
            url: url.to_owned(),
            room: None,
            closed: AtomicBool::new(false),
        }
    }

    /// Keeps room on the disk free.
    pub(crate) fn with_room(self, room: Option<Room>) -> Self {
        Self { room, ..self }
    }

    /// The room that is kept free on the disk.
    #[cfg(test)]
    pub(crate) fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }

    /// Checks that telemetry may be stored without taking the room that removing needs.
    pub(crate) async fn require_room(&self) -> Result<(), Error> {
        match &self.room {
            Some(room) => room.require(self).await,
            None => Ok(()),
        }
    }

    /// The connections that read.
    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.connections.reader
    }

    /// The connections that write.
    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.connections.writer
    }

    /// Begins a transaction that writes; it is rolled back when it is dropped without a commit.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        locks::begin(self.writer()).await
    }

    /// Where it is, with the password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the database is still the one that was read before.
    pub(crate) fn timeline(&self) -> &Timeline {
        &self.connections.timeline
    }

    /// Which SQL it speaks.
    pub(crate) fn backend(&self) -> DbBackend {
        self.connections.writer.get_database_backend()
    }

    /// Runs work on the runtime that the connections belong to. It goes on when the caller goes away, unless it takes too long.
    pub(crate) async fn run<T, W>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let limited = |db: Arc<Self>| {
            let work = work(Arc::clone(&db));
            async move { db.in_time(LIMIT, work).await }
        };
        self.run_to_its_end(limited).await
    }

    /// Like [`run`](Self::run), for reads whose work grows with what is stored: it ends when the caller goes away, and when it
    /// takes too long.
    pub(crate) async fn read<T, W>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        // Dropped with the caller's future.
        let (_wanted, unwanted) = oneshot::channel::<()>();
        let limited = |db: Arc<Self>| {
            let work = Box::pin(work(Arc::clone(&db)));
            async move {
                tokio::select! {
                    biased;
                    _ = unwanted => {
                        // Before the connection, which may be in the middle of a statement, goes back to its pool.
                        db.connections.suspicion.raise();
                        Err(StorageError::Unavailable("nobody waits for the answer".to_owned()).into())
                    }
                    done = db.at_most(READING, work) => done.unwrap_or_else(|| Err(too_long().into())),
                }
            }
        };
        self.run_to_its_end(limited).await
    }

    /// Like [`run`](Self::run), for work that has to know what became of each step and limits these itself, or takes long.
    pub(crate) async fn run_to_its_end<T, W>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> W,
    ) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        match self.runtime.spawn(work(Arc::clone(self))).await {
            Ok(result) => result.map_err(StorageError::from),
            Err(stopped) if stopped.is_cancelled() => {
                Err(StorageError::Unavailable("the runtime of the database has stopped".to_owned()))
            }
            Err(panicked) => Err(StorageError::Backend(panicked.to_string())),
        }
    }

    /// Like [`run`](Self::run), for what somebody waits for: a server that hangs is not waited for without end. The work goes
    /// on, so a change may be made yet.
    pub(crate) async fn ask<T, W>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.patiently(self.run(work)).await?
    }

    /// The statements of an append, or a commit. PostgreSQL gives up those that are not answered in time.
    pub(crate) fn answer<'a, T, E: From<DbErr>>(
        &'a self,
        work: impl Future<Output = Result<T, E>> + 'a,
    ) -> impl Future<Output = Result<T, E>> {
        self.in_time(ANSWER, work)
    }

    /// Work that PostgreSQL must have done in time: a connection that is gone without a word answers never. SQLite, which has no
    /// connection to lose, takes as long as it takes.
    pub(crate) fn in_time<'a, T, E: From<DbErr>>(
        &'a self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>> + 'a,
    ) -> impl Future<Output = Result<T, E>> {
        // It is large, and would be so once more in each that has it.
        let work = Box::pin(work);
        async move {
            if self.backend() != DbBackend::Postgres {
                return work.await;
            }
            let told = || std::io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()));
            let gone = || DbErr::Conn(RuntimeErr::SqlxError(Arc::new(SqlxError::Io(told()))));
            self.at_most(limit, work).await.unwrap_or_else(|| Err(gone().into()))
        }
    }

    /// Work that is given up at a time limit, and then `None`. Its connection has to answer before it is used again.
    pub(crate) fn at_most<T>(&self, limit: Duration, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        // The timer of the own runtime: the caller's may have none.
        let _entered = self.runtime.enter();
        let limited = tokio::time::timeout(limit, work);
        async move {
            let mut limited = pin!(limited);
            let done = limited.as_mut().await.ok();
            if done.is_none() {
                // Before the connection goes back to its pool.
                self.connections.suspicion.raise();
            }
            done
        }
    }

    /// Waits for an answer, as long as somebody waits.
    pub(crate) async fn patiently<T>(&self, answer: impl Future<Output = T>) -> Result<T, StorageError> {
        let told = || format!("the database does not answer within {} s", PATIENCE.as_secs());
        self.at_most(PATIENCE, answer).await.ok_or_else(|| StorageError::Unavailable(told()))
    }

    /// Runs what nobody waits for on the runtime that the connections belong to.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Starts a task that lives until the database is closed.
    pub(crate) fn start_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(task).abort_handle();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Whether it was closed, so that no query will succeed any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends what goes on in the background.
    pub(crate) fn end_tasks(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    /// Ends the tasks and closes all connections.
    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        self.closed.store(true, Ordering::Relaxed);
        self.end_tasks();
        // What is left of a writer does no harm.
        if let Some(Err(error)) = self.at_most(LAST_WORDS, self.writers.end(self)).await {
            tracing::debug!(%error, "rows of writers are left behind");
        }
        self.connections.reader.close_by_ref().await?;
        // The writer of a SQLite file goes last: the last connection moves the log into the file and removes it.
        self.connections.writer.close_by_ref().await
    }
}

fn too_long() -> StorageError {
    StorageError::TooMuch(format!(
        "reading what was asked for takes longer than {} s; ask for a shorter time, fewer devices or fewer keys",
        READING.as_secs()
    ))
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use crate::sample::Sample;

    #[tokio::test]
    async fn a_call_whose_caller_goes_away_is_carried_out() {
        let sample = Sample::new().await;
        {
            let mut deletion = pin!(sample.storage.devices.delete(sample.tenant, sample.device));
            // Polled once and dropped: the work is on its way.
            poll_fn(|context| {
                assert!(deletion.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        while sample.number("SELECT count(*) FROM devices WHERE deleted").await == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sample.number("SELECT count(*) FROM device_tokens").await, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn any_runtime_may_await_the_ports() {
        let sample = Sample::new().await;
        let (storage, tenant) = (sample.storage.clone(), sample.tenant);
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { (storage.tenants.get(tenant).await, storage.health.check().await) })
        });
        let (found, health) = tokio::task::spawn_blocking(|| asked.join().unwrap()).await.unwrap();
        assert!(found.unwrap().is_some());
        assert_eq!(health, Ok(()));
    }

    #[tokio::test]
    async fn calls_after_the_close_fail() {
        let sample = Sample::new().await;
        sample.storage.health.close().await;
        assert!(matches!(
            sample.storage.tenants.get(sample.tenant).await,
            Err(pocket_ports::StorageError::Unavailable(_))
        ));
        assert!(sample.storage.health.check().await.is_err());
    }
}
