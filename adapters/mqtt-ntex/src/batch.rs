//! What one read brought: messages to store, and the acknowledgements that wait for them.

use std::rc::Rc;
use std::sync::Arc;

use ntex::util::{Either, select};
use pocket_domain::{NewTelemetry, Timestamp};
use pocket_mqtt_core::{Acknowledgement, BatchId, Closing, Inbound, Outcome, ReasonCode};
use pocket_ports::{Fate, IngestError, Receipt, Refused, Submission};

use crate::client::Client;
use crate::mailbox::Letter;
use crate::reason;
use crate::stats::Tally;
use crate::worker::Worker;

/// Collected while packets are decoded, handed over when nothing is left to decode.
pub(crate) struct Batch {
    /// When the read began.
    pub(crate) now: Timestamp,
    /// The messages that came.
    pub(crate) tally: Tally,
    messages: Vec<NewTelemetry>,
    acknowledgements: Vec<Acknowledgement>,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { now, tally: Tally::default(), messages: Vec::new(), acknowledgements: Vec::new() }
    }

    /// A message that is fine, with what is to be stored of it.
    pub(crate) fn accept(&mut self, inbound: &Inbound<'_>, telemetry: Option<NewTelemetry>) {
        let place = telemetry.map(|telemetry| {
            self.messages.push(telemetry);
            self.messages.len() - 1
        });
        self.acknowledgements.extend(inbound.acknowledgement(place));
    }

    /// A message that is neither stored nor routed.
    pub(crate) fn refuse(&mut self, acknowledgement: Option<Acknowledgement>) {
        self.acknowledgements.extend(acknowledgement);
    }

    /// Hands the batch over to be stored. Waits while the ingest has no room, unless the broker closes the connection.
    pub(crate) async fn submit(&mut self, worker: &Rc<Worker>, client: &Client) {
        let messages = std::mem::take(&mut self.messages);
        let acknowledgements = std::mem::take(&mut self.acknowledgements);
        if acknowledgements.is_empty() {
            let count = messages.len() as u64;
            if count > 0
                && !submit_patiently(worker, client, Submission { messages, changes: Vec::new(), receipt: None }).await
            {
                // Nobody waits for messages of QoS 0.
                worker.counters().dropped_not_stored.add(count);
            }
            return;
        }
        let waits = !worker.broker.config.ack_on_receipt && acknowledgements.iter().any(|ack| ack.stored_as.is_some());
        let batch = client.connection.borrow_mut().session().await_storage(acknowledgements);
        let receipt = waits.then(|| receipt(worker, client, batch));
        let taken = messages.is_empty()
            || submit_patiently(worker, client, Submission { messages, changes: Vec::new(), receipt }).await;
        match (taken, waits) {
            (false, _) => worker.settle(client.id, batch, Outcome::Failed(ReasonCode::UnspecifiedError)),
            (true, false) => worker.settle(client.id, batch, Outcome::Stored),
            (true, true) => {}
        }
    }
}

/// Submits until it is taken; `false` when the platform is stopping or the broker closes the connection. A client that
/// leaves by itself may have said all it had to say, so what it said is stored.
async fn submit_patiently(worker: &Rc<Worker>, client: &Client, mut submission: Submission) -> bool {
    let gateway = &worker.broker.gateway;
    loop {
        match gateway.submit(submission) {
            Ok(()) => return true,
            Err(Refused::Closed(_)) => return false,
            Err(Refused::Full(back)) => submission = back,
        }
        loop {
            match select(gateway.room(), client.changed.notified()).await {
                Either::Left(()) => break,
                Either::Right(()) if matches!(client.closing(), Some(Closing::ByServer(_))) => return false,
                Either::Right(()) => {}
            }
        }
    }
}

/// Tells the connection's worker what became of a batch; is called on the writer's thread.
fn receipt(worker: &Rc<Worker>, client: &Client, batch: BatchId) -> Receipt {
    let broker = Arc::clone(&worker.broker);
    let client = client.id;
    Box::new(move |fates| {
        let letter = Letter::Settle { client, batch, outcome: outcome(fates) };
        broker.mailboxes[usize::from(client.worker)].post(letter);
    })
}

fn outcome(fates: Result<&[Fate], IngestError>) -> Outcome {
    match fates {
        Err(error) => Outcome::Failed(reason::of_ingest(&error)),
        Ok(fates) if fates.contains(&Fate::Lost) => {
            let lost = fates.iter().enumerate().filter(|(_, fate)| **fate == Fate::Lost);
            Outcome::Lost(lost.map(|(place, _)| place).collect())
        }
        Ok(_) => Outcome::Stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lost_messages_are_not_acknowledged() {
        assert_eq!(outcome(Ok(&[Fate::SetAside, Fate::DeviceGone])), Outcome::Stored);
        assert_eq!(outcome(Ok(&[Fate::SetAside, Fate::Lost])), Outcome::Lost(vec![1]));
        assert_eq!(outcome(Err(IngestError::Closed)), Outcome::Failed(ReasonCode::UnspecifiedError));
    }
}
