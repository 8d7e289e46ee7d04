//! Which time it is, as far as something hangs on it that cannot be undone: see [`TrustedTime`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pocket_domain::{Jump, NodeName, TimeMark, Timestamp, TrustedTime};
use pocket_ports::{Clock, StorageError, TelemetryStore};

/// How often what the next process has to know is written, if nothing else happens.
const KEEP_EVERY: Duration = Duration::from_secs(3_600);
/// By how much a clock is off without being worth a new mark.
const CLOSE: Duration = Duration::from_secs(60);

/// Follows the wall clock and the clock that only counts on, and keeps a mark of them for the next process.
pub(crate) struct Timekeeper {
    clock: Arc<dyn Clock>,
    store: Arc<dyn TelemetryStore>,
    node: NodeName,
    running: Mutex<Option<Running>>,
    /// The steady time of a moment.
    steady: OnceLock<(Timestamp, Instant)>,
    /// The trusted time when it was asked for last, in milliseconds.
    trusted: AtomicI64,
    loading: tokio::sync::Mutex<()>,
}

struct Running {
    time: TrustedTime,
    at: Instant,
    kept: Option<(TimeMark, Instant)>,
}

impl Timekeeper {
    pub(crate) fn new(clock: Arc<dyn Clock>, store: Arc<dyn TelemetryStore>, node: NodeName) -> Self {
        Self {
            clock,
            store,
            node,
            running: Mutex::default(),
            steady: OnceLock::new(),
            trusted: AtomicI64::new(0),
            loading: Default::default(),
        }
    }

    /// Reads what the process before knew; once.
    pub(crate) async fn load(&self) -> Result<(), StorageError> {
        let _loading = self.loading.lock().await;
        if self.steady.get().is_some() {
            return Ok(());
        }
        let last = self.store.last_seen(&self.node).await?;
        let (wall, at) = (self.clock.now(), Instant::now());
        let mut time = TrustedTime::begin(last, wall);
        tell(time.pass(wall, Duration::ZERO), wall);
        // The mark of the process before is as good, unless the clock says something else.
        let kept = last.mark.filter(|mark| wall.since(mark.wall) <= CLOSE && mark.wall.since(wall) <= CLOSE);
        let _ = self.steady.set((time.steady(), at));
        self.trusted.store(time.mark().trusted.as_millis(), Ordering::Relaxed);
        *self.lock() = Some(Running { time, at, kept: kept.map(|mark| (mark, at)) });
        Ok(())
    }

    /// The time of intervals: it goes on by what passed, whatever the wall clock does. Until the time before is known it is
    /// that of the wall clock.
    pub(crate) fn steady(&self) -> Timestamp {
        self.steady.get().map_or_else(|| self.clock.now(), |(time, at)| time.plus(at.elapsed()))
    }

    /// The later of a time that the wall clock shows and what it must be at least: a clock that is behind makes nothing that
    /// others date right one from the future.
    pub(crate) fn at_least(&self, wall: Timestamp) -> Timestamp {
        wall.max(Timestamp::from_millis(self.trusted.load(Ordering::Relaxed)).unwrap_or(Timestamp::MIN))
    }

    /// The time as of which what is too old may be removed.
    pub(crate) async fn as_of(&self) -> Result<Timestamp, StorageError> {
        self.load().await?;
        let (jump, as_of, mark) = {
            let mut running = self.lock();
            let Some(running) = running.as_mut() else { return Ok(Timestamp::MIN) };
            let (wall, now) = (self.clock.now(), Instant::now());
            let jump = running.time.pass(wall, now.duration_since(std::mem::replace(&mut running.at, now)));
            tell(jump, wall);
            self.trusted.store(running.time.mark().trusted.as_millis(), Ordering::Relaxed);
            let is_due = running.kept.is_none_or(|(_, at)| at.elapsed() >= KEEP_EVERY);
            (jump, running.time.as_of(), is_due.then(|| running.time.mark()))
        };
        if let Some(mark) = mark.or_else(|| jump.and_then(|_| self.mark())) {
            self.keep(mark).await?;
        }
        Ok(as_of)
    }

    /// Keeps a mark for the next process, before this one ends.
    pub(crate) async fn end(&self) -> Result<(), StorageError> {
        if self.steady.get().is_none() {
            return Ok(());
        }
        self.as_of().await?;
        match self.mark() {
            Some(mark) => self.keep(mark).await,
            None => Ok(()),
        }
    }

    fn mark(&self) -> Option<TimeMark> {
        self.lock().as_ref().map(|running| running.time.mark())
    }

    async fn keep(&self, mark: TimeMark) -> Result<(), StorageError> {
        self.store.keep_time(&self.node, mark).await?;
        if let Some(running) = self.lock().as_mut() {
            running.kept = Some((mark, Instant::now()));
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(jump: Option<Jump>, now: Timestamp) {
    match jump {
        None => {}
        Some(Jump::Ahead { by, believed_after }) => tracing::warn!(
            %now,
            ahead_seconds = by.as_secs(),
            believed_after_seconds = believed_after.as_secs(),
            "the clock is ahead of the elapsed time; no telemetry is removed because of it until it has been stable for long enough"
        ),
        Some(Jump::Behind(by)) => tracing::warn!(
            %now,
            behind_seconds = by.as_secs(),
            "the clock is behind the elapsed time; less telemetry is removed until it is right"
        ),
        Some(Jump::Believed(now)) => tracing::warn!(
            %now,
            "the clock has been stable for long enough; telemetry that is expired by it is removed from now on"
        ),
    }
}
