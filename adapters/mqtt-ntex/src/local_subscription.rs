//! A subscription inside the process: messages, one after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pocket_domain::{Timestamp, TopicName};
use pocket_mqtt_core::{
    Authorizer, Message, MessageProperties, QoS, RetainedCursor, Subscription, SubscriptionOptions,
};

use crate::local_access::LocalAccess;
use crate::local_client::LocalError;
use crate::local_queue::{LocalQueue, Next};
use crate::subscriber::SubscriberId;

/// Topics that are looked at for retained messages at a time.
const TOPICS_AT_A_TIME: usize = 256;

/// A message as a subscriber inside the process gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMessage {
    /// Where it was published.
    pub topic: TopicName,
    /// What was published.
    pub payload: Bytes,
    /// The lower of the publisher's QoS and the subscription's.
    pub qos: QoS,
    /// It was there before the subscription.
    pub retain: bool,
    /// The seconds it still has; `None`: it does not expire.
    pub expiry: Option<u32>,
    /// What MQTT 5.0 says about it.
    pub properties: Option<Arc<MessageProperties>>,
}

/// The messages of a subscription, which ends when this is dropped.
///
/// They wait in a bounded queue. A reader that is too slow loses messages, of QoS 0 first; it slows nobody down.
#[derive(Debug)]
pub struct LocalSubscription {
    client: Arc<LocalAccess>,
    id: SubscriberId,
    subscription: Subscription,
    retained: std::vec::IntoIter<Arc<Message>>,
    /// Where the retained messages go on.
    rest: Option<RetainedCursor>,
    queue: Arc<LocalQueue>,
}

impl LocalSubscription {
    pub(crate) fn open(client: &Arc<LocalAccess>, filter: &str, qos: QoS) -> Result<Self, LocalError> {
        let broker = &client.broker;
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let subscription = Subscription::parse(filter, options, &broker.limits)?;
        if broker.local.is_closed() {
            return Err(LocalError::Stopping);
        }
        if !broker.host_authorizer().may_subscribe(&client.owner, &subscription.filter) {
            return Err(LocalError::NotAuthorized);
        }
        let limit = broker.limits.subscriptions;
        let one_more = |count: usize| (count < limit).then_some(count + 1);
        if client.subscriptions.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(LocalError::TooManySubscriptions(limit));
        }
        let (id, queue) = broker.local.open(broker.next_serial());
        client.index.subscribe(id, &subscription);
        // [MQTT-3.3.1-9] a shared subscription gets none
        let rest = subscription.group.is_none().then(RetainedCursor::default);
        Ok(Self { client: Arc::clone(client), id, subscription, retained: Vec::new().into_iter(), rest, queue })
    }

    /// The next message; `None` when there will be none: the tenant is deleted, or the broker has stopped. A message is
    /// not lost when this is given up waiting for.
    pub async fn next(&mut self) -> Option<LocalMessage> {
        loop {
            let now = self.client.broker.gateway.steady_now();
            if let Some(message) = self.retained.find(|message| !message.is_expired(now)) {
                let qos = message.qos.min(self.subscription.options.qos);
                return Some(seen(&message, qos, true, now));
            }
            if let Some(place) = self.rest.take() {
                let retained = self.client.index.retained();
                let part = retained.part(&self.subscription.filter, &place, None, TOPICS_AT_A_TIME, now);
                (self.retained, self.rest) = (part.messages.into_iter(), part.rest);
                continue;
            }
            match self.queue.next() {
                Next::Message(message, _) if message.is_expired(now) => {}
                Next::Message(message, qos) => return Some(seen(&message, qos, false, now)),
                Next::Closed => return None,
                Next::Nothing => {
                    tokio::select! {
                        biased;
                        () = self.queue.changed() => {}
                        () = self.tenant_is_gone() => return None,
                    }
                }
            }
        }
    }

    /// Waits for ever while there is a tenant to subscribe in, as far as can be told.
    async fn tenant_is_gone(&self) {
        if self.client.read().await != Err(LocalError::NotFound) {
            std::future::pending::<()>().await;
        }
    }

    /// Messages that were lost because they were not taken in time.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Ends the subscription; what waits is dropped. The same as dropping it.
    pub fn unsubscribe(self) {}
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        self.client.index.unsubscribe(self.id, &self.subscription);
        self.client.broker.local.remove(self.id);
        self.client.subscriptions.fetch_sub(1, Ordering::AcqRel);
    }
}

fn seen(message: &Message, qos: QoS, retain: bool, now: Timestamp) -> LocalMessage {
    LocalMessage {
        topic: message.topic.clone(),
        payload: message.payload.clone(),
        qos,
        retain,
        expiry: message.remaining_expiry(now),
        properties: message.properties.clone(),
    }
}
