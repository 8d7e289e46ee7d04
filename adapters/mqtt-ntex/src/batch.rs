//! What one read brought: messages to store, and the acknowledgements that wait for them.

use std::rc::Rc;
use std::sync::Arc;

use ntex::util::{Either, select};
use pocket_application::{Accepted, DeviceGateway};
use pocket_domain::{NewTelemetry, Timestamp};
use pocket_mqtt_core::{Acknowledgement, BatchId, Closing, Inbound, Outcome, ReasonCode, Reply};
use pocket_ports::{BrokerChange, Fate, IngestError, Receipt, Refused, Settled, Submission};

use crate::broker::Broker;
use crate::client::Client;
use crate::errands::{self, Letters};
use crate::mailbox::Letter;
use crate::reason;
use crate::stats::Tally;
use crate::subscriber::SubscriberId;
use crate::worker::Worker;

/// Collected while packets are decoded, handed over when nothing is left to decode.
pub(crate) struct Batch {
    /// When the read began, for intervals.
    pub(crate) now: Timestamp,
    /// The same moment as the wall clock shows it.
    pub(crate) received_at: Timestamp,
    /// The messages that came.
    pub(crate) tally: Tally,
    /// What is to be stored of the broker's state, and the letters that leave when it is handed over.
    pub(crate) queued: Queued,
    messages: Vec<NewTelemetry>,
    replies: Vec<Reply>,
}

/// Messages for stored sessions, and changes of retained messages.
#[derive(Default)]
pub(crate) struct Queued {
    pub(crate) changes: Vec<BrokerChange>,
    pub(crate) letters: Letters,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new(gateway: &DeviceGateway) -> Self {
        let (now, received_at) = (gateway.steady_now(), gateway.now());
        let (messages, replies) = (Vec::new(), Vec::new());
        Self { now, received_at, tally: Tally::default(), queued: Queued::default(), messages, replies }
    }

    /// A message that is fine, with what is to be stored of it.
    pub(crate) fn accept(&mut self, inbound: &Inbound<'_>, accepted: Accepted) {
        let begin = self.messages.len();
        self.messages.extend(accepted);
        let rows = begin..self.messages.len();
        let rows = (!rows.is_empty()).then_some(rows);
        self.replies.extend(inbound.acknowledgement(rows).map(Reply::from));
    }

    /// A message that is neither stored nor routed.
    pub(crate) fn refuse(&mut self, acknowledgement: Option<Acknowledgement>) {
        self.replies.extend(acknowledgement.map(Reply::from));
    }

    /// Something that waits until what the session noted is stored.
    pub(crate) fn hold(&mut self, reply: Reply) {
        self.replies.push(reply);
    }

    /// Hands the batch over to be stored, if the ingest has room for it, and tells whether a mailbox is full now; see
    /// [`Worker::mail_room`].
    pub(crate) fn submit(self, worker: &Rc<Worker>, client: &Client) -> Result<bool, Box<Unsubmitted>> {
        let Self { messages, mut replies, queued: Queued { mut changes, letters }, .. } = self;
        replies.extend(client.end_read());
        let holds = replies.iter().any(|reply| !matches!(reply, Reply::Acknowledge(ack) if ack.stored_as.is_none()));
        let batch = {
            let mut connection = client.connection.borrow_mut();
            let session = connection.session();
            let batch = (!replies.is_empty()).then(|| session.await_storage(replies));
            if let Some(key) = session.key() {
                changes.extend(errands::changes(key, session.take_changes()));
            }
            batch
        };
        let is_empty = messages.is_empty() && changes.is_empty();
        let waits =
            batch.filter(|_| !worker.broker.config.ack_on_receipt && !is_empty && (holds || !changes.is_empty()));
        let receipt = waits.map(|batch| receipt(&worker.broker, client.id, batch));
        let (tenant, count) = (Some(client.owner.tenant_id), messages.len() as u64);
        let rest = Rest { letters, count, answered: batch.filter(|_| waits.is_none()), batch };
        let handed = match is_empty {
            true => Handed::Over,
            false => worker.hand_over(Submission { tenant, messages, changes, receipt }),
        };
        match handed {
            Handed::Back(submission) => Err(Box::new(Unsubmitted { submission, rest })),
            Handed::Over => Ok(rest.queued(worker, client)),
            Handed::Nowhere => Ok(rest.dropped(worker, client)),
        }
    }
}

/// What is to be done when a submission has become something.
struct Rest {
    letters: Letters,
    /// How many messages it has.
    count: u64,
    /// Replies that wait for nothing but their turn.
    answered: Option<BatchId>,
    batch: Option<BatchId>,
}

impl Rest {
    /// It is in the queue.
    fn queued(self, worker: &Rc<Worker>, client: &Client) -> bool {
        if let Some(batch) = self.answered {
            worker.settle(client.id, batch, Outcome::Stored);
        }
        worker.post(self.letters)
    }

    /// The platform is stopping.
    fn dropped(self, worker: &Rc<Worker>, client: &Client) -> bool {
        match self.batch {
            Some(batch) => worker.settle(client.id, batch, Outcome::Failed(ReasonCode::UnspecifiedError)),
            // Nobody waits for messages of QoS 0.
            None => worker.counters().dropped_not_stored.add(self.count),
        }
        false
    }
}

/// A batch for which there was no room.
pub(crate) struct Unsubmitted {
    submission: Submission,
    rest: Rest,
}

impl Unsubmitted {
    /// Submits as soon as there is room, after the errands that were there before; when the broker closes the connection
    /// meanwhile, the batch becomes an errand. Returns what [`Batch::submit`] does.
    pub(crate) async fn submit(self: Box<Self>, worker: &Rc<Worker>, client: &Client) -> bool {
        let Self { mut submission, rest } = *self;
        loop {
            match worker.hand_over(submission) {
                Handed::Back(back) => submission = back,
                Handed::Over => return rest.queued(worker, client),
                Handed::Nowhere => return rest.dropped(worker, client),
            }
            loop {
                match select(worker.broker.gateway.room(submission.tenant), client.changed.notified()).await {
                    Either::Left(()) => break,
                    // A client that leaves by itself may have said all it had to say.
                    Either::Right(()) if matches!(client.closing(), None | Some(Closing::ByClient { .. })) => {}
                    Either::Right(()) => {
                        worker.leave(client.owner.tenant_id, submission, rest.letters);
                        return false;
                    }
                }
            }
        }
    }
}

/// What became of a submission.
enum Handed {
    /// It is in the queue.
    Over,
    /// There was no room.
    Back(Submission),
    /// The platform is stopping.
    Nowhere,
}

impl Worker {
    /// Submits if there is room, after the errands of the tenant that were there before.
    fn hand_over(&self, submission: Submission) -> Handed {
        if !self.run_errands_of(submission.tenant) {
            return Handed::Back(submission);
        }
        match self.broker.gateway.submit(submission) {
            Ok(()) => Handed::Over,
            Err(Refused::Closed(_)) => Handed::Nowhere,
            Err(Refused::Full(back)) => Handed::Back(back),
        }
    }
}

/// Tells the connection's worker what became of a batch; is called on the writer's thread.
pub(crate) fn receipt(broker: &Arc<Broker>, client: SubscriberId, batch: BatchId) -> Receipt {
    let broker = Arc::clone(broker);
    Box::new(move |settled| {
        let letter = Letter::Settle { client, batch, outcome: outcome(settled) };
        broker.mailboxes[usize::from(client.worker)].post(letter);
    })
}

fn outcome(settled: Result<Settled<'_>, IngestError>) -> Outcome {
    match settled.map(|settled| (settled.fates, settled.refused_changes)) {
        Err(error) => Outcome::Failed(reason::of_ingest(&error)),
        Ok((_, [_, ..])) => Outcome::ChangesRefused,
        Ok((fates, _)) if fates.contains(&Fate::Lost) => {
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
        assert_eq!(outcome(Ok(Settled::new(&[Fate::SetAside, Fate::DeviceGone]))), Outcome::Stored);
        assert_eq!(outcome(Ok(Settled::new(&[Fate::SetAside, Fate::Lost]))), Outcome::Lost(vec![1]));
        let settled = Settled::new(&[Fate::SetAside]).without_changes(&[3]);
        assert_eq!(outcome(Ok(settled)), Outcome::ChangesRefused);
        assert_eq!(outcome(Err(IngestError::Closed)), Outcome::Failed(ReasonCode::UnspecifiedError));
    }
}
