//! The one way in which messages and the state of brokers are written: batches, numbered in the order of their commits.
//!
//! A batch is one transaction. Each writer has a row of its own with the number of its last batch, and a commit moves it on from
//! the number before. So the row tells what became of a commit whose answer was lost, and of two processes that take themselves
//! for the same writer only one can commit.

use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{NewTelemetry, NodeName, TelemetryId};

use crate::{BrokerChange, StorageError};

/// The number of a batch among those of its writer: 1, 2, 3, …
pub type BatchNumber = NonZeroU64;

/// What is committed together. A copy shares the contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteBatch {
    /// Messages to be stored.
    pub messages: Arc<[NewTelemetry]>,
    /// Changes of the broker's state, which are applied in their order. A storage that keeps no such state passes them over.
    pub changes: Arc<[BrokerChange]>,
}

impl WriteBatch {
    /// A batch of messages.
    pub fn of_messages(messages: impl Into<Arc<[NewTelemetry]>>) -> Self {
        Self { messages: messages.into(), ..Self::default() }
    }

    /// The same batch with these changes of the broker's state.
    #[must_use]
    pub fn with_changes(self, changes: impl Into<Arc<[BrokerChange]>>) -> Self {
        Self { changes: changes.into(), ..self }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.changes.is_empty()
    }
}

/// A batch that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedBatch {
    /// Its number.
    pub number: BatchNumber,
    /// One entry for each message, in order: its id, or `None` when its device does not exist in its tenant (any more).
    pub ids: Vec<Option<TelemetryId>>,
}

impl CommittedBatch {
    /// A batch with this number, and the ids of its messages.
    pub fn new(number: BatchNumber, ids: Vec<Option<TelemetryId>>) -> Self {
        Self { number, ids }
    }
}

/// Commits batches.
#[async_trait]
pub trait WriteStore: Send + Sync {
    /// Commits a batch in one transaction: when it returns `Ok`, all of the batch is committed. `node` names the broker process
    /// that writes; `None` is a process without a broker, which gets a name of its own each time storage is opened.
    ///
    /// Messages: MUST return one entry for each, in order. A message whose device does not exist in its tenant MUST NOT be
    /// stored and MUST NOT hinder the others. Ids MUST grow with the order of messages, and MUST be larger than those of every
    /// batch that this writer committed before.
    ///
    /// Changes: one that is about what is not there (any more) MUST be passed over: a session of a device that does not exist,
    /// progress of a delivery that is over, a retained message of a tenant that is gone.
    ///
    /// Numbers: the batches of a writer MUST be numbered 1, 2, 3, … in the order of their commits, without holes, also those
    /// that are empty, and on over restarts of a broker process. Batches of one writer that are handed over at the same time
    /// MUST be committed one after the other.
    ///
    /// # Errors
    /// When it fails, nothing of the batch is stored, and nothing of it MUST appear later: where the answer to a commit was
    /// lost, MUST NOT return before it is known what became of it. `Unavailable` when the same batch may be committed later;
    /// `Backend` when something in it is refused; `Conflict(Node)` when another process has taken the name of the node, which
    /// MUST end all commits of this process under the name.
    async fn commit(&self, node: Option<&NodeName>, batch: WriteBatch) -> Result<CommittedBatch, StorageError>;
}
