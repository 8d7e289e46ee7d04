//! How much one connection may do before others of its worker get their turn.
//!
//! Counted in deliveries, of about a tenth of a microsecond each. The sockets of a worker are looked at only when none of its tasks
//! has anything left to do, or after 61 of them: who sends without end in long turns keeps others waiting for many of them.

/// Deliveries, half a millisecond.
const WORK: usize = 5_000;
/// What a packet costs, whatever it is.
const OF_PACKET: usize = 10;
/// Bytes of a payload that are judged in the time of one delivery.
const BYTES: usize = 20;
/// Nodes of the subscription index that are visited in the time of one delivery.
const NODES: usize = 16;

/// What was done since others had their turn.
#[derive(Default)]
pub(crate) struct Turn {
    work: usize,
}

impl Turn {
    pub(crate) fn packet(&mut self) {
        self.work += OF_PACKET;
    }

    pub(crate) fn payload(&mut self, bytes: usize) {
        self.work += bytes / BYTES;
    }

    pub(crate) fn deliveries(&mut self, count: usize) {
        self.work += 1 + count;
    }

    pub(crate) fn visited(&mut self, nodes: usize) {
        self.work += nodes / NODES;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.work > WORK
    }

    /// Lets others have their turn, if this one is over.
    pub(crate) async fn end(&mut self) {
        let is_over = self.is_over();
        self.work = 0;
        if is_over {
            tokio::task::yield_now().await;
        }
    }
}
