//! The bounded queue between the transports and the writer.
//!
//! Who submits waits for nobody: a submission goes on a channel, and what is held in memory is counted, by tenant and in all. The
//! writer puts batches together at its own end. What does not go into the next batch waits there in a lane per tenant, and the
//! tenants take turns. Submissions of one tenant stay in order, because what became of a session must not be stored before it began.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pocket_domain::{NewTelemetry, TenantId};
use pocket_ports::{BrokerChange, Refused, Submission};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

use super::lanes::{Lane, Lanes};
use super::owed::Owed;
use super::weight::{Held, Weight};
use super::{IngestOptions, NotStored};

/// The end of those who submit.
pub(super) struct Queue {
    options: IngestOptions,
    sender: UnboundedSender<Queued>,
    /// All that is in memory, also what is being written.
    held: Held,
    lanes: Lanes,
    is_closed: AtomicBool,
    closing: Notify,
}

/// A submission on its way.
struct Queued {
    lane: Arc<Lane>,
    messages: Vec<NewTelemetry>,
    changes: Vec<BrokerChange>,
    receipt: Owed,
    weight: Weight,
    is_awaited: bool,
}

impl Queued {
    fn new(lane: Arc<Lane>, submission: Submission) -> Self {
        let (weight, is_awaited) = (Weight::of(&submission), is_awaited(&submission));
        let Submission { messages, changes, receipt, .. } = submission;
        Self { lane, messages, changes, receipt: Owed::new(receipt), weight, is_awaited }
    }

    fn into_submission(self) -> Submission {
        let Self { lane, messages, changes, receipt, .. } = self;
        Submission { tenant: lane.tenant, messages, changes, receipt: receipt.take_back() }
    }
}

/// Whether a submission is written as soon as the writer is idle: because somebody waits for it, or because a client was
/// told of it already. That a delivery is over can wait; forgotten, the message comes once more.
fn is_awaited(submission: &Submission) -> bool {
    let is_told = |change: &BrokerChange| {
        matches!(change, BrokerChange::SessionKept(_) | BrokerChange::SessionEnded(_) | BrokerChange::Queued(..))
    };
    submission.receipt.is_some() || submission.changes.iter().any(is_told)
}

impl Queue {
    /// A queue, and the end of its writer.
    pub(super) fn new(options: IngestOptions) -> (Arc<Self>, Intake) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Arc::new(Self {
            options,
            sender,
            held: Held::default(),
            lanes: Lanes::default(),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
        });
        (Arc::clone(&queue), Intake::new(queue, receiver))
    }

    pub(super) fn push(&self, submission: Submission) -> Result<(), Refused> {
        if self.is_closed() {
            return Err(Refused::Closed(submission));
        }
        let lane = self.lanes.of(submission.tenant);
        if !self.has_room(&lane) {
            return Err(Refused::Full(submission));
        }
        let queued = Queued::new(Arc::clone(&lane), submission);
        let weight = queued.weight;
        // Counted before it is sent, so that the writer does not take off what is not there yet.
        self.held.add(weight);
        lane.held.add(weight);
        self.sender.send(queued).map_err(|unsent| {
            self.held.take_off(weight);
            lane.held.take_off(weight);
            Refused::Closed(unsent.0.into_submission())
        })
    }

    /// Waits until less is queued than a tenant is allowed, or the queue is closed.
    pub(super) async fn room(&self, tenant: Option<TenantId>) {
        let lane = self.lanes.of(tenant);
        loop {
            let room = lane.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.is_closed() || self.has_room(&lane) {
                return;
            }
            room.await;
        }
    }

    fn has_room(&self, lane: &Lane) -> bool {
        let IngestOptions { queue, queue_bytes, share, .. } = self.options;
        let (held, of_lane) = (self.held(), lane.held.now());
        let allows = |limit: usize, held: usize, of_lane: usize| {
            held < limit && (lane.tenant.is_none() || share.allows(of_lane, limit - held))
        };
        allows(queue, held.entries(), of_lane.entries()) && allows(queue_bytes, held.bytes, of_lane.bytes)
    }

    /// The writer is done with what it took of each.
    pub(super) fn written(&self, owners: Vec<(Arc<Lane>, Weight)>) {
        for (lane, weight) in owners {
            self.held.take_off(weight);
            lane.held.take_off(weight);
        }
        self.lanes.notify();
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.closing.notify_one();
        self.lanes.notify();
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// What the writer left, once it is gone.
    pub(super) fn not_stored(&self) -> NotStored {
        let Weight { messages, changes, .. } = self.held();
        NotStored { messages, changes }
    }

    /// All that waits or is being written.
    pub(super) fn held(&self) -> Weight {
        self.held.now()
    }
}

/// Who waits for the next messages and changes of a batch.
pub(super) struct Awaited {
    pub(super) messages: usize,
    pub(super) changes: usize,
    pub(super) receipt: Owed,
}

/// Messages that are written together, and who waits for which of them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<NewTelemetry>,
    pub(super) changes: Vec<BrokerChange>,
    /// Who waits for what, in order.
    pub(super) receipts: Vec<Awaited>,
    pub(super) weight: Weight,
    /// Whose it is, and how much of it.
    pub(super) owners: Vec<(Arc<Lane>, Weight)>,
    /// Whether some of it does not wait for the timer.
    is_awaited: bool,
    /// When the first of it was taken from the queue.
    oldest: Option<Instant>,
}

impl Batch {
    /// The most messages of one transaction; larger ones gain no speed and make the others wait.
    const MOST: usize = 10_000;
    /// The most bytes of one transaction, which the database's driver copies once or twice.
    const MOST_BYTES: usize = 8 << 20;

    /// The same while several tenants store: each waits for the transaction before its own.
    const MOST_SHARED: usize = 2_500;
    const MOST_SHARED_BYTES: usize = 2 << 20;

    fn is_whole(&self, is_shared: bool) -> bool {
        let (most, bytes) =
            if is_shared { (Self::MOST_SHARED, Self::MOST_SHARED_BYTES) } else { (Self::MOST, Self::MOST_BYTES) };
        self.weight.entries() >= most || self.weight.bytes >= bytes
    }

    fn add(&mut self, queued: Queued) {
        self.oldest.get_or_insert_with(Instant::now);
        self.weight += queued.weight;
        match self.owners.last_mut() {
            Some((lane, weight)) if Arc::ptr_eq(lane, &queued.lane) => *weight += queued.weight,
            _ => self.owners.push((queued.lane, queued.weight)),
        }
        self.is_awaited |= queued.is_awaited;
        let (messages, changes) = (queued.messages.len(), queued.changes.len());
        self.receipts.push(Awaited { messages, changes, receipt: queued.receipt });
        if self.messages.is_empty() {
            self.messages = queued.messages;
        } else {
            self.messages.extend(queued.messages);
        }
        self.changes.extend(queued.changes);
    }
}

/// The end of the writer.
pub(super) struct Intake {
    queue: Arc<Queue>,
    receiver: UnboundedReceiver<Queued>,
    /// What the next transaction has so far.
    batch: Batch,
    /// What the transactions after it will have, by tenant.
    waiting: HashMap<Option<TenantId>, VecDeque<Queued>>,
    /// Who has something waiting, the next one first.
    turns: VecDeque<Option<TenantId>>,
    /// Who submitted last.
    last: Option<TenantId>,
    /// Until when several tenants are taken to store at the same time.
    shared_until: Option<Instant>,
}

impl Intake {
    /// What a tenant may put into a batch before it is the turn of the next.
    const TURN: usize = 250;
    /// The same in bytes.
    const TURN_BYTES: usize = 256 << 10;
    /// How long after two tenants submitted one after the other transactions stay smaller.
    const SHARED_FOR: Duration = Duration::from_secs(1);

    fn new(queue: Arc<Queue>, receiver: UnboundedReceiver<Queued>) -> Self {
        let (batch, waiting, turns) = (Batch::default(), HashMap::new(), VecDeque::new());
        Self { queue, receiver, batch, waiting, turns, last: None, shared_until: None }
    }

    /// The next batch when it is due, with all that was queued until then, as far as one transaction takes it; `None` when the
    /// queue is closed and empty.
    pub(super) async fn next(&mut self) -> Option<Batch> {
        loop {
            let is_closed = self.queue.is_closed();
            if is_closed {
                self.receiver.close();
            }
            while let Ok(queued) = self.receiver.try_recv() {
                self.take(queued);
            }
            self.fill();
            let oldest = self.batch.oldest;
            let is_full = self.is_whole() || self.batch.weight.entries() >= self.queue.options.batch;
            if oldest.is_some() && (is_closed || is_full || self.batch.is_awaited) {
                return Some(std::mem::take(&mut self.batch));
            }
            let timer = async {
                match oldest {
                    Some(oldest) => sleep_until(oldest + self.queue.options.flush).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                queued = self.receiver.recv() => {
                    let queued = queued?;
                    self.take(queued);
                }
                () = self.queue.closing.notified() => {}
                () = timer => return Some(std::mem::take(&mut self.batch)),
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.batch.is_whole(self.shared_until.is_some_and(|until| Instant::now() < until))
    }

    /// Puts a submission into the batch, or behind those that wait already.
    fn take(&mut self, queued: Queued) {
        let tenant = queued.lane.tenant;
        if tenant.is_some() && tenant != self.last {
            let is_first = self.last.is_none();
            self.last = tenant;
            self.shared_until = (!is_first).then(|| Instant::now() + Self::SHARED_FOR);
        }
        if self.turns.is_empty() && !self.is_whole() {
            return self.batch.add(queued);
        }
        let lane = self.waiting.entry(tenant).or_default();
        if lane.is_empty() {
            self.turns.push_back(tenant);
        }
        lane.push_back(queued);
    }

    /// Takes what waits into the batch, one tenant after the other.
    fn fill(&mut self) {
        while !self.is_whole()
            && let Some(tenant) = self.turns.pop_front()
        {
            let Some(lane) = self.waiting.get_mut(&tenant) else { continue };
            let mut turn = Weight::default();
            while turn.entries() < Self::TURN
                && turn.bytes < Self::TURN_BYTES
                && let Some(queued) = lane.pop_front()
            {
                turn += queued.weight;
                self.batch.add(queued);
            }
            if lane.is_empty() {
                self.waiting.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests;
