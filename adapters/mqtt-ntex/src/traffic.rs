//! Packets and bytes of one connection, counted without the cost of an atomic for each.

use std::cell::Cell;

/// What passed a connection since its worker last took the figures.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: Cell<Count>,
    sent: Cell<Count>,
}

/// Packets with their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Count {
    fn with(self, bytes: usize) -> Self {
        Self { packets: self.packets + 1, bytes: self.bytes + bytes as u64 }
    }
}

impl Traffic {
    /// A packet came.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.set(self.received.get().with(bytes));
    }

    /// A packet was given to the socket; nothing, when it has no bytes.
    pub(crate) fn sent(&self, bytes: usize) {
        if bytes > 0 {
            self.sent.set(self.sent.get().with(bytes));
        }
    }

    /// What came and what left since the last call.
    pub(crate) fn take(&self) -> (Count, Count) {
        (self.received.take(), self.sent.take())
    }
}
