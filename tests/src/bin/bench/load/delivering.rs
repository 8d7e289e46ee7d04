//! Publishers and subscribers together, at QoS 0.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Barrier;

use super::crew::crew;
use super::subscriber::{Received, receive};
use super::{Publishing, Target};

/// Who gets what: subscriber `n` what publisher `n` sends, from the first publisher again after the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivering {
    /// Those that publish.
    pub(crate) publishers: usize,
    /// Those that subscribe.
    pub(crate) subscribers: usize,
    /// Messages of each publisher.
    pub(crate) each: usize,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    /// When all were connected and subscribed.
    pub(crate) began: Instant,
    /// When the last message came.
    pub(crate) ended: Instant,
    /// Messages that should have come, and those that did.
    pub(crate) expected: usize,
    pub(crate) arrived: usize,
}

impl Delivering {
    /// Messages that are published.
    pub(crate) fn messages(&self) -> usize {
        self.publishers * self.each
    }

    /// Connects, subscribes, publishes and counts.
    ///
    /// # Errors
    /// When a connection or subscription is refused, or breaks.
    pub(crate) async fn run(self, target: &Target) -> io::Result<Delivered> {
        let start = Arc::new(Barrier::new(self.publishers + self.subscribers));
        let publishing = Publishing { connections: self.publishers, each: self.each, qos: 0, window: 0 };
        let publishing = publishing.run_with(target, Arc::clone(&start));
        let target = target.clone();
        let receiving = crew(self.subscribers, move |number| {
            let filter = format!("load/{}", number % self.publishers);
            receive(target.clone(), number, filter, self.each, Arc::clone(&start))
        });
        let (published, received): (_, Vec<Received>) = tokio::try_join!(publishing, receiving)?;
        Ok(Delivered {
            began: published.began,
            ended: received.iter().map(|one| one.ended).max().unwrap_or(published.ended),
            expected: self.subscribers * self.each,
            arrived: received.iter().map(|one| one.messages).sum(),
        })
    }
}
