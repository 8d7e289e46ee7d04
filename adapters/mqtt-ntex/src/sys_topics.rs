//! What the broker tells of itself on `$SYS/broker/…`, under the names that Mosquitto has for it.
//!
//! The messages are made when somebody who may see them is there: at each interval, and for each new subscription. They are
//! routed in the tenants of those who subscribed, kept nowhere, and stored nowhere. Without subscribers an interval costs
//! one look at the counters, which the averages need.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use ntex::time::{Millis, sleep};
use pocket_domain::{TenantId, TopicFilter, TopicName};
use pocket_mqtt_core::{Message, NewSubscription, QoS};

use crate::batch::Queued;
use crate::broker::Broker;
use crate::census::Waiting;
use crate::fanout::Fanout;
use crate::router::Routes;
use crate::stats::BrokerStats;
use crate::subscriber::SubscriberId;
use crate::sys_load::Loads;
use crate::worker::Worker;

/// The worker that tells of the broker at each interval.
const TELLER: u16 = 0;
const FIRST_LEVEL: &str = "$SYS";
const VERSION: &str = concat!("pocket-iot version ", env!("CARGO_PKG_VERSION"));

/// What only these topics need.
#[derive(Debug)]
pub(crate) struct SystemStatus {
    began: Instant,
    loads: Mutex<Loads>,
}

impl SystemStatus {
    /// Of a broker that starts.
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, loads: Mutex::new(Loads::new(now)) }
    }

    /// The messages as of now.
    fn messages(&self, stats: &BrokerStats, waiting: Waiting, now: Instant) -> Vec<Arc<Message>> {
        let uptime = now.saturating_duration_since(self.began).as_secs();
        let mut messages = vec![message("version", VERSION), message("uptime", &format!("{uptime} seconds"))];
        messages.extend(figures(stats, waiting).map(|(name, value)| message(name, &value.to_string())));
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        messages.extend(
            loads.iter().map(|(name, span, value)| message(&format!("load/{name}/{span}"), &format!("{value:.2}"))),
        );
        messages
    }
}

/// The figures by their names below `$SYS/broker/`.
fn figures(stats: &BrokerStats, waiting: Waiting) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("clients/connected", stats.clients),
        ("clients/disconnected", stats.sleeping_sessions),
        ("clients/total", stats.clients + stats.sleeping_sessions),
        ("clients/maximum", stats.most_clients),
        ("clients/expired", stats.sessions_expired),
        ("messages/received", stats.packets_in),
        ("messages/sent", stats.packets_out),
        ("bytes/received", stats.bytes_in),
        ("bytes/sent", stats.bytes_out),
        ("publish/messages/received", stats.messages_in.iter().sum()),
        ("publish/messages/sent", stats.messages_out.iter().sum()),
        ("publish/messages/dropped", stats.dropped()),
        ("publish/bytes/received", stats.payload_bytes_in),
        ("publish/bytes/sent", stats.payload_bytes_out),
        ("retained messages/count", stats.retained_messages),
        ("subscriptions/count", stats.subscriptions),
        ("store/messages/count", stats.retained_messages + waiting.messages),
        ("store/messages/bytes", stats.retained_bytes + waiting.bytes),
    ]
    .into_iter()
}

fn message(name: &str, value: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::parse(&format!("{FIRST_LEVEL}/broker/{name}")).expect("the names are topics"),
        payload: Bytes::copy_from_slice(value.as_bytes()),
        // The next one makes up for one that was lost.
        qos: QoS::AtMostOnce,
        retain: true,
        properties: None,
        expires_at: None,
    })
}

impl Broker {
    /// What it tells of itself now.
    async fn system_messages(&self) -> Vec<Arc<Message>> {
        let waiting = self.count_waiting().await;
        self.status.messages(&self.stats(), waiting, Instant::now())
    }

    fn sample_loads(&self) {
        let stats = self.stats();
        self.status.loads.lock().unwrap_or_else(PoisonError::into_inner).sample(&stats, Instant::now());
    }
}

impl Worker {
    /// Tells of the broker at each interval, for ever. One worker does it for all.
    pub(crate) async fn tell_of_broker(self: Rc<Self>) {
        let Some(interval) = self.broker.config.sys_interval.filter(|_| self.number == TELLER) else { return };
        loop {
            sleep(Millis::from(interval)).await;
            self.broker.sample_loads();
            let watched = self.broker.index.with_first_level(FIRST_LEVEL);
            if watched.is_empty() {
                continue;
            }
            let messages = self.broker.system_messages().await;
            for (tenant, index) in watched {
                self.tell(tenant, &index, &messages);
            }
        }
    }

    fn tell(&self, tenant: TenantId, index: &crate::Index, messages: &[Arc<Message>]) {
        let broker = SubscriberId::nobody(self.number);
        let now = self.broker.gateway.steady_now();
        for message in messages {
            let (_, routes) = Routes::find(index, &message.topic, self.number);
            // At QoS 0 nothing is queued for storage.
            self.route(&Fanout::of_message(tenant, message, now), &routes, broker, &mut Queued::default());
        }
        self.send_mail();
    }

    /// What a new subscriber is told of the broker at once, as if the messages were retained.
    pub(crate) async fn status_for(&self, new: &NewSubscription) -> Vec<Arc<Message>> {
        if self.broker.config.sys_interval.is_none() {
            return Vec::new();
        }
        let mut messages = self.broker.system_messages().await;
        messages.retain(|message| is_meant(&new.subscription.filter, message));
        messages
    }
}

fn is_meant(filter: &TopicFilter, message: &Message) -> bool {
    filter.matches(message.topic.as_str())
}
