//! Threads for work whose amount depends on what clients stored: decoding chunks, folding numbers, reading payloads apart.
//!
//! None of it runs on the runtime that commits messages. There are few threads, half as many as processors, and the system
//! runs them after everything else, so that a commit never waits behind a decoder. Jobs wait in a line per tenant, and tenants
//! take turns. A job whose caller went away is dropped from its line, and one that runs can ask whether it is still wanted.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::TenantId;
use pocket_ports::{DecodingStats, StorageError};
use tokio::sync::oneshot;

use crate::error::Error;

/// How long a thread without jobs stays.
const IDLE: Duration = Duration::from_secs(30);
/// How far the system puts the threads back behind others, on the scale of `nice`.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// The threads. How many jobs wait is limited by those who ask, of whom each has one job at a time.
pub(crate) struct Decoders(Arc<Shared>);

struct Shared {
    most: usize,
    lines: Mutex<Lines>,
    /// Told when there is a job, or no more will come.
    changed: Condvar,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Lines {
    jobs: HashMap<TenantId, VecDeque<Job>>,
    /// Tenants that have jobs, the next one first.
    turns: VecDeque<TenantId>,
    threads: usize,
    idle: usize,
    is_closed: bool,
    stats: DecodingStats,
}

/// Tells a job whether somebody waits for what it finds.
pub(crate) trait Wanted {
    /// Whether somebody still waits.
    fn is_wanted(&self) -> bool;
}

impl<T> Wanted for oneshot::Sender<T> {
    fn is_wanted(&self) -> bool {
        !self.is_closed()
    }
}

impl Default for Decoders {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads((cores / 2).max(1))
    }
}

impl Decoders {
    fn with_threads(most: usize) -> Self {
        Self(Arc::new(Shared { most, lines: Mutex::default(), changed: Condvar::new() }))
    }

    /// Does work of a tenant when it is the tenant's turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        tenant: TenantId,
        work: impl FnOnce(&dyn Wanted) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let shared = Arc::clone(&self.0);
        self.0.add(
            tenant,
            Box::new(move || {
                let found = if sender.is_wanted() { Some(work(&sender)) } else { None };
                shared.lock().finish(sender.is_wanted());
                if let Some(found) = found {
                    // Whoever asked may have gone just now.
                    let _ = sender.send(found);
                }
            }),
        )?;
        receiver.await.map_err(|_| StorageError::Backend("stored telemetry could not be decoded".to_owned()).into())
    }

    /// What was done so far.
    pub(crate) fn stats(&self) -> DecodingStats {
        self.0.lock().stats
    }
}

impl Drop for Decoders {
    fn drop(&mut self) {
        let mut lines = self.0.lock();
        lines.is_closed = true;
        lines.jobs.clear();
        lines.turns.clear();
        drop(lines);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, tenant: TenantId, job: Job) -> Result<(), Error> {
        let mut lines = self.lock();
        if lines.idle == 0 && lines.threads < self.most {
            let shared = Arc::clone(self);
            let thread = std::thread::Builder::new().name("decoder".to_owned()).spawn(move || shared.serve());
            match thread {
                Ok(_) => lines.threads += 1,
                Err(error) if lines.threads == 0 => {
                    let cause = format!("no thread can be started: {error}");
                    return Err(StorageError::Unavailable(cause).into());
                }
                Err(_) => {}
            }
        }
        let line = lines.jobs.entry(tenant).or_default();
        line.push_back(job);
        if line.len() == 1 {
            lines.turns.push_back(tenant);
        }
        lines.stats.under_way += 1;
        drop(lines);
        self.changed.notify_one();
        Ok(())
    }

    /// Does jobs until there are none for a while.
    fn serve(&self) {
        step_back();
        let mut lines = self.lock();
        loop {
            if let Some(job) = lines.next() {
                drop(lines);
                // A job that panics drops its sender, which tells its caller.
                let is_done = catch_unwind(AssertUnwindSafe(job)).is_ok();
                lines = self.lock();
                if !is_done {
                    lines.finish(true);
                }
                continue;
            }
            if lines.is_closed {
                break;
            }
            lines.idle += 1;
            let (woken, waited) = self.changed.wait_timeout(lines, IDLE).unwrap_or_else(PoisonError::into_inner);
            lines = woken;
            lines.idle -= 1;
            if waited.timed_out() && lines.turns.is_empty() {
                break;
            }
        }
        lines.threads -= 1;
    }
}

impl Lines {
    /// The next job, of the tenant whose turn it is.
    fn next(&mut self) -> Option<Job> {
        let tenant = self.turns.pop_front()?;
        let line = self.jobs.get_mut(&tenant)?;
        let job = line.pop_front();
        if line.is_empty() {
            self.jobs.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        job
    }

    fn finish(&mut self, is_taken: bool) {
        self.stats.under_way -= 1;
        if is_taken {
            self.stats.done += 1;
        } else {
            self.stats.given_up += 1;
        }
    }
}

/// Lets everything else go first.
fn step_back() {
    // On Linux this is a property of the thread; elsewhere it would be one of the process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "decoders run with the priority of everything else");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail at once")]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn tenant(n: u8) -> TenantId {
        TenantId::new(pocket_domain::Timestamp::MIN, [n; 10])
    }

    /// One thread that is busy until something is sent.
    async fn busy() -> (Arc<Decoders>, mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), Error>>) {
        let decoders = Arc::new(Decoders::with_threads(1));
        let (go_on, held) = mpsc::channel::<()>();
        let (begun, is_begun) = oneshot::channel();
        let of_task = Arc::clone(&decoders);
        let first = tokio::spawn(async move {
            of_task
                .run(tenant(1), move |_| {
                    begun.send(()).unwrap();
                    held.recv().unwrap();
                })
                .await
        });
        is_begun.await.unwrap();
        (decoders, go_on, first)
    }

    /// A job that notes its name when it runs, waiting in its line.
    async fn waiting(
        decoders: &Arc<Decoders>,
        tenant: TenantId,
        name: &'static str,
        ran: &mpsc::Sender<&'static str>,
    ) -> tokio::task::JoinHandle<Result<(), Error>> {
        let before = decoders.stats().under_way;
        let (of_task, ran) = (Arc::clone(decoders), ran.clone());
        let job = tokio::spawn(async move { of_task.run(tenant, move |_| ran.send(name).unwrap()).await });
        while decoders.stats().under_way == before {
            tokio::task::yield_now().await;
        }
        job
    }

    #[tokio::test]
    async fn tenants_take_turns() {
        let (decoders, go_on, first) = busy().await;
        let (ran, order) = mpsc::channel();
        let mut jobs = vec![first];
        for (n, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            jobs.push(waiting(&decoders, tenant(n), name, &ran).await);
        }
        go_on.send(()).unwrap();
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        drop(ran);
        assert_eq!(order.iter().collect::<Vec<_>>(), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(decoders.stats(), DecodingStats { under_way: 0, done: 7, given_up: 0 });
    }

    #[tokio::test]
    async fn what_nobody_wants_any_more_is_not_done() {
        let (decoders, go_on, first) = busy().await;
        let (ran, order) = mpsc::channel();
        let gone = waiting(&decoders, tenant(1), "gone", &ran).await;
        let kept = waiting(&decoders, tenant(1), "kept", &ran).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        go_on.send(()).unwrap();
        first.await.unwrap().unwrap();
        kept.await.unwrap().unwrap();
        drop(ran);
        assert_eq!(order.iter().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(decoders.stats(), DecodingStats { under_way: 0, done: 2, given_up: 1 });
    }

    #[tokio::test]
    async fn a_job_that_runs_learns_that_nobody_wants_it() {
        let decoders = Arc::new(Decoders::with_threads(1));
        let (begun, is_begun) = oneshot::channel();
        let of_task = Arc::clone(&decoders);
        let job = tokio::spawn(async move {
            of_task
                .run(tenant(1), move |wanted| {
                    begun.send(()).unwrap();
                    while wanted.is_wanted() {
                        std::thread::yield_now();
                    }
                })
                .await
        });
        is_begun.await.unwrap();
        job.abort();
        while decoders.stats().given_up == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(decoders.stats(), DecodingStats { under_way: 0, done: 0, given_up: 1 });
    }

    #[tokio::test]
    async fn a_job_that_panics_fails_alone() {
        let decoders = Decoders::with_threads(1);
        assert!(decoders.run(tenant(1), |_| panic!("a job that is meant to panic")).await.is_err());
        assert_eq!(decoders.run(tenant(1), |_| 5).await.unwrap(), 5);
    }
}
