//! The gate that every request passes: so many at once, and none any more when the server is to stop.
//!
//! ntex's own orderly stop forgets requests that are being served once its last connection was closed before, so the
//! server waits here until all are answered and only then stops ntex.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets requests in until it is closed. Clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    limit: u32,
}

impl Gate {
    /// Requests that are served at once: far more than two cores can make use of, and no more than memory can take.
    pub(crate) const REQUESTS: u32 = 10_000;

    /// A gate for so many requests at once.
    pub(crate) fn new(limit: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(limit as usize)), limit }
    }

    /// A place for one request, until it is dropped; none when all are taken or the gate is closing.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> u64 {
        u64::from(self.limit).saturating_sub(self.places.available_permits() as u64)
    }

    /// Lets nobody in any more and waits until all have left, at most until the deadline.
    pub(crate) async fn close(&self, deadline: Duration) {
        // While this waits for all places, none that becomes free is given to anybody else.
        let all = tokio::time::timeout(deadline, self.places.acquire_many(self.limit)).await;
        self.places.close();
        drop(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn so_many_get_in_and_no_more() {
        let gate = Gate::new(2);
        let (first, second) = (gate.enter(), gate.enter());
        assert!(first.is_some() && second.is_some() && gate.enter().is_none());
        assert_eq!(gate.inside(), 2);
        drop(first);
        assert!(gate.enter().is_some());
    }

    #[tokio::test]
    async fn closing_waits_for_those_inside_and_lets_nobody_in() {
        let gate = Gate::new(2);
        let inside = gate.enter().unwrap();
        let closing = tokio::spawn({
            let gate = gate.clone();
            async move { gate.close(LONG).await }
        });
        tokio::task::yield_now().await;
        assert!(gate.enter().is_none() && !closing.is_finished());
        drop(inside);
        closing.await.unwrap();
        assert!(gate.enter().is_none());
        assert_eq!(gate.inside(), 0);
    }

    #[tokio::test]
    async fn closing_ends_at_the_deadline() {
        let gate = Gate::new(2);
        let _inside = gate.enter();
        gate.close(Duration::from_millis(1)).await;
        assert!(gate.enter().is_none());
    }
}
