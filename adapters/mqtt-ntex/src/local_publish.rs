//! Messages from inside the process on their way through a worker, as those from sockets go.

use std::rc::Rc;
use std::sync::Arc;

use pocket_application::Accepted;
use pocket_domain::TenantId;
use pocket_mqtt_core::{Message, QoS};
use pocket_ports::{Fate, IngestError, Receipt, Refused, Settled, Submission};
use tokio::sync::oneshot;

use crate::batch::Queued;
use crate::fanout::Fanout;
use crate::local_client::LocalError;
use crate::router::Routes;
use crate::stats::Tally;
use crate::subscriber::SubscriberId;
use crate::worker::{Publisher, Worker};

/// A message that was authorised and validated.
#[derive(Debug)]
pub(crate) struct LocalPublish {
    pub(crate) index: Arc<crate::Index>,
    pub(crate) tenant_id: TenantId,
    pub(crate) message: Arc<Message>,
    /// What is to be stored of it.
    pub(crate) telemetry: Accepted,
    /// Dropped without an answer when the platform is stopping.
    pub(crate) reply: Reply,
}

/// Where the publisher waits.
pub(crate) type Reply = oneshot::Sender<Result<(), LocalError>>;

impl Worker {
    /// Routes a message, has it stored, and answers when a client of this QoS would be answered.
    pub(crate) fn publish_local(self: &Rc<Self>, publish: LocalPublish) {
        let LocalPublish { index, tenant_id, message, telemetry, reply } = publish;
        let mut tally = Tally::default();
        tally.add(message.qos, message.payload.len());
        self.counters().messages_in(&tally);
        let mut queued = Queued::default();
        if message.retain {
            self.retain(&index, Publisher::Host(tenant_id), &message, &mut queued);
        }
        let (_, routes) = Routes::find(&index, &message.topic, self.number);
        let fanout = Fanout::of_message(tenant_id, &message, self.broker.gateway.steady_now());
        self.route(&fanout, &routes, SubscriberId::nobody(self.number), &mut queued);
        self.send_mail();
        // What other tasks have for storage comes first.
        self.run_errands();
        ntex::rt::spawn(Rc::clone(self).store_local(tenant_id, message.qos, telemetry, queued, reply)).detach();
    }

    async fn store_local(
        self: Rc<Self>,
        tenant: TenantId,
        qos: QoS,
        telemetry: Accepted,
        queued: Queued,
        reply: Reply,
    ) {
        let messages: Vec<_> = telemetry.into_iter().collect();
        let Queued { changes, letters } = queued;
        if messages.is_empty() && changes.is_empty() {
            return answer(reply, Ok(()));
        }
        let waits = qos > QoS::AtMostOnce && !self.broker.config.ack_on_receipt;
        let (receipt, reply) = if waits { (Some(receipt(reply)), None) } else { (None, Some(reply)) };
        let mut submission = Submission { tenant: Some(tenant), messages, changes, receipt };
        loop {
            match self.broker.gateway.submit(submission) {
                Ok(()) => break,
                // The publisher learns it from the reply that is dropped.
                Err(Refused::Closed(_)) => return,
                Err(Refused::Full(back)) => submission = back,
            }
            self.broker.gateway.room(Some(tenant)).await;
        }
        self.post(letters);
        if let Some(reply) = reply {
            answer(reply, Ok(()));
        }
    }
}

/// Tells the publisher what became of the message; is called on the writer's thread.
fn receipt(reply: Reply) -> Receipt {
    Box::new(move |settled| answer(reply, outcome(settled)))
}

fn outcome(settled: Result<Settled<'_>, IngestError>) -> Result<(), LocalError> {
    let settled = settled.map_err(|_: IngestError| LocalError::Stopping)?;
    if settled.fates.contains(&Fate::Lost) || !settled.refused_changes.is_empty() {
        Err(LocalError::NotStored)
    } else {
        Ok(())
    }
}

fn answer(reply: Reply, result: Result<(), LocalError>) {
    // Nobody listens when the publisher gave up waiting.
    let _ = reply.send(result);
}
