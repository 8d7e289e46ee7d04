//! The way into the history: messages go into a bounded queue, and a receipt comes back when they are committed.
//!
//! One call takes all that a connection read at once, so that the queue is locked once a read and not once a message.

use async_trait::async_trait;
use pocket_domain::{NewTelemetry, TelemetryId, TenantId};

use crate::BrokerChange;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is a committed row.
    Stored(TelemetryId),
    /// Its device no longer exists, so it was dropped.
    DeviceGone,
    /// The database refuses it for a reason of its own; it was put aside with the reason, which is committed.
    SetAside,
    /// The database refuses it and cannot put it aside either; it is not stored and must not be acknowledged.
    Lost,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled<'a> {
    /// One entry for each message, in order.
    pub fates: &'a [Fate],
    /// The places, in growing order, of the changes of the broker's state that the database refused for a reason of their own.
    /// They are given up: what one of them stands for is not stored, and must not be acknowledged as stored.
    pub refused_changes: &'a [usize],
}

impl<'a> Settled<'a> {
    /// All changes are stored, and of the messages became this.
    pub fn new(fates: &'a [Fate]) -> Self {
        Self { fates, refused_changes: &[] }
    }

    /// The same, but for these changes.
    #[must_use]
    pub fn without_changes(self, refused_changes: &'a [usize]) -> Self {
        Self { refused_changes, ..self }
    }
}

/// Is called exactly once, from the writer, when the fate of a submission is known. It must be quick and must not block.
pub type Receipt = Box<dyn FnOnce(Result<Settled<'_>, IngestError>) + Send>;

/// Messages that are handed over together.
pub struct Submission {
    /// Who owns all of it, and whose share of the queue it takes. `None`: the process itself, which has no share.
    pub tenant: Option<TenantId>,
    /// The messages, in the order of their arrival.
    pub messages: Vec<NewTelemetry>,
    /// Changes of the broker's state that are committed together with them.
    pub changes: Vec<BrokerChange>,
    /// Who waits for the commit. With a receipt, or with a change that a client was told of, all is written as soon as the
    /// writer is idle; without, it waits until a batch is full or the flush interval is over.
    pub receipt: Option<Receipt>,
}

/// Why messages were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The platform is stopping.
    #[error("the platform is stopping")]
    Closed,
}

/// A submission that was not taken, handed back whole.
pub enum Refused {
    /// The queue is full, or the tenant holds its share of it: wait with [`TelemetryIngest::room`], then submit again.
    Full(Submission),
    /// The platform is stopping.
    Closed(Submission),
}

/// Takes messages to be stored.
#[async_trait]
pub trait TelemetryIngest: Send + Sync {
    /// Queues messages without waiting. Submissions of one tenant are committed in the order of the calls. Those of different
    /// tenants take turns: what one of them queued does not make another wait for all of it.
    fn submit(&self, submission: Submission) -> Result<(), Refused>;

    /// Waits until the queue has room for a tenant or is closed. A caller that got `Full` stops reading its source meanwhile.
    async fn room(&self, tenant: Option<TenantId>);
}
